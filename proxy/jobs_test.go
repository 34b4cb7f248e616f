package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/jobs"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// engine returns an engine of jobs on the gateway, as one process has it.
func (g *testGateway) engine() *jobs.Engine {
	return jobs.New(jobs.Config{
		State: g.State, Upstream: g.Upstream, KMS: g.KMS, Log: g.Log,
		Objects: jobs.Objects{
			Rewrite: func(ctx context.Context, bucket string, listed *s3.Entry, kind jobs.Kind, choose jobs.Choose, unconditional bool, pace func(io.Reader) io.Reader) (int64, error) {
				return g.Rewrite(ctx, &Rewrite{Action: s3.Action(kind), Object: sealer.Binding{Bucket: bucket, Key: listed.Key}, Listed: listed, Choose: choose, Unconditional: unconditional, Pace: pace})
			},
			Access: g.OwnAccess, Rule: g.DefaultSealing,
		},
		Times: jobs.Times{Beat: 10 * time.Millisecond, Lapse: giveUp, Poll: 10 * time.Millisecond, Retry: time.Millisecond},
	})
}

// runJob creates a job and runs it to its end.
func (g *testGateway) runJob(j *jobs.Job) *jobs.Job {
	g.t.Helper()
	e := g.engine()
	j, err := e.Create(g.t.Context(), j)
	if err != nil {
		g.t.Fatal(err)
	}
	done, err := e.Run(g.t.Context(), j.ID, jobs.Waiting, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	stored, err := e.Get(g.t.Context(), j.ID)
	if err != nil || stored.Status != done.Status {
		g.t.Fatalf("stored as %+v, %v", stored, err)
	}
	return stored
}

// counted returns how many objects a job counted, by result.
func counted(j *jobs.Job) map[jobs.Result]int64 {
	n := map[jobs.Result]int64{}
	for r, t := range j.Counts {
		n[r] = t.Objects
	}
	return n
}

func TestEncryptJob(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	plain := map[string][]byte{}
	for i, size := range []int{0, 1, 65536, 65537, 1 << 20, 3 << 20} {
		key := fmt.Sprintf("plain/%d", i)
		plain[key] = pattern(size, uint64(i))
		g.put("/bucket/"+key, plain[key], "X-Amz-Meta-A", "1", "Cache-Control", "no-cache", "X-Amz-Tagging", "a=1&b=2", "X-Amz-Storage-Class", "COLD").want(t, 200, "")
	}
	parts := pattern(11<<20, 9)
	g.putPlainParts("parts", parts, 5<<20)
	plain["parts"] = parts
	g.put("/bucket/sealed", pattern(10, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	rule := state.Rule{Algorithm: s3.AWSKMS, KeyID: kmstest.DefaultKey}
	if err := setRule(t.Context(), g.State, testBucket, &rule); err != nil {
		t.Fatal(err)
	}

	dry := g.runJob(&jobs.Job{Kind: jobs.Encrypt, Bucket: testBucket, Settings: jobs.Settings{DryRun: true}})
	want := map[jobs.Result]int64{jobs.ResultWould: 7, jobs.ResultAlready: 1}
	if diff := cmp.Diff(want, counted(dry)); diff != "" || dry.Status != jobs.Finished {
		t.Fatalf("dry run %s %s (-want +got):\n%s", dry.Status, dry.Error, diff)
	}
	j := g.runJob(&jobs.Job{Kind: jobs.Encrypt, Bucket: testBucket})
	want = map[jobs.Result]int64{jobs.ResultSealed: 7, jobs.ResultAlready: 1}
	if diff := cmp.Diff(want, counted(j)); diff != "" || j.Status != jobs.Finished {
		t.Fatalf("%s %s %v (-want +got):\n%s", j.Status, j.Error, j.Named, diff)
	}
	for key, body := range plain {
		if len(body) > 0 {
			wantObject(t, g, "/bucket/"+key, body, 5)
		}
		h := g.head("/bucket/" + key).header
		if h.Get(s3.HeaderSSE) != s3.AWSKMS {
			t.Errorf("%s: %v", key, h)
		}
		if key != "parts" && (h.Get("X-Amz-Meta-A") != "1" || h.Get("Cache-Control") != "no-cache" || h.Get("X-Amz-Tagging-Count") != "2" || h.Get("X-Amz-Storage-Class") != "COLD") {
			t.Errorf("%s: %v", key, h)
		}
	}
	if rule, _, _ := g.State.Rule(t.Context(), testBucket); !rule.SealedOnly {
		t.Error("the bucket is not sealed-only")
	}

	j = g.runJob(&jobs.Job{Kind: jobs.Verify, Bucket: testBucket})
	if diff := cmp.Diff(map[jobs.Result]int64{jobs.ResultVerified: 8}, counted(j)); diff != "" || j.Status != jobs.Finished {
		t.Errorf("verify %s %v (-want +got):\n%s", j.Status, j.Named, diff)
	}
	g.kes.CreateKey("second")
	j = g.runJob(&jobs.Job{Kind: jobs.Rekey, Bucket: testBucket, Settings: jobs.Settings{Key: "second", Filter: jobs.Filter{Key: kmstest.DefaultKey}}})
	if diff := cmp.Diff(map[jobs.Result]int64{jobs.ResultRekeyed: 8}, counted(j)); diff != "" || j.Status != jobs.Finished {
		t.Errorf("rekey %s %s %v (-want +got):\n%s", j.Status, j.Error, j.Named, diff)
	}
	j = g.runJob(&jobs.Job{Kind: jobs.Inventory})
	needs, err := g.engine().NeedsOf(t.Context(), j, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range needs {
		t.Log(n)
	}
	if len(j.Uses) != 2 || j.Uses[0].Key != "second" || j.Uses[0].Objects+j.Uses[1].Objects != 8 {
		t.Errorf("%+v", j.Uses)
	}
}

// putPlainParts uploads an object in plaintext, in parts, straight to the store.
func (g *testGateway) putPlainParts(key string, body []byte, partSize int) {
	g.t.Helper()
	store := g.Upstream.Own()
	u, err := store.BeginUpload(g.t.Context(), testBucket, key, http.Header{})
	if err != nil {
		g.t.Fatal(err)
	}
	var parts []upstream.SentPart
	for chunk := range slices.Chunk(body, partSize) {
		number := len(parts) + 1
		o := upstream.Request{Method: http.MethodPut, Bucket: testBucket, Key: key, Query: u.Query(number), Header: http.Header{}}
		o.SetDocument(chunk)
		h, err := store.Exec(g.t.Context(), o)
		if err != nil {
			g.t.Fatal(err)
		}
		parts = append(parts, upstream.SentPart{Number: number, Etag: strings.Trim(h.Get("ETag"), `"`)})
	}
	if _, _, err := store.CompleteUpload(g.t.Context(), u.UploadName, parts, http.Header{}); err != nil {
		g.t.Fatal(err)
	}
}

// slowEngine is an engine whose process a test can hold at an object, and kill.
type slowEngine struct {
	*jobs.Engine
	at   chan string   // the key of an object that is about to be rewritten
	goOn chan struct{} // lets it go on
}

func (g *testGateway) slowEngine() *slowEngine {
	s := &slowEngine{Engine: g.engine(), at: make(chan string), goOn: make(chan struct{})}
	rewrite := s.Objects.Rewrite
	s.Objects.Rewrite = func(ctx context.Context, bucket string, listed *s3.Entry, kind jobs.Kind, choose jobs.Choose, unconditional bool, pace func(io.Reader) io.Reader) (int64, error) {
		select {
		case s.at <- listed.Key:
			<-s.goOn
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		return rewrite(ctx, bucket, listed, kind, choose, unconditional, pace)
	}
	return s
}

// encryptSlowly begins to encrypt n objects, one at a time, with an engine that
// the test holds at each. ended gets the job as the engine left it.
func (g *testGateway) encryptSlowly(n int, scheme sealer.Scheme) (e *slowEngine, j *jobs.Job, ended <-chan *jobs.Job) {
	g.t.Helper()
	for i := range n {
		g.put(fmt.Sprintf("/bucket/%02d", i), pattern(100, 1)).want(g.t, 200, "")
	}
	e = g.slowEngine()
	j, err := e.Create(g.t.Context(), &jobs.Job{Kind: jobs.Encrypt, Bucket: testBucket, Settings: jobs.Settings{Scheme: scheme.String(), Parallel: 1}})
	if err != nil {
		g.t.Fatal(err)
	}
	left := make(chan *jobs.Job, 1)
	go func() {
		j, err := e.Run(g.t.Context(), j.ID, jobs.Waiting, nil)
		if err != nil {
			g.t.Error(err)
		}
		left <- j
	}()
	return e, j, left
}

// TestJobTakeover holds a process in the middle of a job. Another one takes the
// job over. The first one, when it wakes up, finds that out and writes nothing
// into the job.
func TestJobTakeover(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for i := range 20 {
		g.put(fmt.Sprintf("/bucket/%02d", i), pattern(100, 1)).want(t, 200, "")
	}
	first, second := g.slowEngine(), g.engine()
	j, err := first.Create(t.Context(), &jobs.Job{Kind: jobs.Encrypt, Bucket: testBucket, Settings: jobs.Settings{Scheme: sealer.SSES3.String(), Parallel: 1}})
	if err != nil {
		t.Fatal(err)
	}
	// The first process is asleep: it writes no beat.
	first.Times.Beat = giveUp
	ended := make(chan error, 1)
	go func() {
		_, err := first.Run(t.Context(), j.ID, jobs.Waiting, nil)
		ended <- err
	}()
	for range 3 {
		<-first.at
		first.goOn <- struct{}{}
	}
	<-first.at

	same, err := second.Create(t.Context(), &jobs.Job{Kind: jobs.Encrypt, Bucket: testBucket, Settings: jobs.Settings{Scheme: sealer.SSES3.String(), Parallel: 7}})
	if err != nil || same.ID != j.ID {
		t.Fatalf("another job %v for the same work: %v", same, err)
	}
	if _, err := second.Run(t.Context(), j.ID, jobs.Waiting, nil); !errors.Is(err, jobs.ErrBusy) {
		t.Fatalf("ran a job that another process runs: %v", err)
	}
	second.Times.Lapse = 0
	done, err := second.Run(t.Context(), j.ID, jobs.Waiting, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[jobs.Result]int64{jobs.ResultSealed: 17, jobs.ResultAlready: 3}
	if diff := cmp.Diff(want, counted(done)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	close(first.goOn)
	go func() {
		for range first.at { //nolint:revive // the first process goes on until its page ends
		}
	}()
	if err := <-ended; !errors.Is(err, jobs.ErrBusy) {
		t.Errorf("the first process ended with %v", err)
	}
	stored, err := second.Get(t.Context(), j.ID)
	if err != nil || stored.Status != jobs.Finished || stored.Beat != done.Beat {
		t.Errorf("the first process changed the job: %+v, %v", stored, err)
	}
	for i := range 20 {
		if h := g.head(fmt.Sprintf("/bucket/%02d", i)).header; h.Get(s3.HeaderSSE) != s3.AES256 {
			t.Errorf("%d: %v", i, h)
		}
	}
}

// TestServeTakesOver lets the gateways' loop find a job whose process is lost.
// Jobs that are paused or have ended are left alone.
func TestServeTakesOver(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(100, 1)).want(t, 200, "")
	e := g.engine()
	make := func(prefix string) *jobs.Job {
		j, err := e.Create(t.Context(), &jobs.Job{Kind: jobs.Verify, Bucket: testBucket, Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	lost, paused, cancelled := make(""), make("a"), make("b")
	if err := errors.Join(e.Pause(t.Context(), paused.ID), e.Cancel(t.Context(), cancelled.ID)); err != nil {
		t.Fatal(err)
	}
	server := g.engine()
	server.Times.Lapse = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	served := sync.WaitGroup{}
	served.Go(func() { server.Serve(ctx) })
	eventually(t, "the job to be finished", func() bool {
		j, err := e.Get(t.Context(), lost.ID)
		return err == nil && j.Status == jobs.Finished
	})
	if err := e.Resume(t.Context(), paused.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the paused job to be finished", func() bool {
		j, err := e.Get(t.Context(), paused.ID)
		return err == nil && j.Status == jobs.Finished
	})
	cancel()
	served.Wait()
	if j, err := e.Get(t.Context(), cancelled.ID); err != nil || j.Status != jobs.Cancelled {
		t.Errorf("%+v, %v", j, err)
	}
	if err := e.Resume(t.Context(), cancelled.ID); !errors.Is(err, jobs.ErrEnded) {
		t.Errorf("resumed a cancelled job: %v", err)
	}
}

// TestJobIsAskedToStop pauses and cancels a job that another process runs.
func TestJobIsAskedToStop(t *testing.T) {
	t.Parallel()
	for _, wanted := range []jobs.Status{jobs.Paused, jobs.Cancelled} {
		t.Run(string(wanted), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			e, j, ended := g.encryptSlowly(5, sealer.SSES3)
			<-e.at
			other := g.engine()
			ask := other.Pause
			if wanted == jobs.Cancelled {
				ask = other.Cancel
			}
			if err := ask(t.Context(), j.ID); err != nil {
				t.Fatal(err)
			}
			e.goOn <- struct{}{}
			stopped := <-ended
			stored, err := other.Get(t.Context(), j.ID)
			if err != nil || stopped.Status != wanted || stored.Status != wanted || stored.Worker != "" || stored.Wanted != "" {
				t.Fatalf("%+v, stored as %+v, %v", stopped, stored, err)
			}
			if wanted == jobs.Cancelled {
				return
			}
			done, err := other.Run(t.Context(), j.ID, jobs.Waiting, nil)
			if err != nil || done.Status != jobs.Finished || done.Total().Objects != 5 {
				t.Errorf("%+v, %v", done, err)
			}
		})
	}
}

// TestJobWaitsForKES stops KES in the middle of a job. The job goes on when KES
// is back, and nothing has failed.
func TestJobWaitsForKES(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	e, _, ended := g.encryptSlowly(10, sealer.SSEKMS)
	key := <-e.at
	g.kes.Stop()
	e.goOn <- struct{}{}
	for range 10 {
		if again := <-e.at; again != key {
			t.Fatalf("went on with %s after %s failed", again, key)
		}
		e.goOn <- struct{}{}
	}
	if again := <-e.at; again != key {
		t.Fatalf("went on with %s", again)
	}
	g.kes.Start()
	close(e.goOn)
	go func() {
		for range e.at { //nolint:revive // nothing is held any more
		}
	}()
	done := <-ended
	if diff := cmp.Diff(map[jobs.Result]int64{jobs.ResultSealed: 10}, counted(done)); diff != "" {
		t.Errorf("%v (-want +got):\n%s", done.Named, diff)
	}
}

// TestEncryptLosesNothing lets a client write or delete each object while the
// job is at it. The client's state stays.
func TestEncryptLosesNothing(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 100, 3 << 20} {
		for _, what := range []string{"write", "delete"} {
			t.Run(fmt.Sprint(what, size), func(t *testing.T) {
				t.Parallel()
				g := newGateway(t)
				g.put("/bucket/k", pattern(size, 1)).want(t, 200, "")
				var happened atomic.Bool
				g.upstream.on(http.MethodPut, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					switch {
					case !happened.CompareAndSwap(false, true):
					case what == "delete":
						g.delete("/bucket/k").want(t, 204, "")
					default:
						g.put("/bucket/k", pattern(50, 2), "X-Amz-Meta-By", "client").want(t, 200, "")
					}
					next.ServeHTTP(w, r)
				})
				j := g.runJob(&jobs.Job{Kind: jobs.Encrypt, Bucket: testBucket, Settings: jobs.Settings{Scheme: sealer.SSES3.String()}})
				if j.Status != jobs.Finished || j.Incomplete() != 0 {
					t.Errorf("%+v", j)
				}
				r := g.get("/bucket/k")
				if what == "delete" {
					r.want(t, 404, "NoSuchKey")
					return
				}
				r.want(t, 200, "")
				if !bytes.Equal(r.body, pattern(50, 2)) || r.header.Get("X-Amz-Meta-By") != "client" || r.header.Get(s3.HeaderSSE) != s3.AES256 {
					t.Errorf("%d bytes, %v", len(r.body), r.header)
				}
			})
		}
	}
}

// TestJobsSpareTheState: no job touches the gateway's own bucket.
func TestJobsSpareTheState(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, kind := range []jobs.Kind{jobs.Encrypt, jobs.Rekey, jobs.Verify, jobs.Inventory} {
		j := &jobs.Job{Kind: kind, Bucket: testStateBucket, Settings: jobs.Settings{Scheme: jobs.SchemeS3}}
		if _, err := g.engine().Create(t.Context(), j); !errors.Is(err, jobs.ErrInvalid) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	_, err := g.Rewrite(t.Context(), &Rewrite{Object: sealer.Binding{Bucket: testStateBucket, Key: state.RootObject}})
	if !errors.Is(err, s3.ErrAccessDenied) {
		t.Errorf("rewrites the root: %v", err)
	}
}

// TestJobsLeaveCustomerKeys: objects under SSE-C are left and counted.
func TestJobsLeaveCustomerKeys(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withTLS())
	g.put("/bucket/c", pattern(100, 1), customerHeaders(7)...).want(t, 200, "")
	g.put("/bucket/s", pattern(100, 1), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	g.kes.CreateKey("second")
	for kind, want := range map[jobs.Kind]map[jobs.Result]int64{
		jobs.Rekey:   {jobs.ResultCustomer: 1, jobs.ResultRekeyed: 1},
		jobs.Encrypt: {jobs.ResultAlready: 2},
		jobs.Verify:  {jobs.ResultCustomer: 1, jobs.ResultVerified: 1},
	} {
		set := jobs.Settings{}
		if kind != jobs.Verify {
			set = jobs.Settings{Scheme: jobs.SchemeKMS, Key: "second"}
		}
		j := g.runJob(&jobs.Job{Kind: kind, Bucket: testBucket, Settings: set})
		if diff := cmp.Diff(want, counted(j)); diff != "" {
			t.Errorf("%s %v (-want +got):\n%s", kind, j.Named, diff)
		}
	}
}

// TestVerifyFindsWhatIsLost: objects that the store lists and does not have, and
// headers that it has changed, are failures even if the gateway only warns of
// them.
func TestVerifyFindsWhatIsLost(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withConfig(func(c *Config) { c.WarnHeaderDigest = true }))
	for _, key := range []string{"lost", "changed", "whole"} {
		g.put("/bucket/"+key, pattern(100, 1), s3.HeaderSSE, s3.AWSKMS, "X-Amz-Meta-A", "1").want(t, 200, "")
	}
	g.upstream.edit(testBucket, "changed", func(o *memObject) { o.header.Set("X-Amz-Meta-A", "2") })
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		g.upstream.on(method, "/bucket/lost", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { memFail(w, 404, "NoSuchKey", "lost") })
	}
	j := g.runJob(&jobs.Job{Kind: jobs.Verify, Bucket: testBucket})
	if diff := cmp.Diff(map[jobs.Result]int64{jobs.ResultFailed: 2, jobs.ResultVerified: 1}, counted(j)); diff != "" {
		t.Errorf("%v (-want +got):\n%s", j.Named, diff)
	}
}

// TestInventoryOfUnreadable: the key that an unreadable object names is still
// needed, and an object that could not be looked at may need any key.
func TestInventoryOfUnreadable(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.kes.CreateKey("second")
	g.put("/bucket/k", pattern(100, 1), s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "second").want(t, 200, "")
	e := g.engine()
	needs := func(key string) *jobs.Needs {
		t.Helper()
		list, err := e.NeedsOf(t.Context(), g.runJob(&jobs.Job{Kind: jobs.Inventory}), key)
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		return list[0]
	}
	if n := needs("second"); n.Objects != 1 || needs("third").Nothing() != true {
		t.Errorf("%v", n)
	}
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = o.body[:50] })
	if n := needs("second"); n.Objects != 1 || n.Nothing() {
		t.Errorf("unreadable: %v", n)
	}
	if n := needs("third"); n.Nothing() || n.Unknown != 1 {
		t.Errorf("another key: %v", n)
	}
}

// TestJobsReadWholeListings: a page without entries, and with more after it, is
// a failure of the store, and not the end.
func TestJobsReadWholeListings(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(100, 1), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	var empty atomic.Int32
	g.upstream.rewriteListings(func(query url.Values, page string) string {
		if query.Get("max-keys") != "500" || empty.Add(1) > 3 {
			return page
		}
		return "<ListBucketResult><Name>bucket</Name><IsTruncated>true</IsTruncated></ListBucketResult>"
	})
	j := g.runJob(&jobs.Job{Kind: jobs.Verify, Bucket: testBucket})
	if diff := cmp.Diff(map[jobs.Result]int64{jobs.ResultVerified: 1}, counted(j)); diff != "" || j.Status != jobs.Finished {
		t.Errorf("%s %s (-want +got):\n%s", j.Status, j.Error, diff)
	}
}

// TestListOfPastJobs checks that a list reads no document of a job that has
// ended twice, and sees what changes.
func TestListOfPastJobs(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	first := g.runJob(&jobs.Job{Kind: jobs.Verify, Bucket: testBucket})
	e := g.engine()
	list := func(want ...string) (reads int) {
		t.Helper()
		g.upstream.forget()
		all, err := e.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, j := range all {
			got = append(got, string(j.Status)+" "+j.ID)
			j.Status = "changed by the caller"
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		for _, r := range g.upstream.requests("/" + testStateBucket + "/" + jobs.Prefix) {
			if r.Method == http.MethodGet {
				reads++
			}
		}
		return reads
	}
	done := "finished " + first.ID
	if n := list(done); n != 1 {
		t.Errorf("the first list reads %d documents", n)
	}
	if n := list(done); n != 0 {
		t.Errorf("the second list reads %d documents", n)
	}
	next, err := e.Create(t.Context(), &jobs.Job{Kind: jobs.Inventory, Bucket: testBucket})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a job that has not ended can change
		if n := list(done, "waiting "+next.ID); n != 1 {
			t.Errorf("a list with a new job reads %d documents", n)
		}
	}
	if err := e.Cancel(t.Context(), next.ID); err != nil {
		t.Fatal(err)
	}
	list(done, "cancelled "+next.ID)
}
