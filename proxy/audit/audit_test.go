package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// newFile opens an audit file that is closed when the test ends.
func newFile(t *testing.T, path string, r prometheus.Registerer) (*File, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.WarnLevel)
	a, err := Open(path, zap.New(core), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, logs
}

// readRecords reads an audit file.
func readRecords(t *testing.T, path string) []Record {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var records []Record
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var r Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		records = append(records, r)
	}
	return records
}

// waitFor waits until ok returns true.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

// TestAuditRotation renames the file. Later records must go to a new file.
func TestAuditRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	a, _ := newFile(t, path, nil)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("made with %v, %v", info, err)
	}
	record := func(use string) {
		a.Record(&Record{Use: use})
	}
	record("first")
	waitFor(t, "the first record", func() bool { return len(readRecords(t, path)) == 1 })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	n := 0
	waitFor(t, "a new file", func() bool {
		record(fmt.Sprint(n))
		n++
		_, err := os.Stat(path)
		return err == nil
	})
	a.Close()
	record("late") // is dropped
	old, next := readRecords(t, path+".1"), readRecords(t, path)
	if len(old)+len(next) != n+1 || len(next) == 0 || old[0].Use != "first" {
		t.Errorf("%d records before and %d after, of %d", len(old), len(next), n+1)
	}
}

// TestAuditMode opens existing files. Permissions beyond 0600 are removed, and
// none are added.
func TestAuditMode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ before, after os.FileMode }{{0o644, 0o600}, {0o666, 0o600}, {0o640, 0o600}, {0o600, 0o600}, {0o200, 0o200}} {
		path := filepath.Join(t.TempDir(), "audit.log")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.before); err != nil { // regardless of the umask
			t.Fatal(err)
		}
		a, _ := newFile(t, path, nil)
		a.Close()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != tt.after {
			t.Errorf("%v became %v, want %v", tt.before, got, tt.after)
		}
	}
	dir := t.TempDir()                           // as an example of a file that is not regular
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // narrow must leave it alone
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := narrow(f); err != nil {
		t.Error(err)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("a directory has %v, %v", info.Mode(), err)
	}
}

// TestAuditAfterClose closes the file while records come. Each must be either
// written or counted as dropped.
func TestAuditAfterClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	a, _ := newFile(t, path, nil)
	const writers, each = 8, 500
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for range each {
				a.Record(&Record{})
			}
		})
	}
	a.Close()
	wait.Wait()
	a.Record(&Record{})
	a.Close() // a second time
	written, dropped := counterValue(t, a.written), counterValue(t, a.dropped)
	if lines := len(readRecords(t, path)); float64(lines) != written || written+dropped != writers*each+1 || dropped < 1 {
		t.Errorf("%d lines, %v written and %v dropped, of %d", lines, written, dropped, writers*each+1)
	}
}

func TestAuditCannotBeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none", "audit.log")} {
		if a, err := Open(path, zap.NewNop(), nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, %v", path, a, err)
		}
	}
}

// TestAuditIsLost checks that records are counted if the queue is full or a
// write fails, and that Record does not wait.
func TestAuditIsLost(t *testing.T) {
	t.Parallel()
	queue := &File{path: "queued", records: make(chan []byte, 2), dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "x"})}
	for range 5 {
		queue.Record(&Record{})
	}
	if n := counterValue(t, queue.dropped); n != 3 {
		t.Errorf("%v of 5 were dropped from a queue of 2", n)
	}

	a, logs := newFile(t, filepath.Join(t.TempDir(), "audit.log"), prometheus.NewRegistry())
	if err := a.file.Close(); err != nil { // makes writes fail for one auditRotate
		t.Fatal(err)
	}
	for range 3 {
		a.Record(&Record{})
	}
	a.Close()
	if dropped, written := counterValue(t, a.dropped), counterValue(t, a.written); dropped != 3 || written != 0 {
		t.Errorf("dropped %v and written %v, want 3 and 0", dropped, written)
	}
	if n := logs.FilterMessage("audit records are lost").Len(); n != 1 {
		t.Errorf("%d log lines, want 1", n)
	}
}

// counterValue returns the value of a counter.
func counterValue(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func TestLatest(t *testing.T) {
	t.Parallel()
	a, err := Open("", zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2500 {
		if n := len(a.Latest()); n != min(i, 1000) {
			t.Fatalf("%d records of %d", n, i)
		}
		a.Record(&Record{RequestID: strconv.Itoa(i)})
	}
	all := a.Latest()
	if all[0].RequestID != "2499" || all[999].RequestID != "1500" {
		t.Errorf("from %s to %s", all[0].RequestID, all[999].RequestID)
	}
	a.Close()
}
