package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"ssegw/e2e/stack"
)

// TestHistories runs clients through two gateways whose clocks are 10 minutes
// apart. Gateways are killed with SIGKILL and restarted in place, KES is killed, and connections to the store
// break. What clients see of each object must be what they could have seen one
// after another. SSEGW_MODEL says for how long it runs.
func TestHistories(t *testing.T) {
	t.Parallel()
	d := 8 * time.Second
	if long, err := time.ParseDuration(os.Getenv("SSEGW_MODEL")); err == nil {
		d = long
	}
	r := newRig(t)
	h := startHistories(t, r)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var clients, others sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for ctx.Err() == nil && len(h.kept()) < maxHistory {
				h.step(t.Context(), i, random)
			}
		})
	}
	others.Go(func() { h.disturb(ctx, t, r) })
	clients.Wait()
	cancel()
	others.Wait()
	h.cut.Arm(stack.Unlimited, stack.Unlimited)
	for i, client := range h.clients {
		for _, key := range historyKeys {
			h.read(t.Context(), i, client, key)
		}
	}
	h.check(t)
	t.Logf("%d operations, %d of them with an unknown end; %d gateways killed, %d restarts, KES killed %d times, %d connections cut",
		len(h.kept()), h.unknown.Load(), h.kills.Load(), h.restarts.Load(), h.kesKills.Load(), h.cut.Cuts())
}

// maxHistory keeps the search of an order short.
const maxHistory = 20_000

var historyKeys = []string{"k", "a/b", "ä ☃"}

const historyBucket = "histories"

// histories is what clients did.
type histories struct {
	gateways [2]*stack.Gateway
	clients  [2]*s3.Client
	cut      *stack.Cut

	clock, next                        atomic.Int64
	unknown, kills, restarts, kesKills atomic.Int64

	mu     sync.Mutex
	tags   map[int]string // of contents
	events []porcupine.Operation
}

func startHistories(t *testing.T, r *rig) *histories {
	t.Helper()
	h := &histories{tags: map[int]string{}}
	h.cut = must(r.stack.StartCut(r.store.Endpoint))(t)
	h.gateways[0] = must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{
		KES: []*stack.KES{r.kes}, Upstream: r.store, UpstreamEndpoint: h.cut.Endpoint, Ahead: 10 * time.Minute,
	}))(t)
	h.gateways[1] = must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: h.gateways[0]}))(t)
	for i, g := range h.gateways {
		h.clients[i] = s3.New(stack.SDKOptions(g.Endpoint, g.AccessKey, g.SecretKey), func(o *s3.Options) { o.RetryMaxAttempts = 1 })
	}
	makeBucket(t, h.clients[0], historyBucket)
	setRule(t, h.clients[0], historyBucket, "")
	return h
}

// historyEvent is an operation on an object.
type historyEvent struct {
	key, what string
	content   int    // 0: no object
	match     int    // the content that a write must replace; 0: none; -1: any
	end       string // done, refused, unknown
	status    int    // of an error
}

// step is one operation of a client.
func (h *histories) step(ctx context.Context, i int, r *rand.Rand) {
	client, key := h.clients[r.IntN(2)], historyKeys[r.IntN(len(historyKeys))]
	switch r.IntN(8) {
	case 0, 1, 2:
		h.read(ctx, i, client, key)
	case 3:
		h.write(i, historyEvent{key: key, what: "delete", match: -1}, func() (*string, error) {
			_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(historyBucket), Key: &key})
			return nil, err
		})
	case 4:
		h.upload(ctx, i, client, key, r)
	default:
		content, body := h.body(r)
		in := &s3.PutObjectInput{Bucket: aws.String(historyBucket), Key: &key, Body: bytes.NewReader(body)}
		e := historyEvent{key: key, what: "put", content: content, match: -1}
		switch match, tag := h.seen(); {
		case r.IntN(4) == 0:
			e.match, in.IfNoneMatch = 0, aws.String("*")
		case r.IntN(2) == 0 && tag != "":
			e.match, in.IfMatch = match, &tag
		}
		h.write(i, e, func() (*string, error) {
			out, err := client.PutObject(ctx, in)
			if err != nil {
				return nil, err
			}
			return out.ETag, nil
		})
	}
}

// upload writes an object in one part. Its Complete is the event.
func (h *histories) upload(ctx context.Context, i int, client *s3.Client, key string, r *rand.Rand) {
	bucket := aws.String(historyBucket)
	u, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: &key})
	if err != nil {
		return
	}
	content, body := h.body(r)
	other := h.clients[r.IntN(2)]
	p, err := other.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: &key, UploadId: u.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(body)})
	if err != nil {
		return
	}
	parts := &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: p.ETag}}}
	h.write(i, historyEvent{key: key, what: "complete", content: content, match: -1}, func() (*string, error) {
		out, err := client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: &key, UploadId: u.UploadId, MultipartUpload: parts})
		if err != nil {
			return nil, err
		}
		return out.ETag, nil
	})
}

// body makes a body that names its content, of one package or of two.
func (h *histories) body(r *rand.Rand) (int, []byte) {
	content := int(h.next.Add(1))
	return content, bytes.Repeat(fmt.Appendf(nil, "%015d\n", content), 1+5000*r.IntN(2))
}

// seen returns one of the latest contents, and its ETag.
func (h *histories) seen() (int, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	latest := int(h.next.Load())
	for content := latest; content > max(latest-6, 0); content-- {
		if tag := h.tags[content]; tag != "" {
			return content, tag
		}
	}
	return 0, ""
}

func (h *histories) write(i int, e historyEvent, do func() (*string, error)) {
	call := h.clock.Add(1)
	tag, err := do()
	switch e.status = statusOf(err); {
	case err == nil:
		e.end = "done"
	case e.status >= 400 && e.status < 500:
		e.end = "refused"
	default:
		e.end = "unknown"
	}
	h.record(i, call, e, tag)
}

func (h *histories) read(ctx context.Context, i int, client *s3.Client, key string) {
	call := h.clock.Add(1)
	e := historyEvent{key: key, what: "read", end: "done"}
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(historyBucket), Key: &key})
	if noKey := (*types.NoSuchKey)(nil); errors.As(err, &noKey) {
		h.record(i, call, e, nil)
		return
	}
	if err != nil {
		return
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		return
	}
	_, _ = fmt.Sscanf(string(body[:min(16, len(body))]), "%d", &e.content)
	if len(body) == 0 || !bytes.Equal(body, bytes.Repeat(body[:16], len(body)/16)) {
		e.content = -1 // mixed
	}
	h.record(i, call, e, out.ETag)
}

func (h *histories) record(i int, call int64, e historyEvent, tag *string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if tag != nil && e.content > 0 {
		h.tags[e.content] = *tag
	}
	o := porcupine.Operation{ClientId: i, Input: e, Call: call, Output: e, Return: h.clock.Add(1)}
	if e.end == "unknown" {
		h.unknown.Add(1)
		o.Return = 1 << 60
	}
	h.events = append(h.events, o)
}

func (h *histories) kept() []porcupine.Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events
}

// disturb kills, restarts and cuts until ctx ends.
func (h *histories) disturb(ctx context.Context, t *testing.T, r *rig) {
	mc := must(r.stack.NewMC(t.Context()))(t)
	for i, g := range h.gateways {
		if err := mc.Alias(t.Context(), fmt.Sprint("gw", i), g.Endpoint, g.AccessKey, g.SecretKey); err != nil {
			t.Error(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for seen := h.clock.Load(); ctx.Err() == nil; {
		if h.clock.Load() < seen+100 { // operations and not time pace it
			time.Sleep(time.Millisecond)
			continue
		}
		seen = h.clock.Load()
		at := random.IntN(2)
		var err error
		switch random.IntN(6) {
		case 0, 1:
			err = errors.Join(h.gateways[at].Kill(), h.gateways[at].Start(t.Context()))
			h.kills.Add(1)
		case 2:
			_, err = mc.Run(t.Context(), "--json", "admin", "service", "restart", "--wait", fmt.Sprint("gw", at))
			h.restarts.Add(1)
		case 3:
			err = errors.Join(r.kes.Kill(), r.kes.Start(t.Context()))
			h.kesKills.Add(1)
		default:
			h.cut.Arm(random.Int64N(50_000), random.Int64N(50_000))
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// check looks for an order in which the events of each object are possible.
func (h *histories) check(t *testing.T) {
	t.Helper()
	m := historyModel()
	result, info := porcupine.CheckOperationsVerbose(m, h.events, giveUp)
	if result == porcupine.Ok {
		return
	}
	drawing := filepath.Join(t.ArtifactDir(), "history.html")
	if err := porcupine.VisualizePath(m, info, drawing); err != nil {
		t.Error(err)
	}
	t.Errorf("%s; a drawing is in %s (go test -artifacts keeps it)", result, drawing)
	for _, events := range m.Partition(h.events) {
		if porcupine.CheckOperations(m, events) {
			continue
		}
		for _, o := range events {
			t.Logf("%4d-%4d client %d: %+v", o.Call, o.Return, o.ClientId, o.Output)
		}
	}
}

// historyModel is the model of one object.
func historyModel() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			by := map[string][]porcupine.Operation{}
			for _, o := range all {
				key := o.Input.(historyEvent).key
				by[key] = append(by[key], o)
			}
			var out [][]porcupine.Operation
			for _, key := range historyKeys {
				out = append(out, by[key])
			}
			return out
		},
		Init:              func() []any { return []any{0} },
		Step:              func(state, _, out any) []any { return out.(historyEvent).after(state.(int)) },
		DescribeOperation: func(_, out any) string { return fmt.Sprintf("%+v", out) },
	}
	return m.ToModel()
}

// after returns the contents that an object can have after an event.
func (e historyEvent) after(content int) []any {
	holds := e.match == -1 || e.match == content
	switch {
	case e.what == "read" && e.content != content:
		return nil
	case e.what == "read", e.end != "done" && !holds:
		return []any{content}
	case e.end == "done" && holds:
		return []any{e.content}
	case e.end == "unknown":
		return []any{content, e.content}
	}
	return nil
}
