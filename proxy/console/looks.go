package console

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/audit"
	"ssegw/proxy/check"
	"ssegw/proxy/s3"
	"ssegw/proxy/task"
)

// lookPages serves the pages that look at one thing: the uses of keys, the
// check, an object.
type lookPages struct{ *Server }

// auditData is what the page of key uses shows.
type auditData struct {
	KESKey, Bucket, User, Result string // filters
	Records                      []audit.Record
	Kept                         int // records in memory
}

func (s lookPages) auditPage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	d := auditData{KESKey: q.Get("key"), Bucket: q.Get("bucket"), User: q.Get("user"), Result: q.Get("result")}
	all := s.Audit.Latest()
	d.Kept = len(all)
	for _, rec := range all {
		if len(d.Records) < maxRows && d.selects(&rec) {
			d.Records = append(d.Records, rec)
		}
	}
	s.show(w, r, http.StatusOK, "audit", &page{Title: "Audit", Data: &d})
}

func (d *auditData) selects(r *audit.Record) bool {
	result := d.Result == "" || d.Result == r.Result || d.Result == "failed" && r.Result != "ok"
	return result && (d.KESKey == "" || d.KESKey == r.KESKey) && (d.Bucket == "" || d.Bucket == r.Bucket) && (d.User == "" || d.User == r.AccessKey)
}

// checks is the last run of the check. One runs at a time.
type checks struct {
	wait     sync.WaitGroup
	mu       sync.Mutex
	stopped  bool
	end      context.CancelFunc // of the run
	running  bool
	began    time.Time
	findings []check.Finding
}

// checkData is what the page of the check shows.
type checkData struct {
	Running  bool
	Began    time.Time
	Findings []check.Finding
	Counts   map[string]int // by status
}

func (s lookPages) checkPage(w http.ResponseWriter, r *http.Request) {
	s.checks.mu.Lock()
	d := checkData{s.checks.running, s.checks.began, slices.Clone(s.checks.findings), map[string]int{}}
	s.checks.mu.Unlock()
	for _, f := range d.Findings {
		d.Counts[string(f.Status)]++
	}
	s.show(w, r, http.StatusOK, "check", &page{Title: "Check", Data: &d})
}

// runCheck runs the check in the background, unless it runs already.
func (s lookPages) runCheck(w http.ResponseWriter, r *http.Request) {
	s.checks.mu.Lock()
	if !s.checks.running && !s.checks.stopped {
		ctx, end := context.WithTimeout(context.WithoutCancel(r.Context()), checkMost)
		s.checks.running, s.checks.began, s.checks.findings, s.checks.end = true, time.Now(), nil, end
		s.checks.wait.Go(func() { s.check(ctx) })
	}
	s.checks.mu.Unlock()
	s.audit(r, change{action: "Check"}, nil)
	redirect(w, r, "check")
}

// checkMost is how long a check may take.
const checkMost = 2 * time.Minute

func (s lookPages) check(ctx context.Context) {
	err := task.Guard(func() error {
		s.Check.Run(ctx, s.checks.add)
		return nil
	})
	if err != nil {
		s.Log.Error("panic", zap.String("running", "check"), zap.Error(err))
		s.checks.add(check.Finding{Name: "the check itself", Status: check.StatusFailed, Detail: "it failed", Remedy: "look into the log"})
	}
	s.checks.mu.Lock()
	defer s.checks.mu.Unlock()
	s.checks.end()
	s.checks.running = false
}

func (c *checks) add(f check.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings = append(c.findings, f)
}

// stop ends a run, and waits for that. No other run begins.
func (c *checks) stop() {
	c.mu.Lock()
	c.stopped = true
	if c.running {
		c.end()
	}
	c.mu.Unlock()
	c.wait.Wait()
}

// objectData is what the page of an object shows.
type objectData struct {
	Bucket, Key, Version string
	Found                *check.Inspection
	Error                string
}

func (s lookPages) objectPage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	d := objectData{Bucket: strings.TrimSpace(q.Get("bucket")), Key: q.Get("key"), Version: strings.TrimSpace(q.Get("version"))}
	status := http.StatusOK
	if d.Bucket != "" || d.Key != "" {
		status = s.inspect(r, &d)
	}
	s.show(w, r, status, "object", &page{Title: "Object", Data: &d})
}

// inspect looks at an object. It returns the status of the answer.
func (s lookPages) inspect(r *http.Request, d *objectData) int {
	if s3.CheckBucket(d.Bucket) != nil || s3.CheckKey(d.Key) != nil || d.Bucket == s.State.Bucket() {
		d.Error = "There is no such bucket, or that cannot be a key of an object."
		return http.StatusBadRequest
	}
	var err error
	if d.Found, err = s.Check.Inspect(r.Context(), d.Bucket, d.Key, d.Version); err != nil {
		d.Found = nil
		var status int
		status, d.Error = explain(err)
		return status
	}
	if h := d.Found.Header; h != nil && h.KESKey != "" { // KES has opened its data key, or refused to
		s.audit(r, change{action: "Inspect", bucket: d.Bucket, key: d.Key, kesKey: h.KESKey, use: "unseal"}, nil)
	}
	return http.StatusOK
}
