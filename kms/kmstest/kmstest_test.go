package kmstest_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/kms-go/kes"
	"go.uber.org/goleak"

	"ssegw/kms"
	"ssegw/kms/kmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// httpClient returns an HTTP client that trusts the server. With withKey it
// authenticates with the server's API key.
func httpClient(t *testing.T, s *kmstest.Server, withKey bool) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{RootCAs: x509.NewCertPool()}
	if !conf.RootCAs.AppendCertsFromPEM(ca) {
		t.Fatal("no certificate in the CA file")
	}
	if withKey {
		key, err := kes.ParseAPIKey(s.APIKey())
		if err != nil {
			t.Fatal(err)
		}
		cert, err := kes.GenerateCertificate(key)
		if err != nil {
			t.Fatal(err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	transport := &http.Transport{TLSClientConfig: conf}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// The client from KES's own module confirms that the wire format is that of
// KES.
func TestWireFormat(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	client := &kes.Client{Endpoints: []string{server.Endpoint()}, HTTPClient: *httpClient(t, server, true)}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	is := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	_, err := client.Version(ctx)
	must(err)
	_, err = client.Status(ctx)
	must(err)
	_, err = client.IsReady(ctx)
	must(err)
	must(client.CreateKey(ctx, "k"))
	is(client.CreateKey(ctx, "k"), kes.ErrKeyExists)

	dek, err := client.GenerateKey(ctx, "k", []byte("context"))
	must(err)
	if len(dek.Plaintext) != 32 || len(dek.Ciphertext) != 124 {
		t.Errorf("data key of %d bytes, %d sealed; KES has 32 and 124", len(dek.Plaintext), len(dek.Ciphertext))
	}
	plaintext, err := client.Decrypt(ctx, "k", dek.Ciphertext, []byte("context"))
	must(err)
	if !bytes.Equal(plaintext, dek.Plaintext) {
		t.Error("decrypted another key")
	}
	_, err = client.Decrypt(ctx, "k", dek.Ciphertext, []byte("other"))
	is(err, kes.ErrDecrypt)
	_, err = client.Decrypt(ctx, kmstest.DefaultKey, dek.Ciphertext, []byte("context"))
	is(err, kes.ErrDecrypt)
	_, err = client.Decrypt(ctx, "k", nil, nil)
	is(err, kes.ErrDecrypt)
	ciphertext, err := client.Encrypt(ctx, "k", []byte("text"), nil)
	must(err)
	plaintext, err = client.Decrypt(ctx, "k", ciphertext, nil)
	must(err)
	if string(plaintext) != "text" {
		t.Errorf("decrypted %q", plaintext)
	}

	info, err := client.DescribeKey(ctx, "k")
	must(err)
	key, err := kes.ParseAPIKey(server.APIKey())
	must(err)
	if info.Name != "k" || info.CreatedBy != key.Identity() || time.Since(info.CreatedAt) > time.Minute {
		t.Errorf("described as %+v", info)
	}
	names, next, err := client.ListKeys(ctx, "def", -1)
	must(err)
	if diff := cmp.Diff([]string{kmstest.DefaultKey}, names); diff != "" || next != "" {
		t.Errorf("continues at %q, names (-want +got):\n%s", next, diff)
	}
	must(client.DeleteKey(ctx, "k"))
	is(client.DeleteKey(ctx, "k"), kes.ErrKeyNotFound)
	_, err = client.GenerateKey(ctx, "k", nil)
	is(err, kes.ErrKeyNotFound)
	server.Deny("denied")
	is(client.CreateKey(ctx, "denied"), kes.ErrNotAllowed)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t, kmstest.WithKeys("a0", "a1", "a2"), kmstest.WithPageSize(2))
	known, unknown := httpClient(t, server, true), httpClient(t, server, false)
	tests := []struct {
		name, method, path, body string
		client                   *http.Client
		status                   int
		want                     string
	}{
		{"version without certificate", "GET", "/version", "", unknown, 200, `{"commit":"","version":"kmstest"}`},
		{"no certificate", "POST", "/v1/key/create/k", "", unknown, 400, `{"message":"tls: client certificate is required"}`},
		{"ready", "GET", "/v1/ready", "", known, 200, ""},
		{"wrong method", "GET", "/v1/key/create/k", "", known, 405, `{"message":"received method 'GET' expected 'PUT'"}`},
		{"bad name", "PUT", "/v1/key/create/my.key", "", known, 400,
			`{"message":"key name 'my.key' is empty, too long or contains invalid characters"}`},
		{"bad body", "POST", "/v1/key/decrypt/a0", "{", known, 400, `{"message":"invalid request body"}`},
		{"no such path", "POST", "/v1/key/hmac/a0", "", known, 404, "404 page not found"},
		{"list without slash", "GET", "/v1/key/list", "", known, 307, ""},
		{"page", "GET", "/v1/key/list/a", "", known, 200, `{"continue_at":"a2","names":["a0","a1"]}`},
		{"continued as KES does", "GET", "/v1/key/list/a2", "", known, 200, `{"names":["a2"]}`},
		{"prefix with a hyphen at its end", "GET", "/v1/key/list/a-", "", known, 400,
			`{"message":"listing pattern 'a-' is empty, too long or is invalid"}`},
		{"lone underscore", "GET", "/v1/key/list/_", "", known, 400, `{"message":"listing pattern '_' is empty, too long or is invalid"}`},
		{"star is literal", "GET", "/v1/key/list/a*", "", known, 200, `{"names":[]}`},
		{"only a star is all", "GET", "/v1/key/list/*", "", known, 200, `{"continue_at":"a2","names":["a0","a1"]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body := do(t, tt.client, tt.method, server.Endpoint()+tt.path, tt.body)
			if status != tt.status || tt.want != "" && strings.TrimSpace(body) != tt.want {
				t.Errorf("got %d %s, want %d %s", status, body, tt.status, tt.want)
			}
		})
	}
}

func do(t *testing.T, client *http.Client, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// For a request without a body, KES returns a key bound to no context. This
// server does the same so tests can catch such requests.
func TestGenerateWithoutBody(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	client := httpClient(t, server, true)
	status, body := do(t, client, "POST", server.Endpoint()+"/v1/key/generate/"+kmstest.DefaultKey, "")
	var generated struct{ Ciphertext []byte }
	if err := json.Unmarshal([]byte(body), &generated); err != nil || status != 200 {
		t.Fatalf("%d: %v", status, err)
	}
	decrypt, err := json.Marshal(generated)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := do(t, client, "POST", server.Endpoint()+"/v1/key/decrypt/"+kmstest.DefaultKey, string(decrypt)); status != 200 {
		t.Errorf("decrypting it without a context: %d", status)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t, kmstest.WithKeys("k"))
	config := server.Config()
	client, err := kms.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := t.Context()

	server.SetFault(kmstest.Fault{Status: 503, Ops: []kmstest.Op{kmstest.OpDecrypt}, Times: 1})
	if err := client.Check(ctx, "k"); !errors.Is(err, kms.ErrCheckUnseal) {
		t.Errorf("got %v, want ErrCheckUnseal", err)
	}
	if err := client.Check(ctx, "k"); err != nil {
		t.Errorf("after the only time: %v", err)
	}
	if got := server.Requests(kmstest.OpDecrypt); got != 2 {
		t.Errorf("%d requests to decrypt, want 2", got)
	}

	server.SetFault(kmstest.Fault{Hang: true})
	done := make(chan error, 1)
	go func() { done <- client.Check(ctx, "k") }()
	for server.Requests(kmstest.OpGenerate) < 3 {
		time.Sleep(time.Millisecond)
	}
	server.SetFault(kmstest.Fault{})
	if err := <-done; err != nil {
		t.Errorf("let go: %v", err)
	}

	server.SetFault(kmstest.Fault{Delay: 20 * time.Millisecond})
	start := time.Now()
	if err := client.Describe(ctx, "k"); err != nil || time.Since(start) < 20*time.Millisecond {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	server.SetFault(kmstest.Fault{})

	server.Deny("k")
	if err := client.Describe(ctx, "k"); !errors.Is(err, kms.ErrNotAllowed) {
		t.Errorf("got %v, want ErrNotAllowed", err)
	}
	server.Allow("k")
	server.DeleteKey("k")
	if err := client.Describe(ctx, "k"); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("got %v, want ErrKeyNotFound", err)
	}
}

func TestServersOfOneStore(t *testing.T) {
	t.Parallel()
	first := kmstest.NewServer(t)
	second := kmstest.NewServer(t, kmstest.WithStore(first), kmstest.WithKeys("k"))
	if !first.HasKey("k") || first.APIKey() != second.APIKey() {
		t.Error("the store is not shared")
	}
	first.Stop()
	first.Stop()
	endpoint := first.Endpoint()
	client, err := kms.New(first.Config(second))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Check(t.Context(), "k"); err != nil {
		t.Errorf("one of two is stopped: %v", err)
	}
	second.Stop()
	if err := client.Check(t.Context(), "k"); !errors.Is(err, kms.ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
	first.Start()
	first.Start()
	if first.Endpoint() != endpoint {
		t.Errorf("endpoint is %s, was %s", first.Endpoint(), endpoint)
	}
	if err := client.Check(t.Context(), "k"); err != nil {
		t.Errorf("started again: %v", err)
	}
}
