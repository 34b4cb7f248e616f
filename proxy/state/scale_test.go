package state

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ssegw/kms/kmstest"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// These tests check the model of docs/PERFORMANCE.md, section "What grows with
// what".

const (
	manyBuckets  = 10_000
	manyReplicas = 100
)

// manyRules returns rules for that many buckets with names of ordinary length.
func manyRules(buckets int) rulesDocument {
	doc := rulesDocument{Revision: uint64(buckets), Buckets: map[string]Rule{}}
	for i := range buckets {
		doc.Buckets[bucketOf(i)] = Rule{
			Algorithm: "aws:kms", KeyID: fmt.Sprintf("department-%03d-key", i%500), BucketKey: true, SealedOnly: true, Set: uint64(i + 1),
		}
	}
	return doc
}

func bucketOf(i int) string { return fmt.Sprintf("department-%03d-project-data-%05d", i%500, i) }

func sealRules(t testing.TB, root sealer.Root, doc rulesDocument) []byte {
	t.Helper()
	plain, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	record, err := sealer.SealRecord(root, RulesObject, plain)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// TestRulesOfManyBuckets checks how large the document of the rules is.
func TestRulesOfManyBuckets(t *testing.T) {
	t.Parallel()
	root := sealer.NewRoot()
	size := len(sealRules(t, root, manyRules(manyBuckets)))
	perBucket := float64(size) / manyBuckets
	t.Logf("%d bytes for %d buckets, %.0f for each; the limit is reached at %.0f buckets", size, manyBuckets, perBucket, MaxRules/perBucket)
	if perBucket < 120 || perBucket > 160 {
		t.Errorf("%.0f bytes for each bucket: docs/PERFORMANCE.md says 140", perBucket)
	}
}

// BenchmarkReadRules opens and parses the document of 10,000 rules, as each
// replica does after a change.
func BenchmarkReadRules(b *testing.B) {
	root := sealer.NewRoot()
	record := sealRules(b, root, manyRules(manyBuckets))
	b.ReportAllocs()
	for b.Loop() {
		plain, err := sealer.OpenRecord(root, RulesObject, record)
		if err != nil {
			b.Fatal(err)
		}
		var doc rulesDocument
		if err := json.Unmarshal(plain, &doc); err != nil {
			b.Fatal(err)
		}
	}
}

type storedObject struct {
	body []byte
	etag string
}

func storedAs(body []byte) storedObject {
	return storedObject{body, `"` + upstream.HexSHA256(body)[:32] + `"`}
}

// stateStore is a store with only the objects that open replicas poll. It
// counts the answers by object and status.
type stateStore struct {
	mu      sync.Mutex
	objects map[string]storedObject
	answers map[string]int
	bytes   int
}

func (s *stateStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	o := s.objects[name]
	w.Header().Set("ETag", o.etag)
	status := http.StatusOK
	switch {
	case o.body == nil:
		status = http.StatusNotFound
	case r.Header.Get("If-None-Match") == o.etag:
		status = http.StatusNotModified
	}
	s.answers[fmt.Sprintf("%s %s %d", r.Method, name, status)]++
	w.WriteHeader(status)
	if status == http.StatusOK {
		n, _ := w.Write(o.body)
		s.bytes += n
	}
}

// take returns what was counted since the last call.
func (s *stateStore) take() (answers map[string]int, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers, bytes = s.answers, s.bytes
	s.answers, s.bytes = map[string]int{}, 0
	return answers, bytes
}

// replicas starts open states in front of s, which follow it until the test
// ends.
func (s *stateStore) replicas(t *testing.T, network *kmstest.Network, root sealer.Root, n int) []*State {
	t.Helper()
	listener, err := network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		following.Wait()
		_ = server.Close()
	})
	var all []*State
	var snapshot *rulesSnapshot // all replicas have read the same
	for range n {
		store := upstream.New(upstream.Config{
			Endpoint: &url.URL{Scheme: "http", Host: listener.Addr().String()}, Region: "us-east-1", Dial: network.Dial,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"}, nil
			}),
		})
		state := New(Config{Bucket: "state", Upstream: store, Log: zap.NewNop()})
		state.roots.add(root)
		if snapshot == nil {
			if snapshot, err = state.rules.fetch(ctx, root, ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, state.roots.etag, err = store.Own().Get(ctx, "state", RootObject, maxRootRecord); err != nil {
			t.Fatal(err)
		}
		state.rules.current.Store(snapshot)
		state.root.Store(&root)
		all = append(all, state)
		following.Go(func() { state.follow(ctx) })
	}
	return all
}

// TestManyReplicas simulates what replicas ask of the store in a minute: while
// nothing changes, while they answer requests, and after a change of a rule.
func TestManyReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		root := sealer.NewRoot()
		doc := manyRules(1000) // how many there are makes no difference to what is asked
		store := &stateStore{answers: map[string]int{}, objects: map[string]storedObject{
			RootObject: storedAs(rootRecord(t, root)), RulesObject: storedAs(sealRules(t, root, doc)),
		}}
		all := store.replicas(t, &kmstest.Network{}, root, manyReplicas)
		store.take()
		minute := func(what string, want map[string]int) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			answers, bytes := store.take()
			t.Logf("%s: %v, %d bytes", what, answers, bytes)
			for answer, n := range want {
				if got := answers[answer]; got < n*9/10 || got > n*11/10 {
					t.Errorf("%s: %d times %s, want about %d", what, got, answer, n)
				}
			}
			if len(answers) != len(want) {
				t.Errorf("%s: %v, want only %v", what, answers, want)
			}
		}
		// Each replica asks for rules and root every two seconds.
		idle := manyReplicas * 30
		minute("idle", map[string]int{"GET rules 304": idle, "GET root 304": idle})

		load := func(bucket string) (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			var clients sync.WaitGroup
			for i, s := range all {
				clients.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					for ctx.Err() == nil {
						if _, _, err := s.Rule(ctx, bucket); err != nil && ctx.Err() == nil {
							t.Error(err)
						}
						time.Sleep(100 * time.Millisecond)
					}
				})
			}
			return func() { cancel(); clients.Wait() }
		}
		stop := load(bucketOf(1))
		minute("requests for sealed buckets", map[string]int{"GET rules 304": idle, "GET root 304": idle})
		stop()
		// An answer in plaintext needs rules of at most a second. So there is
		// one more look between two polls.
		stop = load("plain")
		minute("requests for plain buckets", map[string]int{"GET rules 304": 2 * idle, "GET root 304": idle})
		stop()

		doc.Revision++
		record := storedAs(sealRules(t, root, doc))
		store.mu.Lock()
		store.objects[RulesObject] = record
		store.mu.Unlock()
		minute("a change", map[string]int{"GET rules 200": manyReplicas, "GET rules 304": idle - manyReplicas, "GET root 304": idle})
		for _, s := range all {
			if _, revision, err := s.KnownRules(); revision != doc.Revision || err != nil {
				t.Fatalf("a replica has revision %d, %v", revision, err)
			}
		}
	})
}

// rootRecord returns a record of the root, which no test opens.
func rootRecord(t *testing.T, root sealer.Root) []byte {
	t.Helper()
	record, err := sealer.SealRoot(root, true, "key", []byte("sealed"), sealer.Key{1})
	if err != nil {
		t.Fatal(err)
	}
	return record
}
