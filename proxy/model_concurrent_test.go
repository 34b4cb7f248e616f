package proxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// TestConcurrentHistories runs clients through two gateways on one store, which
// loses answers and cuts connections, as KES does. Meanwhile gateways are killed
// and restarted in place, and jobs run. The store's clock differs from theirs. What clients see of each object, and of
// a bucket's rule, must be what they could have seen one after another.
// SSEGW_MODEL says for how long other histories run, as in TestModel. The
// scheduling is not part of a seed.
func TestConcurrentHistories(t *testing.T) {
	seed, end := uint64(1), time.Now()
	if long, err := time.ParseDuration(os.Getenv("SSEGW_MODEL")); err == nil {
		seed, end = uint64(end.UnixNano()), end.Add(long)
	}
	operations := 0
	for last := seed + 6; seed < last || time.Now().Before(end); seed++ {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { operations += concurrentHistory(t, seed) }) {
			break
		}
	}
	t.Logf("%d operations", operations)
}

// What a history consists of.
const (
	historyClients = 4
	historySteps   = 30
	faultOneIn     = 25 // requests to the store
)

// event is an operation on one object. Its content is a number, 0 for no
// object.
type event struct {
	what    string
	content int  // that is read, or written
	match   int  // the content that a write must replace, or one of those below
	free    bool // a write may be refused for another reason than match
	outcome outcome
}

// Conditions of writes.
const (
	matchAny  = -1
	matchNone = 0 // If-None-Match: *
)

type outcome int

const (
	wasDone outcome = iota
	wasRefused
	wasUnknown // the client does not know whether a write was carried out
)

func (o outcome) String() string { return [...]string{"done", "refused", "unknown"}[o] }

// after returns the contents that an object can have after an event, none if
// the event is impossible.
func (e event) after(content int) []int {
	if e.what == "read" {
		if e.outcome == wasDone && e.content != content {
			return nil
		}
		return []int{content}
	}
	holds := e.match == matchAny || e.match == content
	switch {
	case e.outcome == wasDone && holds:
		return []int{e.content}
	case e.outcome == wasUnknown && holds:
		return []int{content, e.content}
	case e.outcome == wasUnknown:
		return []int{content}
	case e.outcome == wasRefused && (!holds || e.match > 0 || e.free): // an update of the encryption may have changed the ETag
		return []int{content}
	}
	return nil
}

// register is the model of one object for porcupine.
func register() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{0} },
		Step: func(content, in, out any) (next []any) {
			e := out.(event)
			for _, c := range e.after(content.(int)) {
				next = append(next, c)
			}
			return next
		},
		DescribeOperation: func(_, out any) string { return fmt.Sprintf("%+v", out) },
	}
	return m.ToModel()
}

// history is a concurrent history of a few objects and of one rule.
type history struct {
	t        *testing.T
	store    *memUpstream
	kes      *kmstest.Server
	places   [2]place
	starting atomic.Bool // a gateway
	clock    atomic.Int64
	next     atomic.Int64 // content
	mu       sync.Mutex
	bodies   map[int][]byte
	tags     map[int]string // the last ETag seen of a content
	events   map[string][]porcupine.Operation
}

// place is where one gateway after another runs.
type place struct {
	mu sync.RWMutex
	g  *testGateway
	l  *life
}

// gateway returns the gateway that is there now.
func (p *place) gateway() *testGateway {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.g
}

// ruledBucket is the bucket whose rule changes. The rule counts as an object
// of that name; its contents are the indexes of concurrentRules.
const ruledBucket = "ruled"

var concurrentRules = [][]byte{nil, encryptionDoc(s3.AES256, ""), encryptionDoc(s3.AWSKMS, kmstest.DefaultKey), encryptionDoc(s3.AWSKMS, otherModelKey)}

func concurrentHistory(t *testing.T, seed uint64) int {
	h := newHistory(t)
	h.store.ahead = time.Duration(int64(seed%3)-1) * 10 * time.Minute
	h.store.on("", "/", h.faults(seed))
	var clients, others sync.WaitGroup
	for i := range historyClients {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range historySteps {
				h.step(i, r)
			}
		})
	}
	stop := make(chan struct{})
	others.Go(func() { h.disturb(rand.New(rand.NewPCG(seed, 98)), stop) })
	clients.Wait()
	close(stop)
	others.Wait()
	h.store.unhook()
	h.kes.SetFault(kmstest.Fault{})
	for _, key := range append(concurrentKeys, ruledBucket) {
		for i := range h.places {
			if key == ruledBucket {
				h.readRule(i, h.places[i].gateway())
			} else {
				h.read(i, h.places[i].gateway(), key)
			}
		}
		h.check(key)
	}
	h.conclude()
	for i := range h.places {
		h.places[i].l.end()
	}
	return historyClients * historySteps
}

// newHistory starts two gateways. The objects are in plaintext first, and their
// bucket has a rule.
func newHistory(t *testing.T) *history {
	store := newMemUpstream(t)
	var writes sync.Mutex // the in-memory store's conditional writes are not atomic by themselves
	store.ways = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			writes.Lock()
			defer writes.Unlock()
		}
		next.ServeHTTP(w, r)
	}
	h := &history{
		t: t, store: store, kes: kmstest.NewServer(t, kmstest.WithNetwork(&kmstest.Network{})),
		bodies: map[int][]byte{}, tags: map[int]string{}, events: map[string][]porcupine.Operation{},
	}
	h.kes.CreateKey(otherModelKey)
	store.makeBucket(ruledBucket)
	for i := range h.places {
		h.start(i, nil)
	}
	g := h.places[0].g
	for i, key := range concurrentKeys {
		content, body := h.body(rand.New(rand.NewPCG(uint64(i), 1)))
		h.write(0, key, "put", content, matchAny, func() clientAnswer { return g.put("/"+testBucket+"/"+key, body) })
	}
	if err := setRule(t.Context(), g.State, testBucket, &state.Rule{Algorithm: s3.AES256}); err != nil {
		t.Fatal(err)
	}
	return h
}

// check checks the events of an object.
func (h *history) check(key string) {
	result, info := porcupine.CheckOperationsVerbose(register(), h.events[key], giveUp)
	if result == porcupine.Ok {
		return
	}
	drawing := filepath.Join(h.t.ArtifactDir(), "history.html")
	if err := porcupine.VisualizePath(register(), info, drawing); err != nil {
		h.t.Error(err)
	}
	h.t.Errorf("%s: %s: Illegal; a drawing is in %s (go test -artifacts keeps it)", key, result, drawing)
	for _, o := range h.events[key] {
		h.t.Logf("%4d-%4d client %d: %+v", o.Call, o.Return, o.ClientId, o.Output)
	}
}

var concurrentKeys = []string{"k", "a//b"}

// faults loses some answers, and cuts some connections before the request is
// carried out. It lets gateways start: if their probes fail, they know less of
// the store for some time.
func (h *history) faults(seed uint64) hook {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 99))
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		roll := random.IntN(2 * faultOneIn)
		mu.Unlock()
		if h.starting.Load() {
			roll = -1
		}
		switch roll {
		case 0:
			dropAnswer(w, r, next)
		case 1:
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	}
}

// step carries out one random operation of a client.
func (h *history) step(client int, r *rand.Rand) {
	g := h.places[r.IntN(2)].gateway()
	key := concurrentKeys[r.IntN(len(concurrentKeys))]
	path := "/" + testBucket + "/" + key
	switch r.IntN(14) {
	case 0, 1, 2:
		h.read(client, g, key)
	case 3:
		g.updateEncryption(path, []string{kmstest.DefaultKey, otherModelKey}[r.IntN(2)])
	case 4:
		g.put(path, nil, s3.HeaderCopySource, testBucket+"/"+key, s3.HeaderMetadataDirective, "REPLACE", "X-Amz-Meta-A", "1")
	case 5:
		match, pairs := h.condition(r, false)
		h.write(client, key, "delete", 0, match, func() clientAnswer { return g.delete(path, pairs...) })
	case 6:
		h.upload(client, g, key, r)
	case 7:
		h.copy(client, g, key, r)
	case 8:
		h.changeRule(client, g, r)
	case 9:
		h.readRule(client, g)
	case 10:
		h.writeRuled(client, g, r)
	default:
		match, pairs := h.condition(r, true)
		content, body := h.body(r)
		h.write(client, key, "put", content, match, func() clientAnswer { return g.put(path, body, pairs...) })
	}
}

// body makes the next content.
func (h *history) body(r *rand.Rand) (int, []byte) {
	content := int(h.next.Add(1))
	body := pattern(2000+70_000*r.IntN(2), uint64(content))
	binary.BigEndian.PutUint32(body, uint32(content))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bodies[content] = body
	return content, body
}

// condition draws a condition of a write.
func (h *history) condition(r *rand.Rand, create bool) (match int, pairs []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch latest := int(h.next.Load()); {
	case create && r.IntN(4) == 0:
		return matchNone, []string{"If-None-Match", "*"}
	case r.IntN(2) == 0:
		for content := latest; content > max(latest-4, 0); content-- {
			if tag := h.tags[content]; tag != "" {
				return content, []string{"If-Match", tag}
			}
		}
	}
	return matchAny, nil
}

// upload writes an object in two parts. Only its Complete is an event.
func (h *history) upload(client int, g *testGateway, key string, r *rand.Rand) {
	u := &testUpload{g: g, path: "/" + testBucket + "/" + key}
	a := g.do(clientRequest{method: http.MethodPost, path: u.path, query: map[string][]string{"uploads": {""}}})
	_, rest, _ := bytes.Cut(a.body, []byte("<UploadId>"))
	id, _, ok := bytes.Cut(rest, []byte("</UploadId>"))
	if a.status != 200 || !ok {
		return
	}
	u.id = string(id)
	content, body := h.body(r)
	var parts []testPart
	for i, part := range [][]byte{body[:1500], body[1500:]} {
		p := u.through(h.places[r.IntN(2)].gateway()).try(i+1, part)
		if p.status != 200 {
			return
		}
		parts = append(parts, testPart{number: i + 1, etag: p.header.Get("ETag")})
	}
	h.write(client, key, "complete", content, matchAny, func() clientAnswer { return u.completeWith(parts) })
}

// write records a write.
func (h *history) write(client int, key, what string, content, match int, do func() clientAnswer) {
	h.writeFree(client, key, event{what: what, content: content, match: match}, do)
}

func (h *history) writeFree(client int, key string, e event, do func() clientAnswer) clientAnswer {
	call := h.clock.Add(1)
	a := do()
	e.outcome = outcomeOf(a)
	if e.outcome == wasDone && a.header.Get("ETag") != "" {
		h.mu.Lock()
		h.tags[e.content] = a.header.Get("ETag")
		h.mu.Unlock()
	}
	h.record(client, key, call, e)
	return a
}

// outcomeOf returns what a client knows after an answer.
func outcomeOf(a clientAnswer) outcome {
	switch {
	case a.err != nil || a.status >= 500:
		return wasUnknown
	case a.status >= 400:
		return wasRefused
	}
	return wasDone
}

// read reads an object and records it.
func (h *history) read(client int, g *testGateway, key string) {
	call := h.clock.Add(1)
	a := g.get("/" + testBucket + "/" + key)
	e := event{what: "read", outcome: outcomeOf(a)}
	switch {
	case e.outcome == wasRefused && a.code == "NoSuchKey":
		e.outcome = wasDone
	case e.outcome == wasDone:
		e.content = -2 // bytes that nobody wrote
		if len(a.body) >= 4 {
			content := int(binary.BigEndian.Uint32(a.body))
			h.mu.Lock()
			if bytes.Equal(a.body, h.bodies[content]) {
				e.content = content
				h.tags[content] = a.header.Get("ETag")
			}
			h.mu.Unlock()
		}
	}
	h.record(client, key, call, e)
}

// record adds an event. A write of which the client knows nothing may be
// carried out at any time from then on.
func (h *history) record(client int, key string, call int64, e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := porcupine.Operation{ClientId: client, Input: e.what, Call: call, Output: e, Return: h.clock.Add(1)}
	if e.outcome == wasUnknown {
		o.Return = 1 << 60
	}
	h.events[key] = append(h.events[key], o)
}
