package proxy

import (
	"cmp"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ssegw/kms/kmstest"
	"ssegw/proxy/model"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// TestModel runs random histories against the gateway and the model. The seed
// is always the same, unless SSEGW_MODEL says for how long histories of other
// seeds run ("2m"; see `make model`). A failure prints its seed and the shortest
// history that fails.
func TestModel(t *testing.T) {
	kes := kmstest.NewServer(t, kmstest.WithNetwork(&kmstest.Network{}))
	kes.CreateKey(otherModelKey)
	steps := 0
	run := func(seed uint64, checks int) bool {
		t.Helper()
		setFlag(t, "rapid.seed", strconv.FormatUint(seed, 10))
		setFlag(t, "rapid.checks", strconv.Itoa(checks))
		return t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) { steps += modelHistory(t, r, kes) })
		})
	}
	setFlag(t, "rapid.steps", "40")
	setFlag(t, "rapid.nofailfile", "true")
	setFlag(t, "rapid.shrinktime", cmp.Or(os.Getenv("SSEGW_MODEL_SHRINK"), "20s"))
	if seed, err := strconv.ParseUint(os.Getenv("SSEGW_MODEL_SEED"), 10, 64); err == nil {
		run(seed, modelChecks)
	} else if long, err := time.ParseDuration(os.Getenv("SSEGW_MODEL")); err == nil {
		seed := uint64(time.Now().UnixNano())
		for end := time.Now().Add(long); time.Now().Before(end) && run(seed, modelChecks); {
			seed++
		}
	} else {
		run(1, modelChecks/4)
	}
	t.Logf("%d operations", steps)
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

// Names that histories use. Few keys make operations meet.
const otherModelKey, missingModelKey = "second-key", "missing-key"

var (
	modelBuckets = []string{testBucket, "other"}
	modelKeys    = []string{"k", "a//b", "ä ☃", "p+q"}
	modelSizes   = []int{5, 0, 1, 1000, 65535, 65536, 65537, 70_000, 200_000, 1 << 20, 1<<20 + 1}
	modelParts   = []int{5, 0, 999, 1000, 1001, 65536, 70_000}
)

// machine runs one history.
type machine struct {
	rapid.TB
	outer *testing.T
	g     *testGateway
	alive *life // of g
	store *memUpstream
	kes   *kmstest.Server
	w     *model.World
	seq   int // of bodies
	steps int
	tags  []string // ETags seen, of objects
	ids   []string // of uploads, in order
	safe  map[string]bool
	doom  *crash // of the next operation; nil: none
	shots int    // gateways that were killed
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

// modelHistory runs one history, and returns how many operations it had.
func modelHistory(outer *testing.T, t *rapid.T, kes *kmstest.Server) int {
	m, end := newMachine(outer, t, kes)
	defer end()
	m.store.ahead = drawAhead(t)
	t.Repeat(m.actions())
	m.conclude()
	return m.steps
}

// newMachine returns a machine with empty buckets. The caller ends it.
func newMachine(outer *testing.T, t rapid.TB, kes *kmstest.Server) (*machine, func()) {
	all := &scope{TB: outer}
	m := &machine{
		TB: t, outer: outer, kes: kes, store: newMemUpstream(all), safe: map[string]bool{},
		w: model.New(model.Config{
			DefaultKey: kmstest.DefaultKey, MinPart: smallestPart,
			Keys: map[string]bool{kmstest.DefaultKey: true, otherModelKey: true},
		}, modelBuckets...),
	}
	m.store.ways = m.store.likeS3
	for _, name := range modelBuckets {
		m.store.makeBucket(name)
	}
	m.start()
	return m, func() {
		m.alive.end()
		all.end()
	}
}

// start starts a gateway in place of the one before.
func (m *machine) start() {
	if m.alive != nil {
		m.alive.end()
	}
	m.alive = newLife(m.outer)
	m.g = newGateway(m.alive, withUpstream(m.store), withKES(m.kes), withUpstreamConfig(m.alive.connect), withConfig(func(c *Config) { c.TLSTerminated, c.PresignedV2 = true, true })).withSmallParts()
}

// step has an operation carried out, and compares its answer with the model.
func (m *machine) step(op model.Op) *model.Answer {
	if m.doom != nil && m.crashed(op) {
		return &model.Answer{}
	}
	m.steps++
	m.store.forget()
	a := m.send(op)
	m.Logf("%T%+v: %d %s", op, op, a.Status, a.Code)
	if err := m.w.Step(op, a); err != nil {
		m.Fatalf("%T%+v: %v; %.500s", op, op, err, text(a))
	}
	if a.ETag != "" && !slices.Contains(m.tags, a.ETag) {
		m.tags = append(m.tags, a.ETag)
	}
	return a
}

// text is the document of an error.
func text(a *model.Answer) []byte {
	if a.Status < 400 {
		return nil
	}
	return a.Body
}

// relearn looks at the objects whose ETag the model does not know.
func (m *machine) relearn() {
	for _, n := range m.names() {
		if o := m.w.Object(n); o.ETag == "" {
			m.step(model.Get{Name: n, Head: true})
		}
	}
}

// names returns the names of all objects.
func (m *machine) names() (all []model.Name) {
	for _, bucket := range modelBuckets {
		for _, key := range modelKeys {
			if n := (model.Name{Bucket: bucket, Key: key}); m.w.Object(n) != nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// inspect compares what the store has with the model. It makes no requests.
func (m *machine) inspect() {
	for _, bucket := range modelBuckets {
		for _, key := range modelKeys {
			want, got := m.w.Object(model.Name{Bucket: bucket, Key: key}), m.store.look(bucket, key)
			switch {
			case (want == nil) != (got == nil):
				m.Fatalf("the store has %s/%s: %t", bucket, key, got != nil)
			case want == nil:
			case isSealed(got) != (want.Scheme != model.Plain):
				m.Fatalf("%s/%s is sealed: %t; its scheme is %q", bucket, key, isSealed(got), want.Scheme)
			case isSealed(got):
				m.searchPlaintext(got, want.Body)
			}
		}
	}
}

// searchPlaintext fails if a stored object has a piece of its plaintext.
func (m *machine) searchPlaintext(stored *memObject, body []byte) {
	if len(body) < 40 || m.safe[stored.etag] {
		return
	}
	if strings.Contains(string(stored.body), string(body[:40])) {
		m.Fatalf("the store has plaintext of an object of %d bytes", len(body))
	}
	m.safe[stored.etag] = true
}

// conclude reads everything once more, ends what is under way, and looks for
// remains.
func (m *machine) conclude() {
	m.doom = nil
	for _, n := range m.names() {
		key := m.customerKey(n)
		m.step(model.Get{Name: n, Key: key})
		m.step(model.Get{Name: n, Key: key, Head: true})
		m.step(model.GetTags{Name: n})
	}
	for _, bucket := range modelBuckets {
		m.step(model.List{Bucket: bucket, Max: 1000})
		m.step(model.ListUploads{Bucket: bucket})
	}
	completed := 0
	for _, id := range m.ids {
		u := m.w.Uploads[id]
		if u.Done != nil {
			completed++
		}
		if !u.Ended {
			m.step(model.ListParts{ID: id})
			m.step(model.Abort{ID: id})
		}
	}
	m.deceive()
	if m.shots > 0 {
		completed = 0
		m.sweep()
	}
	eventually(m.alive, "the records of uploads to go", func() bool {
		left := m.g.records()
		return len(left) == completed && !slices.ContainsFunc(left, func(name string) bool { return !strings.HasSuffix(name, "/"+state.DoneRecord) })
	})
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	if len(m.store.uploads) > 0 {
		m.Fatalf("%d uploads are left at the store", len(m.store.uploads))
	}
}

// deceive plays the store that serves one sealed object in place of another, or
// alters it. What is served is right all the same.
func (m *machine) deceive() {
	names := m.names()
	for i, n := range names {
		stored := m.store.object(n.Bucket, n.Key)
		if !isSealed(stored) {
			continue
		}
		refuse := func(what string) {
			for _, head := range []bool{false, true} {
				op := model.Get{Name: n, Key: m.customerKey(n), Head: head}
				if a := m.send(op); a.Status == 200 {
					if err := m.w.Step(op, a); err != nil {
						m.Fatalf("%v is served with %s, HEAD: %t: %v", n, what, head, err)
					}
				}
			}
		}
		if other := names[(i+1)%len(names)]; other != n && isSealed(m.store.object(other.Bucket, other.Key)) && m.customerKey(other) == m.customerKey(n) {
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

// customerKey returns the customer's key that opens an object, or "".
func (m *machine) customerKey(n model.Name) string {
	if o := m.w.Object(n); o != nil && o.Scheme == model.Customer {
		return o.KeyName
	}
	return ""
}

// customerPairs are the headers of a customer's key of that name.
func customerPairs(key string) []string {
	if key == "" {
		return nil
	}
	return customerHeaders(key[0])
}

// askPairs are the headers that ask for a sealing.
func askPairs(s model.Sealing) []string {
	switch s.Scheme {
	case model.Plain:
		return nil
	case model.Customer:
		return customerPairs(s.KeyName)
	}
	pairs := []string{s3.HeaderSSE, string(s.Scheme)}
	if s.KeyName != "" {
		pairs = append(pairs, s3.HeaderSSEKeyID, s.KeyName)
	}
	return pairs
}

// likeS3 completes the in-memory store where it keeps documents as they come:
// tags belong to objects, and DeleteObjects deletes.
func (u *memUpstream) likeS3(w http.ResponseWriter, r *http.Request, next http.Handler) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	switch {
	case q.Has("delete") && key == "":
		u.deleteMany(w, r, next, bucket)
	case q.Has("tagging") && key != "" && u.look(bucket, key) == nil:
		memFail(w, 404, "NoSuchKey", key)
	case q.Has("tagging") && key != "" && r.Method != http.MethodPut:
		u.mu.Lock()
		defer u.mu.Unlock()
		if r.Method == http.MethodDelete {
			delete(u.docs, r.URL.Path+"?tagging")
			u.buckets[bucket][key].header.Del("X-Amz-Tagging-Count")
			w.WriteHeader(http.StatusNoContent)
		} else if doc := u.docs[r.URL.Path+"?tagging"]; doc != nil {
			_, _ = w.Write(doc)
		} else {
			memXML(w, "<Tagging><TagSet></TagSet></Tagging>")
		}
	default:
		next.ServeHTTP(w, r)
		if r.Method == http.MethodDelete && u.look(bucket, key) == nil {
			u.mu.Lock()
			delete(u.docs, r.URL.Path+"?tagging")
			u.mu.Unlock()
		}
	}
}
