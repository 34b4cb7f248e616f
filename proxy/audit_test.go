package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/kms/kmstest"
	"ssegw/proxy/audit"
	"ssegw/proxy/s3"
)

// auditRecords reads an audit file.
func auditRecords(t *testing.T, path string) []audit.Record {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var records []audit.Record
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var r audit.Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		records = append(records, r)
	}
	return records
}

// TestAudit: each use of a KES key is a record, with who, what and how it
// ended.
func TestAudit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"use":"before"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := audit.Open(path, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
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
	want := []audit.Record{
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
