package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETag
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"ssegw/kms/kmstest"
)

// The tests of this package run the command in a process: they start the test
// binary again with runMain set.
const runMain = "TEST_RUN_SSEGW_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	accessKey = "client-access"
	secretKey = "canary-client-secret"
	stateName = "gateway-state"
)

// store is an object store with only what a gateway needs to start and to
// write. It accepts every signature.
type store struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]stored
	began   chan string // paths of writes, when they begin
}

type stored struct {
	body   []byte
	header http.Header
}

func newStore(t *testing.T) *store {
	s := &store{objects: map[string]stored{}, began: make(chan string, 100)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *store) object(path string) (stored, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[path]
	return o, ok
}

func (s *store) keep(path string, o stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[path] = o
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.Count(r.URL.Path, "/") == 1 { // every bucket exists and is empty
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>")
		}
		return
	}
	if r.Method == http.MethodPut {
		s.began <- r.URL.Path
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return // a truncated body is not an object
		}
		s.keep(r.URL.Path, stored{b, r.Header.Clone()})
	}
	o, ok := s.object(r.URL.Path)
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	sum := md5.Sum(o.body) //nolint:gosec // see the import
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	w.Header().Set("ETag", etag)
	for name, values := range o.header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			w.Header()[name] = values
		}
	}
	switch {
	case r.Method == http.MethodHead:
		w.Header().Set("Content-Length", strconv.Itoa(len(o.body)))
	case r.Method != http.MethodGet:
	case r.Header.Get("If-None-Match") == etag:
		w.WriteHeader(http.StatusNotModified)
	default:
		w.Write(o.body)
	}
}

// environment returns a complete environment. The entries replace or add to it.
func environment(store *store, kes *kmstest.Server, entries ...string) []string {
	env := map[string]string{
		"SSEGW_ADDRESS": "127.0.0.1:0", "SSEGW_ADMIN_ADDRESS": "127.0.0.1:0",
		"SSEGW_ACCESS_KEY": accessKey, "SSEGW_SECRET_KEY": secretKey,
		"SSEGW_UPSTREAM_ENDPOINT": store.URL, "SSEGW_UPSTREAM_BODY": "plain",
		"SSEGW_UPSTREAM_ACCESS_KEY": "upstream-access", "SSEGW_UPSTREAM_SECRET_KEY": "canary-upstream-secret",
		"SSEGW_STATE":            stateName,
		"SSEGW_KMS_TIMEOUT":      "1m", // the machine may be busy
		"MINIO_KMS_KES_ENDPOINT": kes.Endpoint(), "MINIO_KMS_KES_API_KEY": kes.APIKey(),
		"MINIO_KMS_KES_CAPATH": kes.CAFile(), "MINIO_KMS_KES_KEY_NAME": kmstest.DefaultKey,
		runMain: "1",
	}
	for _, e := range entries {
		name, value, set := strings.Cut(e, "=")
		env[name] = value
		if !set {
			delete(env, name)
		}
	}
	var list []string
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// result is how a process ended.
type result struct {
	status         int
	stdout, stderr string
}

func command(ctx context.Context, t *testing.T, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	// A binary that measures coverage complains at exit if it has no folder for
	// it.
	cmd.Env = append(slices.Clone(env), "GOCOVERDIR="+t.TempDir())
	return cmd
}

// runCommand runs the command to its end.
func runCommand(t *testing.T, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), giveUp)
	defer cancel()
	cmd := command(ctx, t, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// process is a running gateway.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	address, admin string
	ended          chan error

	mu    sync.Mutex
	lines []string // from standard error
}

// start runs a gateway and waits until it serves.
func start(t *testing.T, env []string) *process {
	t.Helper()
	return startCommand(t, command(context.Background(), t, env))
}

// startCommand is like start for a command that runs a gateway.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, ended: make(chan error, 1)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	go func() {
		for scan := bufio.NewScanner(stderr); scan.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, scan.Text())
			p.mu.Unlock()
		}
		p.ended <- p.cmd.Wait()
	}()
	p.eventually("it to serve", func() bool {
		line := p.logged(`"msg":"serving"`)
		var fields struct {
			Address string `json:"address"`
			Admin   string `json:"admin_address"`
		}
		if line == "" || json.Unmarshal([]byte(line), &fields) != nil {
			return false
		}
		p.address, p.admin = fields.Address, fields.Admin
		return true
	})
	return p
}

// logged returns the first line on standard error that contains all words, or
// "".
func (p *process) logged(words ...string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		found := true
		for _, word := range words {
			found = found && strings.Contains(line, word)
		}
		if found {
			return line
		}
	}
	return ""
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// giveUp is how long tests wait for an expected event. It only matters to tests
// that fail: a busy machine may be slow.
const giveUp = 2 * time.Minute

// eventually waits until ok holds.
func (p *process) eventually(what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(giveUp); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited in vain for %s; its log:\n%s", what, p.log())
		}
	}
}

// health returns the status of a health check, 0 if nothing listens.
func (p *process) health(address, check string) int {
	client := http.Client{Timeout: giveUp, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/minio/health/" + check)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (p *process) waitReady() {
	p.t.Helper()
	p.eventually("it to be ready", func() bool { return p.health(p.address, "ready") == 200 })
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the exit status.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended: //nolint:errcheck // see the status
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(giveUp):
		p.t.Fatalf("still runs; its log:\n%s", p.log())
		return 0
	}
}

// put begins an upload whose body the test writes.
func (p *process) put(path string, size int64, header ...string) (io.WriteCloser, <-chan string) {
	p.t.Helper()
	body, w := io.Pipe()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPut, "http://"+p.address+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	r.ContentLength = size
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey},
		r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			body.CloseWithError(err)
			answer <- "error: " + err.Error()
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		answer <- fmt.Sprintf("%s %s %v", resp.Status, b, err)
	}()
	return w, answer
}
