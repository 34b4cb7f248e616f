package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ssegw/kms"
	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
)

// newAudit opens an audit file that is closed when the test ends.
func newAudit(t *testing.T, path string, r prometheus.Registerer) (*Audit, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.WarnLevel)
	a, err := NewAudit(path, zap.New(core), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, logs
}

// auditRecords reads an audit file.
func auditRecords(t *testing.T, path string) []AuditRecord {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var records []AuditRecord
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var r AuditRecord
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		records = append(records, r)
	}
	return records
}

// TestAudit: each use of a KES key is a record, with who, what and how it ended.
func TestAudit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"use":"before"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, _ := newAudit(t, path, nil)
	g := newGateway(t, withConfig(func(c *Config) { c.Audit = a }), withKMS(func(c *kms.Config) { c.CacheTTL = time.Minute }))
	start := time.Now()
	g.put("/bucket/plain", nil).want(t, 200, "")
	ids := []string{"", g.put("/bucket/k", pattern(10, 1), s3.HeaderSSE, s3.AWSKMS).header.Get("X-Amz-Request-Id")}
	g.get("/bucket/k").want(t, 200, "")
	g.get("/bucket/k").want(t, 200, "")
	g.head("/bucket/k").want(t, 200, "")
	g.put("/bucket/s", nil, s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.put("/bucket/no", nil, s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "no-such-key").want(t, 404, "kms:KeyNotFound")
	g.kes.DeleteKey(kmstest.DefaultKey)
	g.put("/bucket/copy", nil, s3.HeaderCopySource, "/bucket/k", s3.HeaderSSE, s3.AWSKMS).want(t, 404, "kms:KeyNotFound")
	g.kes.Stop()
	g.put("/bucket/off", nil, s3.HeaderSSE, s3.AWSKMS).want(t, 503, "ServiceUnavailable")
	a.Close()

	const key, who = kmstest.DefaultKey, clientAccessKey
	want := []AuditRecord{
		{Use: "before"},
		{AccessKey: who, Action: "PutObject", Bucket: "bucket", Key: "k", KESKey: key, Use: "generate", Result: "ok"},
		{AccessKey: who, Action: "GetObject", Bucket: "bucket", Key: "k", KESKey: key, Use: "unseal", Result: "ok"},
		{AccessKey: who, Action: "GetObject", Bucket: "bucket", Key: "k", KESKey: key, Use: "cached", Result: "ok"},
		{AccessKey: who, Action: "PutObject", Bucket: "bucket", Key: "s", KESKey: key, Use: "shared", Result: "ok"},
		{AccessKey: who, Action: "PutObject", Bucket: "bucket", Key: "no", KESKey: "no-such-key", Use: "generate", Result: "kms:KeyNotFound"},
		{AccessKey: who, Action: "CopyObject", Bucket: "bucket", Key: "k", KESKey: key, Use: "cached", Result: "ok"},
		{AccessKey: who, Action: "CopyObject", Bucket: "bucket", Key: "copy", KESKey: key, Use: "generate", Result: "kms:KeyNotFound"},
		{AccessKey: who, Action: "PutObject", Bucket: "bucket", Key: "off", KESKey: key, Use: "generate", Result: "ServiceUnavailable"},
	}
	got := auditRecords(t, path)
	for i := range got {
		if i > 0 && (got[i].Time.Before(start.Add(-time.Second)) || got[i].Time.After(time.Now()) || len(got[i].RequestID) != 16) {
			t.Errorf("record %d: %+v", i, got[i])
		}
		if i < len(ids) && got[i].RequestID != ids[i] {
			t.Errorf("record %d is of request %q, want %q", i, got[i].RequestID, ids[i])
		}
		got[i].Time, got[i].RequestID = time.Time{}, ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// TestAuditRotation: a file that was renamed goes on as another one.
func TestAuditRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	a, _ := newAudit(t, path, nil)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("made with %v, %v", info, err)
	}
	record := func(use string) {
		a.Record(&AuditRecord{Use: use})
	}
	record("first")
	eventually(t, "the first record", func() bool { return len(auditRecords(t, path)) == 1 })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	n := 0
	eventually(t, "a new file", func() bool {
		record(fmt.Sprint(n))
		n++
		_, err := os.Stat(path)
		return err == nil
	})
	a.Close()
	record("late") // must do no harm
	old, next := auditRecords(t, path+".1"), auditRecords(t, path)
	if len(old)+len(next) != n+1 || len(next) == 0 || old[0].Use != "first" {
		t.Errorf("%d records before and %d after, of %d", len(old), len(next), n+1)
	}
}

// TestAuditMode: a file that others may read is closed to them, and one that is
// narrower than it need be stays so.
func TestAuditMode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ before, after os.FileMode }{{0o644, 0o600}, {0o666, 0o600}, {0o640, 0o600}, {0o600, 0o600}, {0o200, 0o200}} {
		path := filepath.Join(t.TempDir(), "audit.log")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.before); err != nil { // whatever the umask
			t.Fatal(err)
		}
		a, _ := newAudit(t, path, nil)
		a.Close()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != tt.after {
			t.Errorf("%v became %v, want %v", tt.before, got, tt.after)
		}
	}
	dir := t.TempDir()                           // stands for all that is no regular file
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // to be seen as wide
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
		t.Errorf("what is no regular file has %v, %v", info.Mode(), err)
	}
}

// TestAuditAfterClose: each record is written or counted as dropped, whenever it comes.
func TestAuditAfterClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	a, _ := newAudit(t, path, nil)
	const recorders, each = 8, 500
	var wait sync.WaitGroup
	for range recorders {
		wait.Go(func() {
			for range each {
				a.Record(&AuditRecord{})
			}
		})
	}
	a.Close()
	wait.Wait()
	a.Record(&AuditRecord{})
	a.Close() // twice does no harm
	written, dropped := testCounter(t, a.written), testCounter(t, a.dropped)
	if lines := len(auditRecords(t, path)); float64(lines) != written || written+dropped != recorders*each+1 || dropped < 1 {
		t.Errorf("%d lines, %v written and %v dropped, of %d", lines, written, dropped, recorders*each+1)
	}
}

func TestAuditCannotBeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none", "audit.log")} {
		if a, err := NewAudit(path, zap.NewNop(), nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, %v", path, a, err)
		}
	}
}

// TestAuditIsLost: records that cannot be kept are counted, and nobody waits for them.
func TestAuditIsLost(t *testing.T) {
	t.Parallel()
	queue := &Audit{records: make(chan []byte, 2), dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "x"})}
	for range 5 {
		queue.Record(&AuditRecord{})
	}
	if n := testCounter(t, queue.dropped); n != 3 {
		t.Errorf("%v of 5 were dropped from a queue of 2", n)
	}

	a, logs := newAudit(t, filepath.Join(t.TempDir(), "audit.log"), prometheus.NewRegistry())
	if err := a.file.Close(); err != nil { // makes writes fail until the file's name is looked at
		t.Fatal(err)
	}
	for range 3 {
		a.Record(&AuditRecord{})
	}
	a.Close()
	if dropped, written := testCounter(t, a.dropped), testCounter(t, a.written); dropped != 3 || written != 0 {
		t.Errorf("dropped %v and written %v, want 3 and 0", dropped, written)
	}
	if n := logs.FilterMessage("audit records are lost").Len(); n != 1 {
		t.Errorf("%d log lines, want 1", n)
	}
}

// testCounter returns the value of a counter.
func testCounter(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}
