package proxy

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ssegw/proxy/model/s3op"

	"pgregory.net/rapid"

	"ssegw/kms/kmstest"
	"ssegw/proxy/jobs"
	"ssegw/proxy/model/runner"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// TestModel runs random histories against the gateway and the model. The seed
// is always the same, unless SSEGW_MODEL says for how long histories of other
// seeds run ("2m"; see `make model`). A failure prints its seed and the shortest
// history that fails.
func TestModel(t *testing.T) { runHistories(t, modelHistory) }

// runHistories runs histories of one seed, or for some time.
func runHistories(t *testing.T, run func(*modelGateway, *rapid.T) *runner.Machine) {
	kes := kmstest.NewServer(t, kmstest.WithNetwork(&kmstest.Network{}))
	kes.CreateKey(otherModelKey)
	began, histories, steps, kinds := time.Now(), 0, 0, map[string]int{}
	check := func(seed uint64, checks int) bool {
		t.Helper()
		setFlag(t, "rapid.seed", strconv.FormatUint(seed, 10))
		setFlag(t, "rapid.checks", strconv.Itoa(checks))
		return t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				all := &scope{TB: t}
				defer all.end()
				m := run(newModelGateway(all, kes), r)
				histories, steps = histories+1, steps+m.Steps
				for kind, n := range m.Kinds {
					kinds[kind] += n
				}
			})
		})
	}
	setFlag(t, "rapid.steps", "40")
	setFlag(t, "rapid.nofailfile", "true")
	setFlag(t, "rapid.shrinktime", cmp.Or(os.Getenv("SSEGW_MODEL_SHRINK"), "20s"))
	if seed, err := strconv.ParseUint(os.Getenv("SSEGW_MODEL_SEED"), 10, 64); err == nil {
		check(seed, modelChecks)
	} else if long, err := time.ParseDuration(os.Getenv("SSEGW_MODEL")); err == nil {
		seed := uint64(time.Now().UnixNano())
		for end := time.Now().Add(long); time.Now().Before(end) && check(seed, modelChecks); {
			seed++
		}
	} else {
		check(1, modelChecks/4)
	}
	t.Logf("%d operations of %d kinds in %d histories, %.0f a second: %v",
		steps, len(kinds), histories, float64(steps)/time.Since(began).Seconds(), kinds)
}

// modelChecks is how many histories have one seed.
const modelChecks = 100

func setFlag(t *testing.T, name, value string) {
	t.Helper()
	before := flag.Lookup(name).Value.String()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, before) })
}

// Names that histories use.
const otherModelKey, missingModelKey = "second-key", "missing-key"

var modelBuckets = []string{testBucket, "other"}

// modelConfig is how the histories of this package are drawn. Parts have other
// limits here, and so histories with large parts are rare.
var modelConfig = runner.Config{
	Config: s3op.Config{
		DefaultKey: kmstest.DefaultKey, MinPart: smallestPart,
		Keys: map[string]bool{kmstest.DefaultKey: true, otherModelKey: true},
		Limits: map[string]s3op.Limit{
			"reader":  {Buckets: modelBuckets, Keys: []string{kmstest.DefaultKey, otherModelKey}, ReadOnly: true},
			"limited": {Buckets: modelBuckets[:1], Keys: []string{otherModelKey}},
		},
	},
	Buckets: modelBuckets, Objects: []string{"k", "a//b", "ä ☃", "p+q"}, OtherKey: otherModelKey, NoKey: missingModelKey, Slow: 2,
	Sizes: []int{5, 0, 1, 1000, 65535, 65536, 65537, 70_000, 200_000, 1 << 20, 1<<20 + 1, 5<<20 + 1},
	Parts: []int{5, 0, 999, 1000, 1001, 65536, 70_000, 5 << 20},
}

// scope is the life of a part of a history. What fails in it fails the history,
// which can then be made shorter.
type scope struct {
	testing.TB
	ends []func()
}

func (s *scope) Helper()                   {}
func (s *scope) Cleanup(end func())        { s.ends = append(s.ends, end) }
func (s *scope) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (s *scope) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (s *scope) Error(args ...any)         { panic(fmt.Sprint(args...)) }
func (s *scope) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func (s *scope) end() {
	for _, end := range slices.Backward(s.ends) {
		end()
	}
	s.ends = nil
}

// modelGateway is a gateway with its store and its client for histories.
type modelGateway struct {
	all   *scope
	alive *life // of g
	g     *testGateway
	kes   *kmstest.Server
	store *memUpstream
	idle  time.Duration // that the store may stand still
}

// newModelGateway starts a gateway before an empty store.
func newModelGateway(all *scope, kes *kmstest.Server) *modelGateway {
	m := &modelGateway{all: all, alive: newLife(all.TB), kes: kes, store: newMemUpstream(all)}
	m.store.ways = m.store.likeS3
	for _, name := range modelBuckets {
		m.store.makeBucket(name)
	}
	all.Cleanup(func() { m.alive.end() })
	m.Restart()
	return m
}

// Restart puts another gateway in place of the present one, if there is one.
func (m *modelGateway) Restart() {
	m.alive.end()
	m.alive = newLife(m.all.TB)
	credentials := map[string]*Credential{}
	for name, limit := range modelConfig.Limits {
		credentials[name] = &Credential{AccessKey: name, SecretKey: clientSecretKey, Buckets: limit.Buckets, KMSKeys: limit.Keys}
		if limit.ReadOnly {
			credentials[name].Access = AccessRead
		}
	}
	m.g = newGateway(m.alive, withUpstreamIdle(m.idle), withUpstream(m.store), withKES(m.kes), withUpstreamConfig(m.alive.connect), withCredentials(credentials), withConfig(func(c *Config) {
		c.TLSTerminated, c.PresignedV2 = true, true
	})).withSmallParts()
}

// Do signs and sends a request.
func (m *modelGateway) Do(r runner.Request) runner.Response {
	m.store.forget()
	if r.Mode == runner.Presigned && r.Who == "" {
		return m.presigned(r)
	}
	c := clientRequest{
		method: r.Method, path: strings.TrimSuffix("/"+r.Bucket+"/"+r.Key, "/"), query: r.Query, header: r.Header, body: r.Body,
		mode: strings.TrimPrefix(string(r.Mode), string(runner.Presigned)), algorithm: r.Algorithm,
	}
	if r.Who != "" {
		c.as = &Credential{AccessKey: r.Who, SecretKey: clientSecretKey}
	}
	if r.Damaged {
		c.spoil = func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	}
	return response(m.g.do(c))
}

func response(a clientAnswer) runner.Response {
	return runner.Response{Status: a.status, Header: a.header, Body: a.body, Err: a.err}
}

// presigned sends a request with a presigned URL. Headers that the presigner
// moved into the query are not sent.
func (m *modelGateway) presigned(r runner.Request) runner.Response {
	var pairs, left []string
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		pairs = append(pairs, name, r.Header.Get(name))
	}
	address := m.g.presignV4(r.Method, s3.EscapePath(r.Bucket, r.Key), r.Query, pairs...)
	for p := range slices.Chunk(pairs, 2) {
		if !strings.Contains(strings.ToLower(address), strings.ToLower(p[0])+"=") {
			left = append(left, p...)
		}
	}
	return response(m.g.presigned(r.Method, address, r.Body, left...))
}

// Job runs a job.
func (m *modelGateway) Job(kind runner.Kind, bucket, key string) int {
	results := map[runner.Kind]jobs.Result{runner.Encrypt: jobs.ResultSealed, runner.Rekey: jobs.ResultRekeyed, runner.Verify: jobs.ResultVerified}
	j := m.g.runJob(&jobs.Job{Kind: jobs.Kind(kind), Bucket: bucket, Settings: jobs.Settings{Key: key}})
	return int(counted(j)[results[kind]])
}

// Plant writes an object without the gateway.
func (m *modelGateway) Plant(bucket, key string, body []byte) string {
	w := memHeader{}
	m.store.keep(w, bucket, key, &memObject{
		body: body, header: headers("Content-Type", s3.DefaultContentType), etag: memTag(body), modified: memNow(),
	})
	return http.Header(w).Get("X-Amz-Version-Id")
}

// memHeader is the header of an answer.
type memHeader http.Header

func (h memHeader) Header() http.Header       { return http.Header(h) }
func (memHeader) Write(b []byte) (int, error) { return len(b), nil }
func (memHeader) WriteHeader(int)             {}

// memNow is the time that the in-memory store gives an object.
func memNow() time.Time { return time.Now().UTC().Truncate(time.Second) }

// Look returns what the store has, without a request.
func (m *modelGateway) Look(bucket string) (all []runner.Stored) {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	for _, key := range modelConfig.Objects {
		for _, o := range m.store.all(bucket, key) {
			all = append(all, runner.Stored{
				Key: key, Version: o.id, Marker: o.marker, Sealed: !o.marker && isSealed(o), ETag: o.etag, Body: func() []byte { return o.body },
			})
		}
	}
	return all
}

// drawAhead draws how much the store's clock is ahead of the gateway's.
func drawAhead(t *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{0, 10 * time.Minute, -10 * time.Minute}).Draw(t, "ahead")
}

// modelHistory runs one history.
func modelHistory(g *modelGateway, t *rapid.T) *runner.Machine {
	m := runner.New(t, modelConfig, g, g)
	g.store.ahead = drawAhead(t)
	m.Run(t)
	completed := m.Conclude()
	g.deceive(m)
	g.noRemains(completed)
	return m
}

// TestModelLies runs random histories before a store that lies, as TestModel
// does before an honest one.
func TestModelLies(t *testing.T) { runHistories(t, modelLies) }

// modelLies runs one history before a store that lies.
func modelLies(g *modelGateway, t *rapid.T) *runner.Machine {
	g.idle = time.Second // some lies are silent
	g.Restart()
	config := modelConfig
	config.Buckets, config.Objects = []string{testBucket}, liedKeys[1:4]
	m := runner.New(t, config, g, g)
	m.Step(s3op.PutRule{Bucket: testBucket, Rule: s3op.Rule{Sealing: s3op.Sealing{Scheme: s3op.S3}}})
	l := &liar{}
	for range rapid.IntRange(1, 150).Draw(t, "answers") {
		kind := 0 // an honest answer
		if rapid.IntRange(0, 3).Draw(t, "lie") == 3 {
			kind = rapid.IntRange(0, len(lies)-1).Draw(t, "kind")
		}
		l.tape = append(l.tape, byte(kind), rapid.Byte().Draw(t, "variant"), rapid.Byte().Draw(t, "detail"))
	}
	g.store.on("", "/"+testBucket, l.answer)
	g.store.on("", "/"+testStateBucket, l.answer)
	m.RunLied(t)
	g.store.unhook()
	for _, n := range m.Names() {
		m.Step(s3op.Get{Name: n, Key: m.CustomerKey(n)})
	}
	g.alive.end()
	m.Tried(func(body []byte) {
		for _, bucket := range []string{testBucket, testStateBucket} {
			for _, key := range g.store.keys(bucket) {
				if o := g.store.look(bucket, key); len(body) >= 40 && bytes.Contains(o.body, body[:40]) {
					t.Fatalf("the store has plaintext of %d bytes in %s/%s", len(body), bucket, key)
				}
			}
		}
	})
	return m
}

// noRemains stops the gateway, which finishes what it does after its answers,
// and looks for records, staged parts and uploads that are left over.
func (m *modelGateway) noRemains(completed int) {
	m.alive.end()
	left := m.g.records()
	if len(left) != completed || slices.ContainsFunc(left, func(name string) bool { return !strings.HasSuffix(name, "/"+state.DoneRecord) }) {
		m.all.Fatalf("after %d completed uploads, these records are left: %q", completed, left)
	}
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	if n := len(m.store.uploads); n > 0 {
		m.all.Fatalf("%d uploads are left at the store", n)
	}
}

// deceive plays the store that serves one sealed object in place of another, or
// alters it. What is served is right all the same.
func (m *modelGateway) deceive(h *runner.Machine) {
	names := h.Names()
	for i, n := range names {
		stored := m.store.object(n.Bucket, n.Key)
		if !isSealed(stored) {
			continue
		}
		refuse := func(what string) {
			for _, head := range []bool{false, true} {
				op := s3op.Get{Name: n, Key: h.CustomerKey(n), Head: head}
				if a := h.Send(op); a.Status == 200 {
					if err := h.World.Step(op, a); err != nil {
						h.Fatalf("%v is served with %s, HEAD: %t: %v", n, what, head, err)
					}
				}
			}
		}
		if other := names[(i+1)%len(names)]; other != n && isSealed(m.store.object(other.Bucket, other.Key)) && h.CustomerKey(other) == h.CustomerKey(n) {
			m.store.store(n.Bucket, n.Key, m.store.object(other.Bucket, other.Key))
			refuse(fmt.Sprint("what is stored as ", other))
		}
		m.store.store(n.Bucket, n.Key, stored)
		m.store.edit(n.Bucket, n.Key, func(o *memObject) { o.header.Set("X-Amz-Meta-A", "altered") })
		refuse("other metadata")
		if len(stored.body) > 0 {
			m.store.store(n.Bucket, n.Key, stored)
			m.store.edit(n.Bucket, n.Key, func(o *memObject) { o.body[len(o.body)/2] ^= 1 })
			refuse("an altered byte")
		}
		m.store.store(n.Bucket, n.Key, stored)
	}
}
