package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssegw/kms"
	"ssegw/kms/kmstest"
	"ssegw/sealer"
)

// sealObject returns an object as a gateway stores it. A key of SSE-C is the
// client's, and KES has the other ones.
func sealObject(t *testing.T, kes *kmstest.Server, scheme sealer.Scheme, customer sealer.Key, plain []byte) stored {
	t.Helper()
	p := sealer.SealParams{
		Scheme: scheme, Binding: sealer.Binding{Bucket: "bucket", Key: "dir/a b"}, DataKey: customer, Size: int64(len(plain)),
		Trailer: true, Root: sealer.Root{ID: sealer.RootID{1}, Key: sealer.NewKey()},
	}
	if scheme != sealer.SSEC {
		client, err := kms.New(kes.Config())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		kctx, err := kms.ObjectContext(p.Binding.Bucket, p.Binding.Key, nil)
		if err != nil {
			t.Fatal(err)
		}
		key, err := client.Generate(t.Context(), kmstest.DefaultKey, kctx)
		if err != nil {
			t.Fatal(err)
		}
		p.DataKey, p.SealedDataKey, p.KeyName = sealer.Key(key.Plaintext), key.Sealed, key.KeyName
	}
	h, k, err := sealer.Seal(p)
	if err != nil {
		t.Fatal(err)
	}
	body, err := k.SealBody(bytes.NewReader(plain), p.Size)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	trailer, err := k.SealTrailer(nil, p.Size)
	if err != nil {
		t.Fatal(err)
	}
	return stored{append(sealed, trailer...), http.Header{"X-Amz-Meta-Ssegw": {h.Encode()}}}
}

// openEnv returns an environment that has the settings of KES alone.
func openEnv(kes *kmstest.Server) []string {
	return []string{
		"MINIO_KMS_KES_ENDPOINT=" + kes.Endpoint(), "MINIO_KMS_KES_API_KEY=" + kes.APIKey(), "MINIO_KMS_KES_CAPATH=" + kes.CAFile(),
		"MINIO_KMS_KES_KEY_NAME=" + kmstest.DefaultKey, "SSEGW_KMS_TIMEOUT=1m", runMain + "=1",
	}
}

// namesIn lists a folder.
func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantFile(t *testing.T, path string, content []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s: %d bytes, want %d; %v", path, len(got), len(content), err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode() != 0o600 {
		t.Errorf("%s has mode %v", path, info.Mode())
	}
}

// TestOpenCommand opens an object from the store and from files, and with an
// exported key while KES is down.
func TestOpenCommand(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	plain := bytes.Repeat([]byte("plaintext "), 20000)
	o := sealObject(t, kes, sealer.SSEKMS, sealer.Key{}, plain)
	store.keep("/bucket/dir/a b", o)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	input := write(t, at("stored"), o.body)
	header := o.header.Get(sealer.MetadataKey)
	fromFiles := []string{"open", "--object", "bucket/dir/a b", "--header", header, "--input", input}

	// Clients, limits and certificates of the gateway do not matter.
	env := environment(store, kes, "SSEGW_ACCESS_KEY", "SSEGW_SECRET_KEY", "SSEGW_MAX_REQUESTS=many", "SSEGW_TLS_CERT_FILE=/nonexistent")
	ok := func(env []string, args ...string) result {
		t.Helper()
		r := runCommand(t, env, args...)
		if r.status != 0 || r.stderr != "" {
			t.Fatalf("%q: %+v", args, r)
		}
		return r
	}
	r := ok(env, "open", "bucket/dir/a b", "--output", at("a"))
	wantFile(t, at("a"), plain)
	if !strings.Contains(r.stdout, "200000 bytes of bucket/dir/a b, SSE-KMS, object ID ") {
		t.Errorf("stdout %q", r.stdout)
	}
	ok(openEnv(kes), append(fromFiles, "--output", at("b"))...)
	wantFile(t, at("b"), plain)
	if r := ok(openEnv(kes), append(fromFiles, "--output", "-", "--force")...); r.stdout != string(plain) {
		t.Errorf("standard output has %d bytes", len(r.stdout))
	}

	r = ok(openEnv(kes), "open", "--object", "bucket/dir/a b", "--header", "X-Amz-Meta-Ssegw: "+header, "--export-key", at("key"))
	key, err := os.ReadFile(at("key"))
	if err != nil || !strings.Contains(r.stdout, "keep it secret") || strings.Contains(r.stdout, strings.TrimSpace(string(key))) {
		t.Errorf("%v: stdout %q", err, r.stdout)
	}
	wantFile(t, at("key"), key)
	kes.Stop()
	ok([]string{runMain + "=1"}, append(fromFiles, "--key-file", at("key"), "--output", at("c"))...)
	wantFile(t, at("c"), plain)
	store.Close()
	if got := namesIn(t, dir); !slices.Equal(got, []string{"a", "b", "c", "key", "stored"}) {
		t.Errorf("files %q", got)
	}
}

// TestOpenCommandFails checks that nothing is written if the object cannot be
// opened, and that the exit status is right.
func TestOpenCommandFails(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	plain := bytes.Repeat([]byte("plaintext "), 20000)
	good := sealObject(t, kes, sealer.SSEKMS, sealer.Key{}, plain)
	customer := sealer.NewKey()
	theirs := sealObject(t, kes, sealer.SSEC, customer, plain)
	store.keep("/bucket/plain", stored{body: []byte("plain")})
	store.keep("/bucket/moved", good)
	tampered := stored{bytes.Clone(good.body), good.header}
	tampered.body[len(plain)-1] ^= 1 // in the last package
	store.keep("/bucket/dir/a b", tampered)

	in, dir := t.TempDir(), t.TempDir()
	input := write(t, filepath.Join(in, "tampered"), tampered.body)
	ssec := write(t, filepath.Join(in, "ssec"), theirs.body)
	other := sealer.NewKey()
	otherKey := write(t, filepath.Join(in, "other"), other[:])
	noKey := write(t, filepath.Join(in, "nokey"), []byte("short"))
	exists := write(t, filepath.Join(in, "exists"), []byte("kept"))
	header, ssecHeader := good.header.Get(sealer.MetadataKey), theirs.header.Get(sealer.MetadataKey)
	output := filepath.Join(dir, "out")
	env := environment(store, kes)
	fromFile := func(header, input string, more ...string) []string {
		return append([]string{"open", "--object", "bucket/dir/a b", "--header", header, "--input", input}, more...)
	}
	for _, tt := range []struct {
		what   string
		args   []string
		status int
		stderr string
	}{
		{"changed in the store", []string{"open", "bucket/dir/a b", "--output", output}, exitFailed, "bucket/dir/a b: opening: sealer: not authentic"},
		{"changed in a file", fromFile(header, input, "--output", output), exitFailed, "not authentic"},
		{"another name", []string{"open", "bucket/moved", "--output", output}, exitFailed, "sealed data key is not authentic"},
		{"not sealed", []string{"open", "bucket/plain", "--output", output}, exitFailed, "no sealed header"},
		{"absent", []string{"open", "bucket/absent", "--output", output}, exitFailed, "bucket/absent"},
		{"malformed header", fromFile(header[1:], input, "--output", output), exitFailed, "malformed"},
		{"part of a split header", fromFile("2.2."+header, input, "--output", output), exitFailed, "value 2 of 2 has 0 characters"},
		{"no such input", fromFile(header, filepath.Join(in, "none"), "--output", output), exitFailed, "no such file"},
		{"no such folder", fromFile(header, input, "--output", filepath.Join(dir, "none", "out")), exitFailed, "no such file"},
		{"another key", fromFile(header, input, "--key-file", otherKey, "--output", output), exitFailed, "the key is not that of the object"},
		{"another client's key", fromFile(ssecHeader, ssec, "--customer-key-file", otherKey, "--output", output), exitFailed, "the key is not that of the object"},
		{"export of a client's key", fromFile(ssecHeader, ssec, "--export-key", output), exitFailed, "KES does not have it"},

		{"nothing", []string{"open"}, exitUsage, "want either BUCKET/KEY or --object"},
		{"no output", []string{"open", "bucket/dir/a b"}, exitUsage, "want either --output FILE or --export-key FILE"},
		{"both sources", fromFile(header, input, "bucket/dir/a b", "--output", output), exitUsage, "want either BUCKET/KEY or --object"},
		{"no header", []string{"open", "--object", "bucket/dir/a b", "--input", input, "--output", output}, exitUsage, "--object needs --header"},
		{"input for the store", []string{"open", "bucket/a", "--input", input, "--output", output}, exitUsage, "go with --object"},
		{"no key in the name", []string{"open", "bucket", "--output", output}, exitUsage, "is not BUCKET/KEY"},
		{"standard output", fromFile(header, input, "--output", "-"), exitUsage, "cannot be taken back"},
		{"output exists", fromFile(header, input, "--output", exists), exitUsage, "exists; --force replaces it"},
		{"output is a device", fromFile(header, input, "--force", "--output", "/dev/null"), exitUsage, "not a regular file"},
		{"output is the input", fromFile(header, input, "--force", "--output", input), exitUsage, "would be replaced"},
		{"two keys", fromFile(header, input, "--key-file", otherKey, "--export-key", output), exitUsage, "exclude one another"},
		{"SSE-C without a key", fromFile(ssecHeader, ssec, "--output", output), exitUsage, "--customer-key-file"},
		{"a client's key for another scheme", fromFile(header, input, "--customer-key-file", otherKey, "--output", output), exitUsage, "leave --customer-key-file out"},
		{"not a key", fromFile(header, input, "--key-file", noKey, "--output", output), exitUsage, "not a key"},
	} {
		r := runCommand(t, env, tt.args...)
		if r.status != tt.status || r.stdout != "" || !strings.Contains(r.stderr, tt.stderr) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: %+v, want %q", tt.what, r, tt.stderr)
		}
	}
	if r := runCommand(t, []string{runMain + "=1"}, fromFile(header, input, "--output", output)...); r.status != exitUsage || !strings.Contains(r.stderr, "KES is not configured") {
		t.Errorf("without settings: %+v", r)
	}
	kes.Stop()
	kesDown := environment(store, kes, "SSEGW_KMS_TIMEOUT=1ms")
	if r := runCommand(t, kesDown, fromFile(header, input, "--output", output)...); r.status != exitFailed || !strings.Contains(r.stderr, "no KES endpoint gave an answer") {
		t.Errorf("without KES: %+v", r)
	}
	if got := namesIn(t, dir); len(got) > 0 {
		t.Errorf("left behind: %q", got)
	}
	wantFile(t, exists, []byte("kept"))
	wantFile(t, input, tampered.body)

	// A file that is there stays until the object has proven authentic.
	if r := runCommand(t, env, fromFile(ssecHeader, ssec, "--force", "--customer-key-file", otherKey, "--output", exists)...); r.status != exitFailed {
		t.Errorf("%+v", r)
	}
	wantFile(t, exists, []byte("kept"))
	text := base64.RawStdEncoding.EncodeToString(customer[:])
	good64 := write(t, filepath.Join(in, "customer"), []byte(text))
	if r := runCommand(t, env, fromFile(ssecHeader, ssec, "--force", "--customer-key-file", good64, "--output", exists)...); r.status != 0 {
		t.Errorf("%+v", r)
	}
	wantFile(t, exists, plain)
}

// TestWriteFile checks that a file appears complete or not at all, also when
// another file takes its name meanwhile.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	put := func(text string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	}
	broken := errors.New("broken")
	err := writeFile(path, false, func(w io.Writer) error { return errors.Join(put("half")(w), broken) })
	if !errors.Is(err, broken) || len(namesIn(t, dir)) > 0 {
		t.Errorf("%v, files %q", err, namesIn(t, dir))
	}
	err = writeFile(path, false, func(w io.Writer) error {
		write(t, path, []byte("theirs"))
		return put("ours")(w)
	})
	if !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	wantFile(t, path, []byte("theirs"))
	if err := writeFile(path, false, put("ours")); !errors.Is(err, errUsage) {
		t.Error(err)
	}
	if err := writeFile(path, true, put("ours")); err != nil {
		t.Error(err)
	}
	wantFile(t, path, []byte("ours"))
	if got := namesIn(t, dir); len(got) != 1 {
		t.Errorf("files %q", got)
	}
}
