package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ssegw/kms/kmstest"
	"ssegw/proxy/check"
	"ssegw/sealer"
)

// TestCheckCommand runs the checks with KES down, as text and as JSON. The exit
// status is 1, every check is shown once, and a remedy follows each failure.
func TestCheckCommand(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	kes.Stop()
	env := environment(store, kes)
	r := runCommand(t, env, "check", "--json")
	var doc struct {
		OK     bool
		Checks []check.Finding
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || doc.OK || r.status != exitFailed || len(doc.Checks) < 15 {
		t.Fatalf("%v: %+v", err, r)
	}
	if doc.Checks[0].Name != "settings" || doc.Checks[0].Status != check.StatusOK {
		t.Errorf("the first is %+v", doc.Checks[0])
	}
	if !strings.HasPrefix(r.stderr, "ssegw: ") || !strings.Contains(r.stderr, "checks failed") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("not one line: %q", r.stderr)
	}
	if strings.Contains(r.stdout+r.stderr, "canary") {
		t.Errorf("tells a secret: %+v", r)
	}

	text := runCommand(t, env, "check")
	if text.status != exitFailed {
		t.Errorf("exit status %d", text.status)
	}
	lines := strings.Split(text.stdout, "\n")
	for _, f := range doc.Checks {
		if f.Name == "clock" {
			continue // compare each check once
		}
		i := slices.IndexFunc(lines, func(line string) bool { return len(line) > 6 && strings.HasPrefix(line[6:], f.Name+": ") })
		if i < 0 || !strings.HasPrefix(lines[i], words[f.Status]+" ") {
			t.Errorf("%+v is not shown in:\n%s", f, text.stdout)
			continue
		}
		if hasRemedy := lines[i+1] == "      "+f.Remedy; hasRemedy != (f.Remedy != "") {
			t.Errorf("%+v: remedy in:\n%s", f, text.stdout)
		}
	}
}

func TestInspectCommand(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	env := environment(store, kes)
	store.keep("/bucket/plain", stored{body: []byte("plain")})
	if r := runCommand(t, env, "inspect", "bucket/plain"); r.status != 0 || !strings.Contains(r.stdout, "sealed       no\n") || r.stderr != "" {
		t.Errorf("plain: %+v", r)
	}
	r := runCommand(t, env, "inspect", "bucket/plain", "--json")
	var doc struct {
		Sealed *bool
		Key    string
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || doc.Sealed == nil || *doc.Sealed || doc.Key != "plain" {
		t.Errorf("%v: %+v", err, r)
	}
	r = runCommand(t, env, "inspect", "bucket/absent")
	if r.status != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, "bucket/absent") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("absent: %+v", r)
	}
}

// TestPrintInspection prints an inspection in which every field is set.
func TestPrintInspection(t *testing.T) {
	t.Parallel()
	i := &check.Inspection{
		Bucket: "b", Key: "k", VersionID: "v1", ETag: `"e-3"`, Modified: "today", StoredSize: 99, Sealed: true,
		Header: &check.InspectedHeader{
			Scheme: "SSE-KMS", KESKey: "key", SealedDataKey: 124, Context: json.RawMessage(`{"a":"b"}`), Cipher: "AES-256-GCM",
			ObjectID: "oid", RootID: "rid", Trailer: true, Multipart: true, Size: 50, ExpectedSize: 100,
		},
		Checksums: []check.InspectedChecksum{{Algorithm: "CRC32", Type: "COMPOSITE", Value: "AAAA-3"}},
		Parts:     []check.InspectedPart{{Number: 1, Size: 20}, {Number: 2, Size: 20}, {Number: 5, Size: 10}},
		Findings: []check.Finding{
			{Name: "facts", Status: check.StatusOK, Detail: "good"},
			{Name: "stored size", Status: check.StatusFailed, Detail: "bad", Remedy: "do something"},
			{Name: "data key", Status: check.StatusNotTried, Detail: "no KES"},
		},
	}
	const want = `object       b/k
version      v1
sealed       yes
scheme       SSE-KMS
KES key      key
data key     the object's own, 124 bytes sealed
context      {"a":"b"}
cipher       AES-256-GCM
object ID    oid
root ID      rid
layout       multipart, with a trailer
size         50 bytes
stored size  99 bytes, expected 100
modified     today
ETag         "e-3" in the store
checksum     CRC32 AAAA-3 (COMPOSITE)
parts        3: 2 of 20 bytes, 10 bytes

ok    facts: good
FAIL  stored size: bad
      do something
-     data key: not tried: no KES
`
	var out bytes.Buffer
	if err := printInspection(&out, i); err != nil || out.String() != want {
		t.Errorf("%v\n got %s\nwant %s", err, out.String(), want)
	}
	out.Reset()
	i.Header.Size, i.Header.ExpectedSize, i.Parts, i.Header.SharedDataKey = -1, -1, nil, true
	if err := printInspection(&out, i); err != nil || !strings.Contains(out.String(), "not known without the trailer") ||
		!strings.Contains(out.String(), "stored size  99 bytes\n") || !strings.Contains(out.String(), "share") {
		t.Errorf("%v: %s", err, out.String())
	}
	out.Reset()
	i.ETag, i.Findings[1].Detail = "\x1b[2J\n\u202e", "\x1b[31m"
	if err := printInspection(&out, i); err != nil || strings.ContainsAny(out.String(), "\x1b\u202e") || !strings.Contains(out.String(), "[2J") {
		t.Errorf("%v: %q", err, out.String())
	}
	if err := printInspection(brokenWriter{}, i); !errors.Is(err, errBroken) {
		t.Errorf("a full disk: %v", err)
	}
}

var errBroken = errors.New("broken pipe")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// TestInspectDamaged inspects an object whose header cannot be read.
func TestInspectDamaged(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	store.keep("/bucket/k", stored{[]byte("x"), http.Header{http.CanonicalHeaderKey(sealer.MetadataKey): {"damaged!"}}})
	r := runCommand(t, environment(store, kes), "inspect", "bucket/k")
	if r.status != exitFailed || !strings.Contains(r.stdout, "FAIL  header: cannot be read") || !strings.Contains(r.stderr, "not authentic") {
		t.Errorf("%+v", r)
	}
}
