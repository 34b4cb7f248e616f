package jobs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Config holds what an Engine needs. All fields except Times are required.
type Config struct {
	State    *state.State
	Upstream *upstream.Store
	KMS      *kms.Client
	Objects  Objects
	Log      *zap.Logger
	Times    Times // the zero value means DefaultTimes
}

// Objects is what the gateway does with single objects, with its own rights at
// the store.
type Objects struct {
	// Rewrite seals the object of an entry of a listing of the bucket in its
	// place, as choose says. It returns the plaintext size in bytes. The error
	// is that of choose, object.ErrChanged if the object keeps changing, or
	// another one. Without conditional writes it does nothing unless
	// unconditional is true. pace, unless nil, wraps a body that passes the
	// gateway.
	Rewrite func(ctx context.Context, bucket string, listed *s3.Entry, kind Kind, choose Choose, unconditional bool, pace func(io.Reader) io.Reader) (int64, error)
	// Access reads objects.
	Access func() *object.Access
	// Rule returns how the bucket's objects are sealed by default; nil: they
	// are not.
	Rule func(ctx context.Context, bucket string) (*sse.Sealing, error)
}

// Times are the intervals of an engine.
type Times struct {
	Beat  time.Duration // between two writes of a running job
	Lapse time.Duration // a job that was not written for so long has lost its process
	Poll  time.Duration // between two looks for such jobs
	Retry time.Duration // the first pause after a failure of the store or KES; each further one is twice as long
}

// DefaultTimes lets another process take over within 30 seconds.
var DefaultTimes = Times{Beat: 5 * time.Second, Lapse: 16 * time.Second, Poll: 4 * time.Second, Retry: time.Second}

// Engine starts, runs and controls jobs. It is safe for concurrent use.
type Engine struct {
	Config
	id    string      // of this process
	begun chan string // IDs for Serve
	pages object.MetadataPages
	past  past[Job] // those that have ended
	seen  sync.Map  // sighting of each document, by name
	runs  sync.Map  // IDs of the jobs that this process runs
}

// New returns an engine. It makes no request.
func New(cfg Config) *Engine {
	if cfg.Times == (Times{}) {
		cfg.Times = DefaultTimes
	}
	return &Engine{Config: cfg, id: upstream.RandomTag(), begun: make(chan string, maxServed)}
}

var (
	// ErrBusy is returned if another process runs a job.
	ErrBusy = errors.New("jobs: another process runs the job")
	// ErrNoJob is returned if there is no job of that ID.
	ErrNoJob = errors.New("jobs: there is no such job")
	// errDocument is returned for a document that this version cannot read.
	errDocument = errors.New("jobs: unreadable document")
	// ErrEnded is returned for a change of a job that has ended.
	ErrEnded = errors.New("jobs: the job has ended")
)

// Create stores a new job, of which the caller has set kind, scope and
// settings. Run runs it in this process. An equal job that has not ended is
// returned in its place, so that a command that is given twice goes on with
// what it began.
func (e *Engine) Create(ctx context.Context, j *Job) (*Job, error) {
	if err := e.check(j); err != nil {
		return nil, err
	}
	all, err := e.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		if other.isSame(j) {
			return other, e.adjust(ctx, other, &j.Settings)
		}
	}
	e.prune(ctx, all)
	now := time.Now().UTC()
	j.ID = fmt.Sprintf("%s-%s-%s", j.Kind, now.Format("20060102-150405"), upstream.RandomTag()[:8])
	j.Status, j.Created = Waiting, now
	d := &state.Document{Name: name(j.ID)}
	return j, e.write(ctx, d, j)
}

// check refuses a job that cannot run, or must not.
func (e *Engine) check(j *Job) error {
	if err := j.check(); err != nil {
		return err
	}
	if j.Bucket == e.State.Bucket() {
		return fmt.Errorf("%w: %s is the gateway's own bucket", ErrInvalid, j.Bucket)
	}
	if (j.Kind == Encrypt || j.Kind == Rekey) && !j.Settings.Unconditional && !j.Settings.DryRun && !e.Upstream.Capabilities().Put.Honoured() {
		return ErrUnconditional
	}
	return nil
}

// isSame reports whether j goes on with a job that has not ended. An inventory
// is always a new one: its answer is about one time.
func (j *Job) isSame(next *Job) bool {
	return !j.Status.Ended() && j.Kind != Inventory && j.Kind == next.Kind && j.Bucket == next.Bucket && j.Prefix == next.Prefix &&
		sameWork(&j.Settings, &next.Settings)
}

// adjust gives a job that no process runs the rates of other settings.
func (e *Engine) adjust(ctx context.Context, j *Job, s *Settings) error {
	if j.Worker != "" {
		return nil
	}
	return e.change(ctx, j.ID, func(stored *Job) error {
		stored.Settings.takePace(s)
		return nil
	})
}

// SetPace changes how fast a job may be. A process that runs the job follows
// within Times.Beat.
func (e *Engine) SetPace(ctx context.Context, id string, p Pace) error {
	return e.change(ctx, id, func(j *Job) error {
		if j.Status.Ended() {
			return fmt.Errorf("%w: %s is %s", ErrEnded, id, j.Status)
		}
		p.apply(&j.Settings)
		return j.check()
	})
}

// sameWork reports whether two settings ask for the same. How fast, and how
// many at one time, may differ.
func sameWork(a, b *Settings) bool {
	x, y := *a, *b
	x.takePace(&y)
	p, err := json.Marshal(x)
	q, err2 := json.Marshal(y)
	return err == nil && err2 == nil && bytes.Equal(p, q)
}

// Bounds of jobs that have ended.
const (
	keptJobs = 100                 // at least
	keptTime = 90 * 24 * time.Hour // at least
)

// prune removes old documents. A failure leaves them.
func (e *Engine) prune(ctx context.Context, all []*Job) {
	slices.SortFunc(all, func(a, b *Job) int { return b.Created.Compare(a.Created) })
	for i, j := range all {
		if i >= keptJobs && j.Status.Ended() && time.Since(j.Ended) > keptTime {
			_ = e.State.Documents().Remove(ctx, name(j.ID))
		}
	}
}

// write stores a job as the next state of d.
func (e *Engine) write(ctx context.Context, d *state.Document, j *Job) error {
	if err := j.encodeNext(d); err != nil {
		return err
	}
	return e.State.Documents().Write(ctx, d)
}

// read reads a job and its document.
func (e *Engine) read(ctx context.Context, id string) (*state.Document, *Job, error) {
	d, err := e.State.Documents().Read(ctx, name(id), maxDocument)
	if errors.Is(err, state.ErrNoDocument) {
		return nil, nil, fmt.Errorf("%w: %s", ErrNoJob, id)
	}
	if err != nil {
		return nil, nil, err
	}
	j, err := decode(d.Plain)
	return d, j, err
}

// Get returns a job.
func (e *Engine) Get(ctx context.Context, id string) (*Job, error) {
	_, j, err := e.read(ctx, id)
	return j, err
}

// List returns all jobs, the newest first.
func (e *Engine) List(ctx context.Context) ([]*Job, error) {
	found, err := e.State.Documents().List(ctx, Prefix)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards read
	var all, read []*Job
	g, ctx := task.NewGroup(ctx, DefaultParallel)
	for full, etag := range found {
		if j, ok := e.past.find(full, etag); ok {
			all = append(all, &j)
			continue
		}
		g.Go(func() error {
			d, j, err := e.read(ctx, full[len(Prefix):])
			if errors.Is(err, ErrNoJob) {
				return nil // removed meanwhile
			}
			if errors.Is(err, errDocument) || errors.Is(err, state.ErrRecord) {
				e.Log.Error("job not read", zap.String("job", full[len(Prefix):]), zap.Error(err))
				return nil // of a later version, for example
			}
			if err != nil {
				return err
			}
			if j.Status.Ended() {
				e.past.keep(full, d.ETag, len(d.Plain), *j)
			}
			mu.Lock()
			defer mu.Unlock()
			read = append(read, j)
			return nil
		})
	}
	err = g.Wait()
	all = append(all, read...)
	e.past.forgetExcept(found)
	slices.SortFunc(all, func(a, b *Job) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return all, err
}

// Pause asks for a job to stop until Resume. The process that runs it stops
// within Times.Beat.
func (e *Engine) Pause(ctx context.Context, id string) error { return e.ask(ctx, id, Paused) }

// Cancel asks for a job to end. The process that runs it stops within
// Times.Beat. What it has done stays.
func (e *Engine) Cancel(ctx context.Context, id string) error { return e.ask(ctx, id, Cancelled) }

// ask asks for a status. A job that no process runs gets it at once.
func (e *Engine) ask(ctx context.Context, id string, wanted Status) error {
	return e.change(ctx, id, func(j *Job) error {
		if j.Status.Ended() {
			return fmt.Errorf("%w: %s is %s", ErrEnded, id, j.Status)
		}
		if j.Worker != "" {
			j.Wanted = wanted
			return nil
		}
		j.end(wanted)
		return nil
	})
}

// Resume lets a paused job run again.
func (e *Engine) Resume(ctx context.Context, id string) error {
	return e.change(ctx, id, func(j *Job) error {
		switch {
		case j.Status.Ended():
			return fmt.Errorf("%w: %s is %s", ErrEnded, id, j.Status)
		case j.Status == Paused:
			j.Status = Waiting
		}
		j.Wanted = ""
		return nil
	})
}

// change changes a stored job.
func (e *Engine) change(ctx context.Context, id string, edit func(*Job) error) error {
	for {
		d, j, err := e.read(ctx, id)
		if err != nil {
			return err
		}
		if err := edit(j); err != nil {
			return err
		}
		if err := e.write(ctx, d, j); !errors.Is(err, state.ErrOvertaken) {
			return err
		}
		if !task.Pause(ctx, 10*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// end gives the job a status in which no process runs it.
func (j *Job) end(s Status) {
	j.Status, j.Wanted, j.Worker = s, "", ""
	if s.Ended() {
		j.Ended = time.Now().UTC()
	}
}

// strict decodes a JSON document that has no other members than v.
func strict(plain []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// object returns the name of the object of an entry.
func (j *Job) object(e *s3.Entry) sealer.Binding {
	return sealer.Binding{Bucket: j.Bucket, Key: e.Key}
}
