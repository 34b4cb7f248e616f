package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"pgregory.net/rapid"

	"ssegw/e2e/stack"
	"ssegw/proxy/model/runner"
	"ssegw/proxy/model/s3op"
)

// TestModel runs random histories against the reference model
// (docs/adr/0022-model.md), with a gateway, KES and a real store. SSEGW_MODEL
// says for how long: "2m"; without it there are a few, always the same. With it,
// as many histories run side by side as -parallel allows, up to modelLanes.
// SSEGW_MODEL_SEED repeats one seed.
func TestModel(t *testing.T) {
	t.Parallel()
	long, err := time.ParseDuration(os.Getenv("SSEGW_MODEL"))
	endless := err == nil
	seed := cmp.Or(os.Getenv("SSEGW_MODEL_SEED"), "1")
	if endless {
		seed = "0" // another one each time
	}
	for name, value := range map[string]string{
		"seed": seed, "checks": "5", "steps": "60", "nofailfile": "true", "shrinktime": cmp.Or(os.Getenv("SSEGW_MODEL_SHRINK"), "60s"),
	} {
		if err := flag.Set("rapid."+name, value); err != nil {
			t.Fatal(err)
		}
	}
	onStores(t, func(t *testing.T, r *rig) {
		if err := r.kes.CreateKey(t.Context(), otherModelKey); err != nil {
			t.Fatal(err)
		}
		lanes := 1
		if endless {
			lanes = modelLanes
		}
		ways, counts := modelWays(t), &modelCounts{began: time.Now(), kinds: map[string]int{}}
		t.Run("histories", func(t *testing.T) {
			for lane := range lanes {
				t.Run(fmt.Sprint(lane), func(t *testing.T) {
					t.Parallel()
					m := newModelRig(t, r, lane, ways)
					for i := 0; i == 0 || endless && time.Since(counts.began) < long && !t.Failed(); i++ {
						rapid.Check(t, func(rt *rapid.T) { counts.add(m.history(rt)) })
					}
				})
			}
		})
		counts.log(t)
	}, stack.StoreCeph)
}

// modelLanes is how many histories run side by side. Each has a gateway with a
// state bucket of its own.
const modelLanes = 6

// modelCounts counts what histories have carried out.
type modelCounts struct {
	mu               sync.Mutex
	began            time.Time
	histories, steps int
	kinds            map[string]int
}

func (c *modelCounts) add(h *runner.Machine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.histories, c.steps = c.histories+1, c.steps+h.Steps
	for kind, n := range h.Kinds {
		c.kinds[kind] += n
	}
}

func (c *modelCounts) log(t *testing.T) {
	t.Logf("%d operations of %d kinds in %d histories, %.0f a second: %v",
		c.steps, len(c.kinds), c.histories, float64(c.steps)/time.Since(c.began).Seconds(), c.kinds)
}

const (
	otherModelKey   = "other-key"
	missingModelKey = "missing-key"
	modelSecret     = "secret-of-limited-credentials"
)

// modelBuckets are the buckets of a history. Each history has its own at the
// store.
var modelBuckets = []string{"bucket", "other"}

// modelRig runs histories on a store. It is their gateway and their store.
type modelRig struct {
	*testing.T
	rig    *rig
	g      *stack.Gateway
	http   *http.Client
	direct *s3.Client
	config runner.Config
	lane   int
	n      int // histories so far
}

// newModelRig starts the gateway of a lane.
func newModelRig(t *testing.T, r *rig, lane int, ways runner.Config) *modelRig {
	m := &modelRig{T: t, rig: r, direct: r.direct(t), http: must(stack.HTTPClient(""))(t), lane: lane, config: ways}
	t.Cleanup(m.http.CloseIdleConnections)
	type credential struct {
		AccessKey string   `json:"access_key"`
		SecretKey string   `json:"secret_key"`
		Buckets   []string `json:"buckets"`
		Access    string   `json:"access"`
		Keys      []string `json:"kms_keys"`
	}
	file := filepath.Join(t.TempDir(), "credentials.json")
	doc := must(json.Marshal(map[string][]credential{"credentials": {
		{"reader", modelSecret, []string{bucketName("*")}, "read", []string{"e2e-key", otherModelKey}},
		{"limited", modelSecret, []string{bucketName(modelBuckets[0] + "-*")}, "read-write", []string{otherModelKey}},
	}}))(t)
	if err := os.WriteFile(file, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	m.g = must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{KES: []*stack.KES{r.kes}, Upstream: r.store, Env: map[string]string{
		"SSEGW_TLS_TERMINATED": "true", "SSEGW_CREDENTIALS_FILE": file, "SSEGW_STATE": bucketName(fmt.Sprint("state-", lane)),
	}}))(t)
	m.config.DefaultKey, m.config.Keys = m.g.KeyName, map[string]bool{m.g.KeyName: true, otherModelKey: true}
	m.config.Limits = map[string]s3op.Limit{
		"reader":  {Buckets: modelBuckets, Keys: []string{m.g.KeyName, otherModelKey}, ReadOnly: true},
		"limited": {Buckets: modelBuckets[:1], Keys: []string{otherModelKey}},
	}
	return m
}

// modelWays is how histories are drawn for the store of the running test.
func modelWays(t *testing.T) runner.Config {
	return runner.Config{
		Config: s3op.Config{MinPart: 5 << 20, Store: s3op.Store{
			AbortsAgain: !may(t, "abort-once"), QuietMarkers: !may(t, "mark-null"), CompletesBlind: !may(t, "etags"), DeletesNothing: !may(t, "delete-missing"),
			LosesListed: !may(t, "list-tagged"), HidesMarkers: !may(t, "marker-tags"), QuietCopies: !may(t, "copy-version"), Truncates: !may(t, "list-end"),
		}},
		Buckets: modelBuckets, Objects: []string{"k", "a/b", "ä ☃", "p+q"}, OtherKey: otherModelKey, NoKey: missingModelKey,
		Looks: 20, Slow: 6, Unordered: true,
		NoCopyTags: !may(t, "copy-tags"), NoBareParts: !may(t, "bare-parts"), NoSelfSums: !may(t, "self-sums"), NoMarks: !may(t, "mark-missing"),
		NoMarksAgain: !may(t, "mark-again"), NoVersionWrites: !may(t, "version-writes"), NoLateVersions: !may(t, "late-versions"), NoVersions: !may(t, "versions"), NoNull: !may(t, "null"), NoAbsent: !may(t, "match-absent"), NoUploadTags: !may(t, "upload-tags"),
		Sizes: []int{5, 0, 1, 1000, 65535, 65536, 65537, 70_000, 200_000, 1 << 20, 1<<20 + 1, 5<<20 + 1},
		Parts: []int{5, 0, 1000, 65536, 5 << 20, 5<<20 - 1},
	}
}

// name returns the name of a bucket at the store.
func (m *modelRig) name(bucket string) string {
	return bucketName(fmt.Sprintf("%s-%d-%04d", bucket, m.lane, m.n))
}

// history runs one history in new buckets.
func (m *modelRig) history(t *rapid.T) *runner.Machine {
	m.n++
	for _, bucket := range modelBuckets {
		makeBucket(m.T, m.direct, m.name(bucket))
	}
	h := runner.New(t, m.config, m, m)
	h.Run(t)
	h.Conclude()
	for _, bucket := range modelBuckets {
		m.clear(bucket)
	}
	return h
}

// clear deletes a bucket with the gateway, and so its rule. MinIO sometimes
// keeps a bucket that lists no version any more; the next history does not use
// it.
func (m *modelRig) clear(bucket string) {
	name := m.name(bucket)
	client := sdkOf(m.T, m.g)
	page := must(m.direct.ListObjectVersions(m.Context(), &s3.ListObjectVersionsInput{Bucket: &name}))(m.T)
	remove := func(key, version *string) {
		if _, err := m.direct.DeleteObject(m.Context(), &s3.DeleteObjectInput{Bucket: &name, Key: key, VersionId: version}); err != nil {
			m.Fatal(err)
		}
	}
	for _, v := range page.Versions {
		remove(v.Key, v.VersionId)
	}
	for _, v := range page.DeleteMarkers {
		remove(v.Key, v.VersionId)
	}
	if _, err := client.DeleteBucket(m.Context(), &s3.DeleteBucketInput{Bucket: &name}); err != nil && !hasCode(err, "BucketNotEmpty") {
		m.Fatal(err)
	}
}

// Restart ends the gateway and starts it again.
func (m *modelRig) Restart() {
	if err := m.g.Stop(m.Context()); err != nil {
		m.Fatal(err)
	}
	if err := m.g.Start(m.Context()); err != nil {
		m.Fatal(err)
	}
}

// Job runs a command of ssegw. It ends with 1 if it leaves objects out. Rules
// that it changed are known to the gateway after a restart.
func (m *modelRig) Job(kind runner.Kind, bucket, key string) int {
	args := []string{string(kind), "--json"}
	results := map[runner.Kind]string{runner.Encrypt: "sealed", runner.Rekey: "rekeyed", runner.Verify: "verified"}
	if kind == runner.Rekey {
		args = append(args, "--key", key)
	}
	out, status := runSSEGW(m.T, m.rig, m.g, append(args, m.name(bucket))...)
	var job struct {
		Counts map[string]struct{ Objects int }
	}
	if err := json.Unmarshal([]byte(out), &job); err != nil || status > 1 {
		m.Fatalf("%s: exit status %d: %s", kind, status, out)
	}
	if kind == runner.Encrypt {
		m.Restart()
	}
	return job.Counts[results[kind]].Objects
}

// Do frames, signs and sends a request.
func (m *modelRig) Do(r runner.Request) runner.Response {
	req, err := m.request(r)
	if err != nil {
		return runner.Response{Err: err}
	}
	resp, err := m.http.Do(req)
	if err != nil {
		return runner.Response{Err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return runner.Response{Status: resp.StatusCode, Header: resp.Header, Body: body, Err: err}
}

// request makes a signed request.
func (m *modelRig) request(r runner.Request) (*http.Request, error) {
	target := must(url.Parse(m.g.Endpoint))(m.T)
	target.Path = "/" + m.name(r.Bucket)
	if r.Key != "" {
		target.Path += "/" + r.Key
	}
	target.RawPath = strings.NewReplacer("+", "%2B").Replace(target.EscapedPath())
	target.RawQuery = strings.ReplaceAll(r.Query.Encode(), "+", "%20")
	req, err := http.NewRequestWithContext(m.Context(), r.Method, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	if source := req.Header.Get("X-Amz-Copy-Source"); source != "" {
		bucket, rest, _ := strings.Cut(source, "/")
		req.Header.Set("X-Amz-Copy-Source", m.name(bucket)+"/"+rest)
	}
	creds := aws.Credentials{AccessKeyID: m.g.AccessKey, SecretAccessKey: m.g.SecretKey}
	if r.Who != "" {
		creds = aws.Credentials{AccessKeyID: r.Who, SecretAccessKey: modelSecret}
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	body := r.Body
	if r.Mode == runner.Presigned {
		return m.presign(req, signer, creds, body)
	}
	u := upload{body: r.Body, framing: modelFramings[r.Mode]}
	if u.trailed() && r.Algorithm != "CRC32" { // the only one that upload makes
		u.framing = unsigned
		req.Header.Set("X-Amz-Checksum-"+r.Algorithm, s3op.SumOf(r.Algorithm, r.Body))
	}
	payload := u.declare(req.Header)
	req.Header.Set("X-Amz-Content-Sha256", payload)
	now := time.Now().UTC()
	req.ContentLength = u.wireLength()
	if err := signer.SignHTTP(m.Context(), creds, req, payload, "s3", stack.Region, now); err != nil {
		return nil, err
	}
	_, seed, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
	body = u.frame(newChunkChain(creds.SecretAccessKey, seed, now))
	if r.Damaged {
		body = bytes.Clone(body)
		body[len(body)-1] ^= 1
	}
	if len(body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	return req, nil
}

var modelFramings = map[runner.Mode]framing{
	runner.Hash: hashed, runner.Unsigned: unsigned, runner.Trailer: trailer, runner.Signed: signedChunks, runner.SignedTrailer: signedTrailer,
}

// presign makes a request with a presigned URL. Headers that the presigner
// moved into the query are not sent.
func (m *modelRig) presign(req *http.Request, signer *v4.Signer, creds aws.Credentials, body []byte) (*http.Request, error) {
	q := req.URL.Query()
	q.Set("X-Amz-Expires", "600")
	req.URL.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	address, _, err := signer.PresignHTTP(m.Context(), creds, req, "UNSIGNED-PAYLOAD", "s3", stack.Region, time.Now())
	if err != nil {
		return nil, err
	}
	signed, err := http.NewRequestWithContext(m.Context(), req.Method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	signed.Header = req.Header.Clone()
	maps.DeleteFunc(signed.Header, func(name string, _ []string) bool {
		return strings.Contains(strings.ToLower(address), strings.ToLower(name)+"=")
	})
	return signed, nil
}

// Plant writes an object without the gateway.
func (m *modelRig) Plant(bucket, key string, body []byte) string {
	out := must(m.direct.PutObject(m.Context(), &s3.PutObjectInput{
		Bucket: aws.String(m.name(bucket)), Key: &key, Body: bytes.NewReader(body), ContentType: aws.String("binary/octet-stream"),
	}))(m.T)
	return aws.ToString(out.VersionId)
}

// Look returns what the store has.
func (m *modelRig) Look(bucket string) (all []runner.Stored) {
	name := m.name(bucket)
	page := must(m.direct.ListObjectVersions(m.Context(), &s3.ListObjectVersionsInput{Bucket: &name}))(m.T)
	for _, v := range page.Versions {
		in := &s3.GetObjectInput{Bucket: &name, Key: v.Key}
		head := &s3.HeadObjectInput{Bucket: &name, Key: v.Key}
		if id := aws.ToString(v.VersionId); id != "null" || !aws.ToBool(v.IsLatest) {
			in.VersionId, head.VersionId = v.VersionId, v.VersionId
		}
		h := must(m.direct.HeadObject(m.Context(), head))(m.T)
		all = append(all, runner.Stored{
			Key: *v.Key, Version: aws.ToString(v.VersionId), ETag: aws.ToString(v.ETag), Sealed: h.Metadata["ssegw"] != "",
			Body: func() []byte {
				out := must(m.direct.GetObject(m.Context(), in))(m.T)
				defer out.Body.Close()
				return must(io.ReadAll(out.Body))(m.T)
			},
		})
	}
	for _, v := range page.DeleteMarkers {
		all = append(all, runner.Stored{Key: *v.Key, Version: aws.ToString(v.VersionId), Marker: true})
	}
	return all
}
