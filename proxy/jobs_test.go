package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
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
		State: g.State, Upstream: g.Config.Upstream, KMS: g.KMS, Log: g.Log,
		Objects: jobs.Objects{
			Rewrite: func(ctx context.Context, name sealer.Binding, kind jobs.Kind, choose jobs.Choose, unconditional bool, pace func(io.Reader) io.Reader) (int64, error) {
				return g.Rewrite(ctx, &Rewrite{Action: s3.Action(kind), Object: name, Choose: choose, Unconditional: unconditional, Pace: pace})
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
	store := g.Config.Upstream.Own()
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
