package proxy

import (
	"fmt"
	"testing"
	"time"

	"ssegw/proxy/jobs"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// TestJobPace changes the pace of a job that another process runs: more objects
// at one time, and then no limit of objects per second, while all wait for it.
func TestJobPace(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for i := range 20 {
		g.put(fmt.Sprintf("/bucket/%02d", i), pattern(100, 1)).want(t, 200, "")
	}
	runs, other := g.slowEngine(), g.engine()
	j, err := runs.Create(t.Context(), &jobs.Job{Kind: jobs.Encrypt, Bucket: testBucket, Settings: jobs.Settings{Scheme: sealer.SSES3.String(), Parallel: 1}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan *jobs.Job, 1)
	go func() {
		done, err := runs.Run(t.Context(), j.ID, jobs.Waiting, nil)
		if err != nil {
			t.Error(err)
		}
		ended <- done
	}()
	set := func(p jobs.Pace) { // and wait until the process has read it
		t.Helper()
		if err := other.SetPace(t.Context(), j.ID, p); err != nil {
			t.Fatal(err)
		}
		now, err := other.Get(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "another beat of the job", func() bool {
			later, err := other.Get(t.Context(), j.ID)
			return err == nil && later.Beat > now.Beat+1
		})
	}
	<-runs.at
	three, never, always := 3, 1e-6, 0.0
	set(jobs.Pace{Parallel: &three})
	<-runs.at
	<-runs.at // three at one time
	set(jobs.Pace{ObjectsRate: &never})
	close(runs.goOn)
	go func() {
		for range runs.at { //nolint:revive // the rest is not held
		}
	}()
	set(jobs.Pace{}) // the beats go on while the objects wait
	if err := other.SetPace(t.Context(), j.ID, jobs.Pace{ObjectsRate: &always}); err != nil {
		t.Fatal(err)
	}
	if done := <-ended; done.Counts[jobs.ResultSealed].Objects != 20 || done.Settings.Parallel != 3 || done.Settings.ObjectsRate != 0 {
		t.Errorf("%+v", done)
	}
	if err := other.SetPace(t.Context(), j.ID, jobs.Pace{Parallel: &three}); err == nil {
		t.Error("changed the pace of a job that has ended")
	}
}

// TestRekeyAges: a command with ages goes on with its job, and the ages count
// from the first time.
func TestRekeyAges(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(100, 1), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	g.kes.CreateKey("second")
	e := g.engine()
	make := func(f jobs.Filter) *jobs.Job {
		j, err := e.Create(t.Context(), &jobs.Job{Kind: jobs.Rekey, Bucket: testBucket, Settings: jobs.Settings{Key: "second", Filter: f}})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	first := make(jobs.Filter{NewerThan: time.Hour})
	if again := make(jobs.Filter{NewerThan: time.Hour}); again.ID != first.ID {
		t.Errorf("another job %s", again.ID)
	}
	old := make(jobs.Filter{OlderThan: time.Hour})
	for id, want := range map[string]jobs.Result{old.ID: jobs.ResultFiltered, first.ID: jobs.ResultRekeyed} {
		if j, err := e.Run(t.Context(), id, jobs.Waiting, nil); err != nil || j.Counts[want].Objects != 1 {
			t.Errorf("%s: %v, %v", want, j.Counts, err)
		}
	}
}
