package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssegw/kms/kmstest"
	"ssegw/proxy/jobs"
	"ssegw/sealer"
)

// TestRekeyArguments: --root takes no other argument, and without it there is a
// bucket.
func TestRekeyArguments(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	for _, args := range []string{
		"", "--root bucket", "--root --key k", "--root --to sse-s3", "--root --from k", "--root --dry-run", "--root --tag a=b", "--root --metadata a=b",
		"--root --newer-than 1h", "--root --created-after 2026-01-02T03:04:05Z", "--root --parallel 3", "--root --max-bytes 1MiB", "--root --json",
	} {
		r := runCommand(t, environment(store, kes), append([]string{"rekey"}, strings.Fields(args)...)...)
		if r.status != exitUsage || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("rekey %s: %+v", args, r)
		}
	}
	if len(store.began) > 0 {
		t.Error("something was written")
	}
}

// TestRekeyRoot makes a new root with the command.
func TestRekeyRoot(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	go func() {
		for range store.began { // never closed: it ends with the process
		}
	}()
	trail := filepath.Join(t.TempDir(), "audit.log")
	env := environment(store, kes, "SSEGW_AUDIT_FILE="+trail)
	r := runCommand(t, env, "rekey", "--root")
	if r.status != exitFailed || !strings.Contains(r.stderr, "--unconditional") || r.stdout != "" {
		t.Errorf("without conditional writes: %+v", r)
	}
	before, _ := store.object("/" + stateName + "/root")
	old, err := sealer.ParseRootRecord(before.body)
	if err != nil {
		t.Fatal(err)
	}
	r = runCommand(t, env, "rekey", "--root", "--unconditional")
	after, _ := store.object("/" + stateName + "/root")
	now, err := sealer.ParseRootRecord(after.body)
	if err != nil {
		t.Fatal(err)
	}
	if r.status != 0 || now.ID == old.ID {
		t.Errorf("%+v, root %s after %s", r, now.ID, old.ID)
	}
	for _, id := range []string{"old root  " + old.ID.String(), "new root  " + now.ID.String()} {
		if !strings.Contains(r.stdout, id) {
			t.Errorf("%q does not say %s", r.stdout, id)
		}
	}
	b, err := os.ReadFile(trail)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`"action":"RotateRoot"`, `"key":"roots/` + old.ID.String(), `"key":"roots/` + now.ID.String(), `"key":"root"`, `"result":"ok"`, `"result":"InternalError"`} {
		if !strings.Contains(string(b), text) {
			t.Errorf("the audit file lacks %s:\n%s", text, b)
		}
	}
}

// TestRootsOf counts objects by root.
func TestRootsOf(t *testing.T) {
	t.Parallel()
	j := &jobs.Job{Uses: []jobs.Use{
		{Bucket: "a", Scheme: "SSE-S3", Root: "01", Objects: 1, Versions: 2}, {Bucket: "b", Scheme: "SSE-S3", Root: "01", Objects: 3},
		{Bucket: "b", Scheme: "SSE-S3", Root: "02", Objects: 4}, {Bucket: "b", Scheme: jobs.Plain, Objects: 5},
	}}
	var out strings.Builder
	if err := printInventory(&out, j, rootsOf(j, "02")); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{" 02* ", "root 02, the present root, has 4 objects and 0 older versions\nroot 01, an old root, has 4 objects and 2 older versions\n"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is not in\n%s", text, out.String())
		}
	}
}
