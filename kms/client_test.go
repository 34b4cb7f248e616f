package kms_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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

// newClient returns a client that is closed when the test ends.
func newClient(t *testing.T, c kms.Config) *kms.Client {
	t.Helper()
	client, err := kms.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestGenerateAndUnseal(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t, kmstest.WithKeys("my-key"))
	client := newClient(t, server.Config())
	kctx := kms.Context{"b": "b/k", "dept": "hr"}

	dk, err := client.Generate(t.Context(), "my-key", kctx)
	if err != nil {
		t.Fatal(err)
	}
	if dk.KeyName != "my-key" || dk.Plaintext == (kms.Secret{}) || len(dk.Sealed) == 0 || len(dk.Sealed) > kms.MaxSealedLen {
		t.Errorf("got %v", dk)
	}
	got, err := client.Unseal(t.Context(), "my-key", dk.Sealed, kms.Context{"dept": "hr", "b": "b/k"})
	if err != nil {
		t.Fatal(err)
	}
	if got != dk.Plaintext {
		t.Error("unsealed another key")
	}
	other, err := client.Generate(t.Context(), "my-key", kctx)
	if err != nil {
		t.Fatal(err)
	}
	if other.Plaintext == dk.Plaintext || bytes.Equal(other.Sealed, dk.Sealed) {
		t.Error("two data keys are equal")
	}
	want := map[kmstest.Op]int{kmstest.OpGenerate: 2, kmstest.OpDecrypt: 1}
	if diff := cmp.Diff(want, server.AllRequests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestBucketContext(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	client := newClient(t, server.Config())
	dk, err := client.Generate(t.Context(), client.DefaultKey(), kms.BucketContext("b"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Unseal(t.Context(), client.DefaultKey(), dk.Sealed, kms.Context{"b": "b"}); err != nil {
		t.Error(err)
	}
	object, err := kms.ObjectContext("b", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []kms.Context{kms.BucketContext("c"), object} {
		if _, err := client.Unseal(t.Context(), client.DefaultKey(), dk.Sealed, other); !errors.Is(err, kms.ErrInvalidCiphertext) {
			t.Errorf("%v: got %v, want ErrInvalidCiphertext", other, err)
		}
	}
}

func TestUnsealRefuses(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t, kmstest.WithKeys("a", "b"))
	client := newClient(t, server.Config())
	kctx := kms.Context{"b": "b/k"}
	dk, err := client.Generate(t.Context(), "a", kctx)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(dk.Sealed)
	flipped[len(flipped)-1] ^= 1
	tests := []struct {
		name   string
		key    string
		sealed []byte
		kctx   kms.Context
		want   error
	}{
		{"other key", "b", dk.Sealed, kctx, kms.ErrInvalidCiphertext},
		{"other context", "a", dk.Sealed, kms.Context{"b": "b/K"}, kms.ErrInvalidCiphertext},
		{"more context", "a", dk.Sealed, kms.Context{"b": "b/k", "c": ""}, kms.ErrInvalidCiphertext},
		{"no context", "a", dk.Sealed, nil, kms.ErrContextRequired},
		{"empty context", "a", dk.Sealed, kms.Context{}, kms.ErrContextRequired},
		{"one bit", "a", flipped, kctx, kms.ErrInvalidCiphertext},
		{"truncated", "a", dk.Sealed[:40], kctx, kms.ErrInvalidCiphertext},
		{"empty", "a", nil, kctx, kms.ErrInvalidCiphertext},
		{"too long", "a", make([]byte, kms.MaxSealedLen+1), kctx, kms.ErrInvalidCiphertext},
		{"no such key", "nokey", dk.Sealed, kctx, kms.ErrKeyNotFound},
		{"bad name", "a/../b", dk.Sealed, kctx, kms.ErrInvalidKeyName},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client.Unseal(t.Context(), tt.key, tt.sealed, tt.kctx)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if got != (kms.Secret{}) {
				t.Error("a key came with the error")
			}
		})
	}
}

func TestGenerateWithoutContextAsksNobody(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	client := newClient(t, server.Config())
	for _, kctx := range []kms.Context{nil, {}} {
		if _, err := client.Generate(t.Context(), kmstest.DefaultKey, kctx); !errors.Is(err, kms.ErrContextRequired) {
			t.Errorf("got %v, want ErrContextRequired", err)
		}
	}
	if n := server.Requests(kmstest.OpGenerate); n != 0 {
		t.Errorf("KES was asked %d times", n)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t, kmstest.WithKeys("denied", "exists"))
	server.Deny("denied")
	client := newClient(t, server.Config())
	ctx, kctx := t.Context(), kms.Context{"a": "b"}
	generate := func(name string) error { _, err := client.Generate(ctx, name, kctx); return err }
	tests := []struct {
		name  string
		err   error
		want  error
		cause error // KES error in the chain
	}{
		{"generate: no key", generate("nokey"), kms.ErrKeyNotFound, kes.ErrKeyNotFound},
		{"generate: denied", generate("denied"), kms.ErrNotAllowed, kes.ErrNotAllowed},
		{"generate: bad name", generate("my.key"), kms.ErrInvalidKeyName, nil},
		{"create: exists", client.Create(ctx, "exists"), kms.ErrKeyExists, kes.ErrKeyExists},
		{"create: denied", client.Create(ctx, "denied"), kms.ErrNotAllowed, kes.ErrNotAllowed},
		{"create: bad name", client.Create(ctx, ""), kms.ErrInvalidKeyName, nil},
		{"describe: no key", client.Describe(ctx, "nokey"), kms.ErrKeyNotFound, kes.ErrKeyNotFound},
		{"describe: denied", client.Describe(ctx, "denied"), kms.ErrNotAllowed, kes.ErrNotAllowed},
		{"describe: bad name", client.Describe(ctx, "-"), kms.ErrInvalidKeyName, nil},
		{"check: no key", client.Check(ctx, "nokey"), kms.ErrKeyNotFound, kes.ErrKeyNotFound},
		{"check: denied", client.Check(ctx, "denied"), kms.ErrNotAllowed, kes.ErrNotAllowed},
		{"ensure: denied", client.Ensure(ctx, "denied"), kms.ErrNotAllowed, kes.ErrNotAllowed},
		{"ensure: bad name", client.Ensure(ctx, "a b"), kms.ErrInvalidKeyName, nil},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.err, tt.want)
		}
		if tt.cause != nil && !errors.Is(tt.err, tt.cause) {
			t.Errorf("%s: %v is not %v too", tt.name, tt.err, tt.cause)
		}
		if errors.Is(tt.err, kms.ErrUnreachable) || errors.Is(tt.err, kms.ErrCheckUnseal) {
			t.Errorf("%s: %v is too much", tt.name, tt.err)
		}
	}
}

func TestUnknownClient(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	config := server.Config()
	key, err := kes.GenerateAPIKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	config.APIKey = key.String()
	client := newClient(t, config)
	if err := client.Check(t.Context(), kmstest.DefaultKey); !errors.Is(err, kms.ErrNotAllowed) {
		t.Errorf("got %v, want ErrNotAllowed", err)
	}
	server.AddIdentity(key.Identity())
	if err := client.Check(t.Context(), kmstest.DefaultKey); err != nil {
		t.Errorf("after it was let in: %v", err)
	}
}

func TestCreateAndEnsure(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	client := newClient(t, server.Config())
	if err := client.Create(t.Context(), "made"); err != nil {
		t.Fatal(err)
	}
	if err := client.Describe(t.Context(), "made"); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := client.Ensure(t.Context(), "ensured"); err != nil {
			t.Error(err)
		}
	}
	if n := server.Requests(kmstest.OpCreate); n != 2 {
		t.Errorf("%d requests to create a key, want 2", n)
	}
	if err := client.Check(t.Context(), "ensured"); err != nil {
		t.Error(err)
	}
}

func TestEnsureAfterARace(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	client := newClient(t, server.Config())
	server.SetFault(kmstest.Fault{Status: 400, Message: "key already exists", Ops: []kmstest.Op{kmstest.OpCreate}})
	if err := client.Ensure(t.Context(), "other-made-it"); err != nil {
		t.Error(err)
	}
	server.SetFault(kmstest.Fault{Status: 403, Message: "not authorized", Ops: []kmstest.Op{kmstest.OpCreate}})
	if err := client.Ensure(t.Context(), "never-created"); !errors.Is(err, kms.ErrNotAllowed) {
		t.Errorf("got %v, want ErrNotAllowed", err)
	}
}

func TestCheckTellsTheStepsApart(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	client := newClient(t, server.Config())
	server.SetFault(kmstest.Fault{Status: 403, Ops: []kmstest.Op{kmstest.OpDecrypt}})
	err := client.Check(t.Context(), kmstest.DefaultKey)
	if !errors.Is(err, kms.ErrCheckUnseal) || !errors.Is(err, kms.ErrNotAllowed) {
		t.Errorf("got %v, want ErrCheckUnseal and ErrNotAllowed", err)
	}
	other := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	server.SetFault(kmstest.Fault{Body: []byte(`{"plaintext":"` + other + `"}`), Ops: []kmstest.Op{kmstest.OpDecrypt}})
	err = client.Check(t.Context(), kmstest.DefaultKey)
	if !errors.Is(err, kms.ErrCheckUnseal) || !errors.Is(err, kms.ErrBadAnswer) {
		t.Errorf("got %v, want ErrCheckUnseal and ErrBadAnswer", err)
	}
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	body := func(plaintext, sealed []byte) []byte {
		b, err := json.Marshal(map[string][]byte{"plaintext": plaintext, "ciphertext": sealed})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key, sealed := bytes.Repeat([]byte("K"), 32), []byte("sealed")
	tests := []struct {
		name     string
		fault    kmstest.Fault
		generate bool // wrong for Generate only
	}{
		{"not JSON", kmstest.Fault{Body: []byte("KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK")}, false},
		{"empty", kmstest.Fault{Body: []byte{}}, false},
		{"empty object", kmstest.Fault{Body: []byte("{}")}, false},
		{"null", kmstest.Fault{Body: []byte("null")}, false},
		{"trailing data", kmstest.Fault{Body: append(body(key, sealed), "{}"...)}, false},
		{"key of 31 bytes", kmstest.Fault{Body: body(key[:31], sealed)}, false},
		{"key of 33 bytes", kmstest.Fault{Body: body(append(key[:32:32], 'K'), sealed)}, false},
		{"zero key", kmstest.Fault{Body: body(make([]byte, 32), sealed)}, false},
		{"nothing sealed", kmstest.Fault{Body: body(key, nil)}, true},
		{"sealed too long", kmstest.Fault{Body: body(key, make([]byte, kms.MaxSealedLen+1))}, true},
		{"bad base64", kmstest.Fault{Body: []byte(`{"plaintext":"KKKK*"}`)}, false},
		{"201", kmstest.Fault{Status: 201, Body: body(key, sealed)}, false},
		{"redirect", kmstest.Fault{Status: 307, Body: []byte("{}")}, false},
		{"400 of another kind", kmstest.Fault{Status: 400, Message: "invalid request body"}, false},
		{"404 of another kind", kmstest.Fault{Status: 404, Body: []byte("404 page not found")}, false},
		{"429", kmstest.Fault{Status: 429, Message: "slow down\nKKKK"}, false},
		{"1 MiB", kmstest.Fault{Body: bytes.Repeat([]byte(" "), 1<<20+1)}, false},
	}
	server := kmstest.NewServer(t)
	client := newClient(t, server.Config())
	kctx := kms.Context{"a": "b"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server.SetFault(tt.fault)
			dk, err := client.Generate(t.Context(), kmstest.DefaultKey, kctx)
			wantBadAnswer(t, err)
			if dk.Plaintext != (kms.Secret{}) || dk.Sealed != nil {
				t.Error("a data key came with the error")
			}
			if !tt.generate {
				secret, err := client.Unseal(t.Context(), kmstest.DefaultKey, sealed, kctx)
				wantBadAnswer(t, err)
				if secret != (kms.Secret{}) {
					t.Error("a key came with the error")
				}
			}
		})
	}
}

// wantBadAnswer checks that err is ErrBadAnswer and does not quote a possible
// key.
func wantBadAnswer(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, kms.ErrBadAnswer) {
		t.Errorf("got %v, want ErrBadAnswer", err)
		return
	}
	if s := err.Error(); strings.Contains(s, "KKKKK") || strings.Contains(s, "S0tL") || strings.Contains(s, "\n") {
		t.Errorf("error quotes the answer: %q", s)
	}
}

func TestOldServersMessages(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	client := newClient(t, server.Config())
	server.SetFault(kmstest.Fault{Status: 400, Message: "key does already exist"})
	if err := client.Create(t.Context(), "k"); !errors.Is(err, kms.ErrKeyExists) {
		t.Errorf("got %v, want ErrKeyExists", err)
	}
	server.SetFault(kmstest.Fault{Status: 403, Message: "prohibited by policy"})
	if err := client.Create(t.Context(), "k"); !errors.Is(err, kms.ErrNotAllowed) {
		t.Errorf("got %v, want ErrNotAllowed", err)
	}
	server.SetFault(kmstest.Fault{Status: 400, Message: "tls: client certificate is required"})
	if err := client.Create(t.Context(), "k"); !errors.Is(err, kms.ErrNotAllowed) {
		t.Errorf("got %v, want ErrNotAllowed", err)
	}
	server.SetFault(kmstest.Fault{Status: 400, Message: "key name 'k' is empty, too long or contains invalid characters"})
	if err := client.Create(t.Context(), "k"); !errors.Is(err, kms.ErrInvalidKeyName) {
		t.Errorf("got %v, want ErrInvalidKeyName", err)
	}
	server.SetFault(kmstest.Fault{Status: 404, Body: []byte(`{"error":"key does not exist"}`)})
	if err := client.Describe(t.Context(), "k"); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("got %v, want ErrKeyNotFound", err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	up := kmstest.NewServer(t)
	down := kmstest.NewServer(t, kmstest.WithStore(up))
	sick := kmstest.NewServer(t, kmstest.WithStore(up))
	down.Stop()
	sick.SetFault(kmstest.Fault{Status: http.StatusServiceUnavailable, Message: "sealed"})
	client := newClient(t, up.Config(down, sick))

	got := client.Status(t.Context())
	if len(got) != 3 {
		t.Fatalf("got %d endpoints, want 3", len(got))
	}
	want := []struct {
		endpoint string
		online   bool
		err      string
	}{
		{up.Endpoint(), true, ""},
		{down.Endpoint(), false, "connection refused"},
		{sick.Endpoint(), false, "503"},
	}
	for i, w := range want {
		s := got[i]
		if s.Endpoint != w.endpoint || s.Online != w.online || !strings.Contains(s.Err, w.err) || s.Online != (s.Err == "") {
			t.Errorf("endpoint %d: got %+v, want %+v", i, s, w)
		}
		if s.Latency <= 0 {
			t.Errorf("endpoint %d: latency %v", i, s.Latency)
		}
	}
}

// TestStatusSkew asks servers whose clocks are off or unknown.
func TestStatusSkew(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = nil
			if skew != 0 {
				w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"version":"v1"}`)
		}))
		defer server.Close()
		conf := kmstest.NewServer(t).Config()
		conf.Endpoints, conf.CAPath = []string{server.URL}, filepath.Join(t.TempDir(), "ca.pem")
		writeFile(t, conf.CAPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
		got := newClient(t, conf).Status(t.Context())[0]
		if !got.Online || got.Version != "v1" || (got.Skew-skew).Abs() > 5*time.Second || skew == 0 && got.Skew != 0 {
			t.Errorf("%s: %+v", skew, got)
		}
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	key, err := kes.ParseAPIKey(server.APIKey())
	if err != nil {
		t.Fatal(err)
	}
	if got := newClient(t, server.Config()).Identity(); got != key.Identity().String() {
		t.Errorf("%s, want %s", got, key.Identity())
	}
}

func TestStatusIsBounded(t *testing.T) {
	t.Parallel()
	hung := kmstest.NewServer(t)
	hung.SetFault(kmstest.Fault{Hang: true})
	client := newClient(t, hung.Config())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	got := client.Status(ctx)
	if d := time.Since(start); d > time.Second {
		t.Errorf("took %v", d)
	}
	if got[0].Online || got[0].Err != "no answer in time" {
		t.Errorf("got %+v", got[0])
	}
}

func ExampleClient() {
	config := kms.Config{
		Endpoints:  []string{"https://kes1.example.net:7373", "https://kes2.example.net:7373"},
		APIKey:     "kes:v1:AA==",
		DefaultKey: "my-key",
	}
	_, err := kms.New(config)
	fmt.Println(err)
	// Output: kms: invalid API key
}
