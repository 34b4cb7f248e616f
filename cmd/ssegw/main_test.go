package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ssegw/kms/kmstest"
	"ssegw/sealer"
)

// TestSettings starts the command with missing or wrong settings. It expects
// one line that names the setting, exit status 2, and no use of the network.
func TestSettings(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		entries, args []string
		says          []string
	}{
		"secret key missing": {[]string{"SSEGW_SECRET_KEY"}, nil, []string{"SSEGW_SECRET_KEY", "not set"}},
		"endpoint missing":   {[]string{"SSEGW_UPSTREAM_ENDPOINT"}, nil, []string{"SSEGW_UPSTREAM_ENDPOINT", "not set"}},
		"KES missing":        {[]string{"MINIO_KMS_KES_ENDPOINT", "MINIO_KMS_KES_API_KEY", "MINIO_KMS_KES_KEY_NAME"}, nil, []string{"MINIO_KMS_KES_ENDPOINT"}},
		"unknown":            {[]string{"SSEGW_STAET=x"}, nil, []string{"SSEGW_STAET", "SSEGW_STATE"}},
		"default secret":     {[]string{"SSEGW_SECRET_KEY=minioadmin"}, nil, []string{"SSEGW_SECRET_KEY"}},
		"KES API key":        {[]string{"MINIO_KMS_KES_API_KEY=kes:v1:canary"}, nil, []string{"API key"}},
		"KES endpoint":       {[]string{"MINIO_KMS_KES_ENDPOINT=http://kes:7373"}, nil, []string{"http://kes:7373"}},
		"KES CA empty":       {[]string{"MINIO_KMS_KES_CAPATH=" + empty}, nil, []string{empty}},
		"KES key name":       {[]string{"MINIO_KMS_KES_KEY_NAME=a b"}, nil, []string{"key"}},
		"store's CA empty":   {[]string{"SSEGW_UPSTREAM_CAPATH=" + empty}, nil, []string{"SSEGW_UPSTREAM_CAPATH", empty}},
		"store's CA folder":  {[]string{"SSEGW_UPSTREAM_CAPATH=" + dir}, nil, []string{"SSEGW_UPSTREAM_CAPATH", dir}},
		"TLS certificate":    {[]string{"SSEGW_TLS_CERT_FILE=" + empty, "SSEGW_TLS_KEY_FILE=" + empty}, nil, []string{empty}},
		"TLS key missing":    {[]string{"SSEGW_TLS_CERT_FILE=" + empty}, nil, []string{"SSEGW_TLS_KEY_FILE"}},
		"health, no KES key": {[]string{"MINIO_KMS_KES_KEY_NAME"}, []string{"health"}, []string{"MINIO_KMS_KES_KEY_NAME"}},
		"unknown command":    {nil, []string{"frobnicate"}, []string{"frobnicate", "health"}},
		"too many arguments": {nil, []string{"health", "me"}, []string{"usage"}},
		"check, settings":    {[]string{"SSEGW_UPSTREAM_ENDPOINT"}, []string{"check"}, []string{"SSEGW_UPSTREAM_ENDPOINT"}},
		"check, CA empty":    {[]string{"MINIO_KMS_KES_CAPATH=" + empty}, []string{"check"}, []string{empty}},
		"check, TLS":         {[]string{"SSEGW_TLS_CERT_FILE=" + empty, "SSEGW_TLS_KEY_FILE=" + empty}, []string{"check"}, []string{empty}},
		"check, credentials": {[]string{"SSEGW_CREDENTIALS_FILE=" + empty}, []string{"check"}, []string{empty}},
		"inspect nothing":    {nil, []string{"inspect"}, []string{"usage", "bucket/key"}},
		"inspect a bucket":   {nil, []string{"inspect", "bucket"}, []string{"BUCKET/KEY"}},
		"inspect a folder":   {nil, []string{"inspect", "/key"}, []string{"BUCKET/KEY"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := runCommand(t, environment(store, kes, test.entries...), test.args...)
			if r.status != exitUsage || r.stdout != "" {
				t.Errorf("exit status %d, standard output %q", r.status, r.stdout)
			}
			if !strings.HasPrefix(r.stderr, "ssegw: ") || strings.Count(r.stderr, "\n") != 1 || !strings.HasSuffix(r.stderr, "\n") {
				t.Errorf("not one line: %q", r.stderr)
			}
			for _, word := range test.says {
				if !strings.Contains(r.stderr, word) {
					t.Errorf("%q does not say %q", r.stderr, word)
				}
			}
			if strings.Contains(r.stderr, "canary") {
				t.Errorf("tells a secret: %q", r.stderr)
			}
		})
	}
	if len(kes.AllRequests()) > 0 || len(store.began) > 0 {
		t.Errorf("KES was asked %v", kes.AllRequests())
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	r := runCommand(t, []string{runMain + "=1"}, "version")
	if r.status != 0 || !strings.HasPrefix(r.stdout, "ssegw ") || r.stderr != "" {
		t.Errorf("%+v", r)
	}
}

// TestHelp checks that the help lists every command.
func TestHelp(t *testing.T) {
	t.Parallel()
	r := runCommand(t, []string{runMain + "=1"}, "--help")
	if r.status != 0 || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"serve", "health", "check", "inspect", "version"} {
		if !strings.Contains(r.stdout, "\n  "+name+" ") {
			t.Errorf("nothing about %s:\n%s", name, r.stdout)
		}
		if of := runCommand(t, []string{runMain + "=1"}, name, "--help"); of.status != 0 || !strings.HasPrefix(of.stdout, "Usage: ssegw "+name) {
			t.Errorf("%s: %+v", name, of)
		}
	}
}

// TestStartFails covers problems that only show on the network: exit status 1,
// and one line.
func TestStartFails(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := map[string]struct {
		entry string
		prep  func(s *store)
		says  []string
	}{
		"address taken":       {"SSEGW_ADDRESS=" + taken.Addr().String(), nil, []string{"listening for S3", taken.Addr().String()}},
		"admin address taken": {"SSEGW_ADMIN_ADDRESS=" + taken.Addr().String(), nil, []string{"listening for operators", taken.Addr().String()}},
		"state refused": {"SSEGW_LOG_LEVEL=error", func(s *store) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.objects["/"+stateName+"/root"] = stored{body: []byte("not a root")}
		}, []string{"state: refused", stateName}},
	}
	for name, test := range tests {
		store, kes := newStore(t), kmstest.NewServer(t)
		if test.prep != nil {
			test.prep(store)
		}
		r := runCommand(t, environment(store, kes, test.entry))
		var lines []string
		for line := range strings.Lines(r.stderr) {
			if strings.HasPrefix(line, "ssegw: ") {
				lines = append(lines, line)
			}
		}
		if r.status != exitFailed || len(lines) != 1 {
			t.Fatalf("%s: exit status %d, %q", name, r.status, r.stderr)
		}
		for _, word := range test.says {
			if !strings.Contains(lines[0], word) {
				t.Errorf("%s: %q does not say %q", name, lines[0], word)
			}
		}
	}
}

// TestHealthCommand asks a gateway that runs, one that has ended, and one that
// is alive but not ready.
func TestHealthCommand(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	kes.Stop()
	env := environment(store, kes)
	p := start(t, env)
	at := environment(store, kes, "SSEGW_ADDRESS="+p.address)
	if status := p.health(p.address, "ready"); status != 503 {
		t.Errorf("ready without KES: %d", status)
	}
	if r := runCommand(t, at, "health"); r.status != 0 || r.stderr != "" || r.stdout != "" {
		t.Errorf("alive: %+v", r)
	}
	_, port, _ := net.SplitHostPort(p.address)
	if r := runCommand(t, environment(store, kes, "SSEGW_ADDRESS=:"+port), "health"); r.status != 0 {
		t.Errorf("address without a host: %+v", r)
	}
	p.signal(syscall.SIGINT)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if r := runCommand(t, at, "health"); r.status != exitFailed || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("ended: %+v", r)
	}
}

const (
	half = 1 << 20
	size = 2 * half
)

// TestDrain sends SIGTERM in the middle of an upload. The gateway accepts no
// new connection, lets the upload finish, and exits with status 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	p := start(t, environment(store, kes))
	p.waitReady()
	body, answer := p.put("/bucket/key", size, "X-Amz-Server-Side-Encryption", "AES256")
	if _, err := body.Write(make([]byte, half)); err != nil {
		t.Fatal(err)
	}
	for path := ""; path != "/bucket/key"; path = <-store.began {
	}
	p.signal(syscall.SIGTERM)
	p.eventually("it to drain", func() bool { return p.logged("draining") != "" })
	p.eventually("the S3 address to close", func() bool { return p.health(p.address, "live") == 0 })
	if status := p.health(p.admin, "ready"); status != 503 {
		t.Errorf("ready while draining: %d", status)
	}
	if status := p.health(p.admin, "live"); status != 200 {
		t.Errorf("live while draining: %d", status)
	}
	if _, err := body.Write(make([]byte, size-half)); err != nil {
		t.Fatal(err)
	}
	body.Close()
	if got := <-answer; !strings.HasPrefix(got, "200 OK") {
		t.Errorf("the upload: %s", got)
	}
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	o, ok := store.object("/bucket/key")
	h, err := sealer.Parse(o.header.Get(sealer.MetadataKey))
	if !ok || err != nil || h.Claims().Size != size || int64(len(o.body)) != h.Claims().StoredSize() {
		t.Errorf("stored: %t, %d bytes, %v", ok, len(o.body), err)
	}
	for _, secret := range []string{"canary", kes.APIKey()} {
		if line := p.logged(secret); line != "" {
			t.Errorf("a secret in the log: %s", line)
		}
	}
}

// TestDrainTimeout checks that an upload which does not finish in time is cut
// off and leaves no object.
func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	store, kes := newStore(t), kmstest.NewServer(t)
	p := start(t, environment(store, kes, "SSEGW_DRAIN_TIMEOUT=100ms"))
	p.waitReady()
	body, answer := p.put("/bucket/key", size, "X-Amz-Server-Side-Encryption", "AES256")
	if _, err := body.Write(make([]byte, half)); err != nil {
		t.Fatal(err)
	}
	for path := ""; path != "/bucket/key"; path = <-store.began {
	}
	p.signal(syscall.SIGTERM)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if p.logged("requests were cut off") == "" {
		t.Errorf("not logged:\n%s", p.log())
	}
	body.Close() // the transport waits until the body is read
	if got := <-answer; strings.HasPrefix(got, "200") {
		t.Errorf("the upload: %s", got)
	}
	store.Close() // waits for its requests
	if _, ok := store.object("/bucket/key"); ok {
		t.Error("half an upload became an object")
	}
}
