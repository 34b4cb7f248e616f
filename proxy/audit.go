package proxy

import (
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// keyUse says what a data key was got for, and from where.
type keyUse string

const (
	useGenerate keyUse = "generate" // a new one, from KES
	useShared   keyUse = "shared"   // one of the bucket's, which KES may have made for an earlier object
	useUnseal   keyUse = "unseal"   // opened by KES
	useCached   keyUse = "cached"   // opened without KES, which had opened it a short time ago
	useCheck    keyUse = "check"    // a key made and opened to try a KES key
)

// AuditRecord is one use of a KES key. It is written as one line of JSON.
type AuditRecord struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"request_id"`           // of the answer's x-amz-request-id
	AccessKey string    `json:"access_key,omitempty"` // of the client; none if anonymous
	Action    string    `json:"action"`               // the S3 operation's name
	Bucket    string    `json:"bucket,omitempty"`
	Key       string    `json:"key,omitempty"` // of the object
	KESKey    string    `json:"kes_key"`
	Use       string    `json:"use"`
	Result    string    `json:"result"` // ok, or the code of the S3 error
}

// audit records that this request used a KES key, or tried to.
func (c *reader) audit(use keyUse, kesKey string, err error) {
	if c.Audit == nil {
		return
	}
	r := AuditRecord{
		Time: time.Now().UTC(), RequestID: c.id, AccessKey: c.auth.AccessKey(), Action: string(c.req.Route.Action),
		Bucket: c.req.Bucket, Key: c.req.Key, KESKey: kesKey, Use: string(use), Result: "ok",
	}
	if err != nil {
		r.Result = s3Error(err).Code
	}
	c.Audit.Record(&r)
}

// Bounds of an audit file.
const (
	auditQueue  = 8192        // records that wait to be written
	auditBatch  = 256 << 10   // bytes of one write
	auditRotate = time.Second // how often the file is looked at, whether it is still the one of its name
	auditMode   = os.FileMode(0o600)
	auditStdout = "-"
)

// Audit is a file of records that grows at its end. Records are written in the
// background: a request never waits for the disk. Those that find the queue
// full, those after Close and those that cannot be written are dropped and counted. A file that
// was renamed or removed is made anew under its name.
type Audit struct {
	path    string
	log     *zap.Logger
	records chan []byte
	closing chan struct{} // closed by Close
	ended   chan struct{} // closed when all is written

	mu     sync.RWMutex // held for reading while a record is queued
	closed bool

	written prometheus.Counter
	dropped prometheus.Counter

	// Of the writer alone.
	file    *os.File
	looked  time.Time // at the file's name
	torn    bool      // the last write ended within a record
	failing bool      // and that was logged
}

// NewAudit opens the file at path; "-" is standard output. A regular file gets
// mode 0600, be it new or not. Close it when no request is left.
func NewAudit(path string, log *zap.Logger, r prometheus.Registerer) (*Audit, error) {
	a := &Audit{
		path: path, log: log, records: make(chan []byte, auditQueue), closing: make(chan struct{}), ended: make(chan struct{}),
		written: prometheus.NewCounter(prometheus.CounterOpts{Name: "ssegw_audit_records_total", Help: "Records written to the audit file."}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "ssegw_audit_dropped_total", Help: "Records that were not written to the audit file."}),
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	if r != nil {
		r.MustRegister(a.written, a.dropped)
	}
	go a.write()
	return a, nil
}

// Record queues a record. It does not wait.
func (a *Audit) Record(r *AuditRecord) {
	line, err := json.Marshal(r)
	if err != nil {
		panic("proxy: an audit record does not marshal: " + err.Error()) // no type in it can fail
	}
	if !a.queue(append(line, '\n')) {
		a.dropped.Inc()
	}
}

// queue reports whether the line will come to the writer.
func (a *Audit) queue(line []byte) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return false
	}
	select {
	case a.records <- line:
		return true
	default:
		return false
	}
}

// Close writes what is queued and closes the file. Later records are dropped.
func (a *Audit) Close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
	a.mu.Unlock()
	<-a.ended
}

func (a *Audit) open() error {
	if a.path == auditStdout {
		a.file = os.Stdout
		return nil
	}
	f, err := os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, auditMode)
	if err != nil {
		return err
	}
	if err := narrow(f); err != nil {
		_ = f.Close() // nothing was written
		return err
	}
	a.file, a.looked = f, time.Now()
	return nil
}

// narrow takes a file away from everybody but its owner. Devices and pipes stay as they are.
func narrow(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&^auditMode == 0 {
		return err
	}
	return f.Chmod(auditMode)
}

// write writes records until Close, and then those that are left.
func (a *Audit) write() {
	defer close(a.ended)
	for open := true; open; {
		select {
		case line := <-a.records:
			a.append(a.batch(line))
		case <-a.closing:
			for len(a.records) > 0 {
				a.append(a.batch(nil))
			}
			open = false
		}
	}
	if a.file != nil && a.path != auditStdout {
		_ = a.file.Close() // every write was checked
	}
}

// batch returns line and the records that wait behind it, and how many they are.
func (a *Audit) batch(line []byte) (batch []byte, n int) {
	if batch = line; batch != nil {
		n = 1
	}
	for len(batch) < auditBatch {
		select {
		case next := <-a.records:
			batch = append(batch, next...)
			n++
		default:
			return batch, n
		}
	}
	return batch, n
}

// append writes n records.
func (a *Audit) append(batch []byte, n int) {
	err := a.follow()
	if err == nil {
		if a.torn {
			batch = append([]byte{'\n'}, batch...)
		}
		var size int
		size, err = a.file.Write(batch)
		a.torn = err != nil && (size > 0 || a.torn)
	}
	if err != nil {
		a.dropped.Add(float64(n))
		if !a.failing {
			a.log.Error("audit records are lost", zap.String("file", a.path), zap.Error(err))
		}
		a.failing = true
		return
	}
	a.failing = false
	a.written.Add(float64(n))
}

// follow opens the file anew when its name has come to stand for another one.
func (a *Audit) follow() error {
	if a.path == auditStdout || a.file != nil && time.Since(a.looked) < auditRotate {
		return nil
	}
	a.looked = time.Now()
	named, err := os.Stat(a.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if a.file != nil {
		open, statErr := a.file.Stat()
		if err == nil && statErr == nil && os.SameFile(named, open) {
			return nil
		}
		_ = a.file.Close() // every write was checked
		a.file, a.torn = nil, false
	}
	return a.open()
}
