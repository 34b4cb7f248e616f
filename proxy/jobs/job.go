// Package jobs works through the objects of a bucket: it seals those that are
// not sealed, seals them under other keys, verifies and counts them.
//
// A job is a sealed document in the state bucket. It names what to do, and how
// far the job is. Any process with the gateway's settings can run it: a lease,
// kept by conditional writes, lets one at a time do so, and another one takes
// over when the first stops renewing it. Every step can be repeated, so a job
// that changes hands goes on after its last finished page.
//
// Invariants:
//
//   - A write replaces only the state of the object that was read
//     (Config.Rewrite). A client's write or delete that comes in between wins.
//   - Each object of the scope is counted under one result. What failed or was
//     left out is named, up to a limit, and counted in any case.
//   - Counts and position are written together. So what a lost process had done
//     since is counted by its successor, as done already.
//
// docs/ARCHITECTURE.md is the map; docs/FORMAT.md, section 14.4, has the
// document.
package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// Kind is what a job does.
type Kind string

const (
	Encrypt   Kind = "encrypt"   // seal objects in plaintext
	Rekey     Kind = "rekey"     // seal data keys under another KES key
	Verify    Kind = "verify"    // authenticate objects
	Inventory Kind = "inventory" // count objects by KES key
)

// Status is how far a job is.
type Status string

const (
	Waiting   Status = "waiting"   // no process runs it; any may
	Running   Status = "running"   // a process runs it, or was lost
	Paused    Status = "paused"    // until Engine.Resume
	Cancelled Status = "cancelled" // for good
	Finished  Status = "finished"
	Failed    Status = "failed" // Job.Error tells why it could not go on
)

// Ended reports whether a job has ended for good.
func (s Status) Ended() bool { return s == Cancelled || s == Finished || s == Failed }

// Job is a job as it is stored. Its fields are those of the document.
type Job struct {
	ID       string    `json:"id"`
	Kind     Kind      `json:"kind"`
	Bucket   string    `json:"bucket"`
	Prefix   string    `json:"prefix,omitempty"` // of the keys of the objects
	Settings Settings  `json:"settings"`
	Status   Status    `json:"status"`
	Wanted   Status    `json:"wanted,omitempty"` // asked of the process that runs it: Paused or Cancelled
	Error    string    `json:"error,omitempty"`  // why it Failed
	Created  time.Time `json:"created"`
	Changed  time.Time `json:"changed"`          // when the document was last written
	Ended    time.Time `json:"ended,omitzero"`   // zero unless Status.Ended
	Worker   string    `json:"worker,omitempty"` // the process that runs it; "" if none does
	Beat     uint64    `json:"beat"`             // grows with each write

	Expected Tally            `json:"expected,omitzero"` // objects of the scope as they were listed at the start, and their stored bytes; zero: not known
	Position Position         `json:"position"`
	Counts   map[Result]Tally `json:"counts,omitempty"`  // up to Position
	Ongoing  map[Result]Tally `json:"ongoing,omitempty"` // of the page after Position, for show
	Named    []Named          `json:"named,omitempty"`   // the first objects that failed or were left out
	Buckets  []string         `json:"buckets,omitempty"` // of an Inventory without Bucket; one pass each
	Uses     []Use            `json:"uses,omitempty"`    // Inventory only
	Notes    []string         `json:"notes,omitempty"`   // what the operator should know, in sentences
}

// Settings are the choices of a job. Which of them apply depends on its kind.
type Settings struct {
	Parallel    int     `json:"parallel,omitempty"`    // objects at one time; 0: DefaultParallel
	BytesRate   int64   `json:"bytesRate,omitempty"`   // bytes of bodies per second; 0: no limit
	ObjectsRate float64 `json:"objectsRate,omitempty"` // objects per second; 0: no limit
	DryRun      bool    `json:"dryRun,omitempty"`      // write nothing

	// Of Encrypt and Rekey.
	Scheme        string `json:"scheme,omitempty"`  // SSE-S3 or SSE-KMS; "": of the bucket's rule, or as the object has it
	Key           string `json:"key,omitempty"`     // KES key; "": of the rule, or the default key
	Context       string `json:"context,omitempty"` // the client's encryption context in base64; "": none, or as the object has it
	Unconditional bool   `json:"unconditional,omitempty"`
	KeepPlain     bool   `json:"keepPlain,omitempty"` // Encrypt: do not make the bucket sealed-only

	// Filter selects the objects of Rekey.
	Filter Filter `json:"filter,omitzero"`

	// Of Rekey.
	Attempts int           `json:"attempts,omitempty"` // at an object that fails; 0: five, of which outages of store and KES do not count
	Delay    time.Duration `json:"delay,omitempty"`    // before the second attempt, in nanoseconds; 0: the engine's
	Notify   Notify        `json:"notify,omitzero"`    // who is told of the end of the job

	// Of Verify.
	HeadersOnly bool    `json:"headersOnly,omitempty"`
	Sample      float64 `json:"sample,omitempty"` // probability that an object is verified; 0: all are
}

// Notify is an endpoint that gets the job as JSON, in a POST, when the job has
// ended.
type Notify struct {
	Endpoint string `json:"endpoint"`
	Token    string `json:"token,omitempty"` // value of the Authorization header
}

// Values of Settings.Scheme.
var (
	SchemeS3  = sealer.SSES3.String()
	SchemeKMS = sealer.SSEKMS.String()
)

// DefaultParallel is how many objects a job works on at one time.
const DefaultParallel = 16

// maxParallel is the limit of Settings.Parallel.
const maxParallel = 1000

// Position is the last entry of the last page that is done.
type Position struct {
	Pass    int    `json:"pass,omitempty"` // Encrypt lists the bucket twice
	Key     string `json:"key,omitempty"`
	Version string `json:"version,omitempty"`
}

// Tally counts objects.
type Tally struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"` // plaintext bytes, where they are known
}

// Named is an object that failed or was left out.
type Named struct {
	Result  Result `json:"result"`
	Key     string `json:"key"`
	Version string `json:"version,omitempty"`
	Why     string `json:"why,omitempty"`
}

// Bounds of a document.
const (
	maxNamed    = 200      // objects in Job.Named
	maxUses     = 10_000   // in Job.Uses
	maxWhy      = 300      // bytes of Named.Why
	maxDocument = 16 << 20 // bytes
)

// ErrInvalid is returned for a job that cannot be what its maker wants.
var ErrInvalid = errors.New("jobs: invalid")

// check refuses a job that cannot run. It is the only place that looks at
// settings before they are used.
func (j *Job) check() error {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
	}
	s := &j.Settings
	switch {
	case j.Kind != Encrypt && j.Kind != Rekey && j.Kind != Verify && j.Kind != Inventory:
		return invalid("there is no kind %q", j.Kind)
	case j.Bucket == "" && j.Kind != Inventory:
		return invalid("a bucket is missing")
	case j.Bucket != "" && s3.CheckBucket(j.Bucket) != nil:
		return invalid("%q is no bucket", j.Bucket)
	case s.Scheme != "" && s.Scheme != SchemeS3 && s.Scheme != SchemeKMS:
		return invalid("the scheme %q is neither %s nor %s", s.Scheme, SchemeS3, SchemeKMS)
	case s.Parallel < 0 || s.Parallel > maxParallel:
		return invalid("%d objects at one time; 1 to %d are possible", s.Parallel, maxParallel)
	case s.BytesRate < 0 || !(s.ObjectsRate >= 0 && s.ObjectsRate < math.MaxInt32): // false for NaN
		return invalid("a rate is negative, or too large")
	case !(s.Sample >= 0 && s.Sample <= 1):
		return invalid("the sample %g is not between 0 and 1", s.Sample)
	case j.Kind == Rekey && s.Key == "" && s.Scheme == "" && s.Context == "":
		return invalid("neither a key nor a scheme to seal under is given")
	}
	return nil
}

// Scope is what the job works on, for people.
func (j *Job) Scope() string {
	switch {
	case j.Bucket == "":
		return "all buckets"
	case j.Prefix == "":
		return j.Bucket
	}
	return j.Bucket + "/" + j.Prefix
}

// Count returns how many objects have a result so far.
func (j *Job) Count(r Result) Tally {
	done, ongoing := j.Counts[r], j.Ongoing[r]
	return Tally{done.Objects + ongoing.Objects, done.Bytes + ongoing.Bytes}
}

// Total returns the sum of all counts.
func (j *Job) Total() (all Tally) {
	for _, r := range results {
		t := j.Count(r)
		all.Objects += t.Objects
		all.Bytes += t.Bytes
	}
	return all
}

// Incomplete returns how many objects failed or were left out.
func (j *Job) Incomplete() (n int64) {
	for _, r := range results[incomplete:] {
		n += j.Count(r).Objects
	}
	return n
}

// name returns the name of the job's document.
func name(id string) string { return Prefix + id }

// Prefix begins the names of the documents of jobs.
const Prefix = "jobs/"

// decode reads a document. Members that this version does not know are errors:
// they may narrow what the job may do.
func decode(plain []byte) (*Job, error) {
	j := &Job{}
	if err := strict(plain, j); err != nil {
		return nil, fmt.Errorf("%w: %w", errDocument, err)
	}
	return j, nil
}

// encodeNext makes the next state of the job the content of d.
func (j *Job) encodeNext(d *state.Document) (err error) {
	j.Beat++
	j.Changed = time.Now().UTC()
	if d.Plain, err = json.Marshal(j); err != nil {
		return fmt.Errorf("jobs: encoding a job: %w", err)
	}
	return nil
}
