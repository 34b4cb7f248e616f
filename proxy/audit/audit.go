// Package audit writes a file with one line of JSON for each use of a KES key,
// and keeps the latest ones in memory.
//
// Invariants:
//
//   - A request never waits for the file. Records are queued, and written in
//     the background.
//   - Each record is counted once: as written or as dropped.
//   - A regular file can be read by its owner alone.
//
// docs/ARCHITECTURE.md is the map.
package audit

import (
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Record is one use of a KES key.
type Record struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"request_id"`           // the answer's x-amz-request-id
	AccessKey string    `json:"access_key,omitempty"` // of the client; "": anonymous
	Action    string    `json:"action"`               // the S3 operation's name
	Bucket    string    `json:"bucket,omitempty"`
	Key       string    `json:"key,omitempty"` // of the object
	KESKey    string    `json:"kes_key"`
	Use       string    `json:"use"`
	Result    string    `json:"result"` // ok, or the code of the S3 error
}

// Bounds of an audit file.
const (
	auditQueue  = 8192        // records that wait to be written
	auditBatch  = 256 << 10   // bytes; a write ends with the record that reaches them
	auditRotate = time.Second // how often to check whether the file was renamed or removed
	auditMode   = os.FileMode(0o600)
	auditStdout = "-"
)

// File appends records to a file, and remembers the latest. It drops and counts
// a record if the queue is full, if the write fails, or after Close. A file
// that was renamed or removed is created again under its name.
type File struct {
	path    string // "": there is no file
	log     *zap.Logger
	latest  latest
	records chan []byte
	closing chan struct{} // closed by Close
	ended   chan struct{} // closed when all records are written

	mu     sync.RWMutex // held for reading while a record is queued
	closed bool

	written prometheus.Counter
	dropped prometheus.Counter

	// Used by the writing goroutine only.
	file    *os.File
	checked time.Time // when it last checked that the file has its name
	torn    bool      // the last write may have ended within a record
	failing bool      // the last write failed, which was logged
}

// Open opens the file at path, or standard output if path is "-". Without a
// path there is no file, and records are only remembered. Open creates a
// missing file with mode 0600, and removes other permissions from an existing
// regular file. It registers the metrics of a file with r, unless that is nil.
// Close the file after the last request.
func Open(path string, log *zap.Logger, r prometheus.Registerer) (*File, error) {
	a := &File{
		path: path, log: log, records: make(chan []byte, auditQueue), closing: make(chan struct{}), ended: make(chan struct{}),
		written: prometheus.NewCounter(prometheus.CounterOpts{Name: "ssegw_audit_records_total", Help: "Records written to the audit file."}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "ssegw_audit_dropped_total", Help: "Records that were not written to the audit file."}),
	}
	if path == "" {
		a.closed = true
		close(a.ended)
		return a, nil
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
func (a *File) Record(r *Record) {
	a.latest.add(r)
	if a.path == "" {
		return
	}
	line, err := json.Marshal(r)
	if err != nil {
		panic("audit: record does not marshal: " + err.Error()) // its types always do
	}
	if !a.queue(append(line, '\n')) {
		a.dropped.Inc()
	}
}

// Latest returns the latest records, the newest first. There are at most 1,000.
func (a *File) Latest() []Record { return a.latest.list() }

// queue passes line to the writing goroutine. It returns false if the queue is
// full or closed.
func (a *File) queue(line []byte) bool {
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

// Close writes the queued records and closes the file. Later records are
// dropped. It may be called again.
func (a *File) Close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
	a.mu.Unlock()
	<-a.ended
}

func (a *File) open() error {
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
	a.file, a.checked = f, time.Now()
	return nil
}

// narrow removes the permissions beyond 0600 from a regular file. Devices and
// pipes stay as they are.
func narrow(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&^auditMode == 0 {
		return err
	}
	return f.Chmod(auditMode)
}

// write writes records until Close, and then those that are still queued.
func (a *File) write() {
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

// batch returns line, which may be nil, with the records queued behind it, and
// their number.
func (a *File) batch(line []byte) (batch []byte, n int) {
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

// append writes a batch of n records. It logs a failure unless the previous
// write also failed.
func (a *File) append(batch []byte, n int) {
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

// follow opens the file again if it was renamed or removed. It checks that at
// most every auditRotate.
func (a *File) follow() error {
	if a.path == auditStdout || a.file != nil && time.Since(a.checked) < auditRotate {
		return nil
	}
	a.checked = time.Now()
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
