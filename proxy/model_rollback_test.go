package proxy

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"ssegw/proxy/model/s3op"

	"ssegw/kms/kmstest"
	"ssegw/proxy/model"
	"ssegw/proxy/state"
)

// TestRollback: the store brings back an older version of each object of the
// state, or loses it. A gateway that runs, and one that is started then, serve
// right content or nothing, and seal what the rule asks to seal. An older
// version of the rules, to a gateway that has seen no newer one, is the
// exception (docs/SECURITY.md).
func TestRollback(t *testing.T) {
	t.Parallel()
	kes := kmstest.NewServer(t, kmstest.WithNetwork(&kmstest.Network{}))
	kes.CreateKey(otherModelKey)
	m, end := newCrashing(t, &quiet{TB: t}, kes)
	defer end()
	versions := m.gw.store.recordVersions(testStateBucket)
	complete := m.liveALittle()
	running := newGateway(t, withUpstream(m.gw.store), withKES(kes), alwaysFresh).withSmallParts()
	restore := m.gw.store.checkpoint()
	done := 0 // Completes
	versions["nothing"] = nil
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		all := versions[name]
		now := m.gw.store.look(testStateBucket, name)
		for i, version := range append([]*memObject{nil}, all...) {
			if now == version && name != "nothing" || now != nil && version != nil && now.etag == version.etag {
				continue
			}
			what := fmt.Sprintf("%s, version %d of %d", name, i, len(all))
			for _, isNew := range []bool{false, true} {
				restore()
				m.gw.store.store(testStateBucket, name, version)
				g := running
				if isNew {
					g = startedAnyway(t, m.gw.store, kes)
				}
				if g == nil {
					t.Logf("%s: a gateway refuses to start", what)
					continue
				}
				m.gw.g = g
				m.World, m.TB = complete.world.Clone(), &quiet{TB: t}
				if m.rightOrNothing(what, complete.op, isNew && name == state.RulesObject) {
					done++
				} else if name == "nothing" {
					t.Error("without any loss, the upload is not completed")
				}
			}
		}
	}
	t.Logf("%d objects of the state, %d Completes", len(versions), done)
}

var alwaysFresh = withTimes(func(times *state.Times) { times.MaxAge, times.Stale = 0, 0 })

// begun is a Complete that a client is about to send.
type begun struct {
	world *model.World
	op    s3op.Complete
}

// liveALittle makes objects, rules, jobs and uploads.
func (m *crashing) liveALittle() begun {
	m.putFirst(70_000, s3op.Sealing{})
	m.rule(askS3)
	m.Step(s3op.PutRule{Bucket: "other", Rule: s3op.Rule{Sealing: askS3}})
	m.Step(s3op.EncryptJob{Bucket: testBucket})
	m.Relearn()
	m.Step(s3op.RekeyJob{Bucket: testBucket, Key: otherModelKey})
	m.Relearn()
	m.Step(m.complete2(askS3))
	m.Step(s3op.Put{Name: crashedOther, Body: m.Body(2000)})
	m.Step(s3op.PutRule{Bucket: testBucket, Rule: s3op.Rule{Sealing: s3op.Sealing{Scheme: s3op.KMS, KeyName: otherModelKey}}})
	op := m.complete2(s3op.Sealing{})
	return begun{m.World, op}
}

// startedAnyway starts a gateway, or returns nil if it refuses to.
func startedAnyway(t *testing.T, store *memUpstream, kes *kmstest.Server) *testGateway {
	g := newGateway(t, withUpstream(store), withKES(kes), alwaysFresh, notOpened()).withSmallParts()
	if err := g.State.Open(t.Context()); err != nil {
		return nil
	}
	return g
}

// rightOrNothing compares what a gateway does with the model. Refusals are
// right, too. If old is true, the gateway may know older rules. It reports whether the
// upload was completed.
func (m *crashing) rightOrNothing(what string, complete s3op.Complete, old bool) bool {
	m.Helper()
	check := func(op s3op.Op) bool {
		a := m.Send(op)
		if a.Status >= 300 || a.Status == 0 {
			return false
		}
		if err := m.World.Step(op, a); err != nil {
			m.Errorf("%s: %T%+v: %v", what, op, op, err)
		}
		return true
	}
	for _, n := range m.Names() {
		check(s3op.Get{Name: n})
		check(s3op.Get{Name: n, Head: true})
	}
	put := s3op.Put{Name: s3op.Name{Bucket: testBucket, Key: "p+q"}, Body: m.Body(1000)}
	a := m.Send(put)
	stored := m.gw.store.look(put.Bucket, put.Key)
	if stored != nil && !isSealed(stored) && !old {
		m.Errorf("%s: a PUT in plaintext: %d", what, a.Status)
	}
	if a = m.Send(complete); a.Status != 200 {
		return false
	}
	if err := m.World.Step(complete, a); err != nil {
		m.Errorf("%s: %T: %v", what, complete, err)
	}
	if n := m.World.Uploads[complete.ID].Name; !check(s3op.Get{Name: n}) || !isSealed(m.gw.store.look(n.Bucket, n.Key)) {
		m.Errorf("%s: the completed object is not served, or not sealed", what)
	}
	return true
}

// clone returns a copy that can be edited. The body never changes.
func (o *memObject) clone() *memObject {
	c := *o
	c.header = o.header.Clone()
	return &c
}

// recordVersions records all versions of the objects of a bucket from now on.
func (u *memUpstream) recordVersions(bucket string) map[string][]*memObject {
	versions := map[string][]*memObject{}
	var mu sync.Mutex
	u.on(http.MethodPut, "/"+bucket+"/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		defer mu.Unlock()
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		_, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if o := u.look(bucket, name); o != nil && answer.Code < 300 && !strings.HasPrefix(name, "probe-") {
			versions[name] = append(versions[name], o)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
	for _, name := range u.keys(bucket) {
		versions[name] = append(versions[name], u.look(bucket, name))
	}
	return versions
}

// checkpoint returns a function that brings back what the store has now.
func (u *memUpstream) checkpoint() (restore func()) {
	copyBuckets := func(from map[string]map[string]*memObject) map[string]map[string]*memObject {
		out := map[string]map[string]*memObject{}
		for name, objects := range from {
			out[name] = map[string]*memObject{}
			for key, o := range objects {
				out[name][key] = o.clone()
			}
		}
		return out
	}
	copyUploads := func(from map[string]*memUpload) map[string]*memUpload {
		out := map[string]*memUpload{}
		for id, up := range from {
			c := *up
			c.parts = maps.Clone(up.parts)
			out[id] = &c
		}
		return out
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	buckets, uploads, docs := copyBuckets(u.buckets), copyUploads(u.uploads), maps.Clone(u.docs)
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.buckets, u.uploads, u.docs = copyBuckets(buckets), copyUploads(uploads), maps.Clone(docs)
	}
}
