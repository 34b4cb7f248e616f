package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
)

const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// request returns a request as mc sends it: signed for no region, with an empty
// body of unknown length.
func request(t *testing.T, server *httptest.Server, method, path, secret string) *http.Request {
	t.Helper()
	return requestOf(t, server, method, path, accessKey, secret)
}

// requestOf is like request, but signed with another credential than the root.
func requestOf(t *testing.T, server *httptest.Server, method, path, accessKey, secret string) *http.Request {
	t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = io.NopCloser(strings.NewReader("")) // sent in chunks
	}
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	if secret != "" {
		err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secret},
			r, emptySHA256, "s3", "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func do(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 && resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: %s", r.URL.Path, resp.Header.Get("Content-Type"))
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

func newAPI(t *testing.T) (*httptest.Server, *parts) {
	t.Helper()
	s, p := newServer(t)
	server := httptest.NewServer(s.Operator())
	t.Cleanup(server.Close)
	return server, p
}

func TestKeys(t *testing.T) {
	t.Parallel()
	server, p := newAPI(t)
	tests := []struct {
		method, path string
		status       int
		contains     string
	}{
		{"POST", "/minio/kms/v1/key/create?key-id=my-key", 200, ""},
		{"POST", "/minio/kms/v1/key/create?key-id=my-key", 409, `"Code":"kms:KeyAlreadyExists","Message":"key with given key ID already exists"`},
		{"POST", "/minio/kms/v1/key/create?key-id=my.key", 400, `"Code":"InvalidArgument"`},
		{"POST", "/minio/kms/v1/key/create?key-id=my%2Fkey", 400, `"Code":"InvalidArgument"`},
		{"POST", "/minio/kms/v1/key/create", 400, `"Code":"InvalidArgument"`},
		{"GET", "/minio/kms/v1/key/create?key-id=x", 501, `"Code":"NotImplemented"`},
		{"GET", "/minio/kms/v1/key/list?pattern=%2A", 200, fmt.Sprintf(
			`[{"createdAt":"0001-01-01T00:00:00Z","createdBy":"","name":%q},{"createdAt":"0001-01-01T00:00:00Z","createdBy":"","name":"my-key"}]`, kmstest.DefaultKey)},
		{"GET", "/minio/kms/v1/key/list?pattern=my%2A", 200, `[{"createdAt":"0001-01-01T00:00:00Z","createdBy":"","name":"my-key"}]`},
		{"GET", "/minio/kms/v1/key/list?pattern=%2A-key", 200, `"name":"my-key"`},
		{"GET", "/minio/kms/v1/key/list?pattern=my", 200, `[]`},
		{"GET", "/minio/kms/v1/key/list?pattern=a%2Fb", 400, `"Code":"InvalidArgument"`},
		{"GET", "/minio/kms/v1/key/status?key-id=my-key", 200, `{"key-id":"my-key"}`},
		{"GET", "/minio/kms/v1/key/status", 200, `{"key-id":"` + kmstest.DefaultKey + `"}`},
		{"GET", "/minio/kms/v1/key/status?key-id=none", 200, `{"key-id":"none","encryption-error":"key with given key ID does not exist"}`},
		{"GET", "/minio/kms/v1/status", 200, `{"name":"MinIO KES","default-key-id":"` + kmstest.DefaultKey + `","endpoints":{"` + p.kes.Endpoint() + `":"online"}}`},
		{"GET", "/minio/kms/v1/version", 200, `{"version":"kmstest"}`},
		{"GET", "/minio/kms/v1/policy/list", 501, `"Code":"NotImplemented"`},
		{"PUT", "/minio/admin/v3/add-user?accessKey=u", 501, `"Resource":"/minio/admin/v3/add-user"`},
		{"GET", "/minio/admin/v3/get-config-kv?key=api", 501, `"Code":"NotImplemented"`},
		{"GET", "/minio/kms/v1/status?a=1&a=2", 400, `"Code":"InvalidArgument"`},
	}
	for _, test := range tests {
		status, body := do(t, request(t, server, test.method, test.path, secretKey))
		if status != test.status || !strings.Contains(body, test.contains) {
			t.Errorf("%s %s: %d %s, want %d %s", test.method, test.path, status, body, test.status, test.contains)
		}
	}
}

// TestKESAway checks that no client of MinIO's retries the answers while KES is
// away.
func TestKESAway(t *testing.T) {
	t.Parallel()
	server, p := newAPI(t)
	p.kes.Stop()
	for path, want := range map[string]string{
		"POST /minio/kms/v1/key/create?key-id=k":    "500 InternalError",
		"GET /minio/kms/v1/key/list?pattern=%2A":    "500 InternalError",
		"GET /minio/kms/v1/version":                 "500 InternalError",
		"GET /minio/kms/v1/status":                  "200 offline",
		"GET /minio/kms/v1/key/status?key-id=k":     "200 encryption-error",
		"GET /minio/admin/v3/info?metrics=false":    "200 offline",
		"POST /minio/admin/v3/service?action=stop":  "501 NotImplemented",
		"GET /minio/admin/v3/service?action=resart": "501 NotImplemented",
	} {
		method, target, _ := strings.Cut(path, " ")
		status, words, _ := strings.Cut(want, " ")
		if got, body := do(t, request(t, server, method, target, secretKey)); fmt.Sprint(got) != status || !strings.Contains(body, words) {
			t.Errorf("%s: %d %s, want %s", path, got, body, want)
		}
	}
}

func TestOnlyTheRootCredential(t *testing.T) {
	t.Parallel()
	server, p := newAPI(t)
	presigned := request(t, server, "GET", "/minio/kms/v1/key/list?pattern=%2A&X-Amz-Expires=60", "")
	presigned.Header.Del("X-Amz-Content-Sha256")
	uri, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey},
		presigned, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	presigned = must(http.NewRequestWithContext(t.Context(), http.MethodGet, uri, nil))(t)
	body := must(http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/minio/kms/v1/key/create?key-id=k", strings.NewReader("x")))(t)
	body.Header = request(t, server, "POST", "/minio/kms/v1/key/create?key-id=k", secretKey).Header
	for name, test := range map[string]struct {
		r      *http.Request
		status int
		code   string
	}{
		"anonymous":       {request(t, server, "POST", "/minio/kms/v1/key/create?key-id=k", ""), 403, "AccessDenied"},
		"unknown route":   {request(t, server, "GET", "/minio/admin/v3/none", ""), 403, "AccessDenied"},
		"wrong secret":    {request(t, server, "POST", "/minio/admin/v3/service?action=restart", "another-secret"), 403, "SignatureDoesNotMatch"},
		"presigned":       {presigned, 403, "AccessDenied"},
		"unknown":         {requestOf(t, server, "GET", "/minio/admin/v3/info", "nobody", secretKey), 403, "InvalidAccessKeyId"},
		"not the root":    {requestOf(t, server, "POST", "/minio/kms/v1/key/create?key-id=k", otherAccessKey, otherSecretKey), 403, "AccessDenied"},
		"not even itself": {requestOf(t, server, "POST", "/minio/kms/v1/key/create?key-id=k", otherAccessKey, secretKey), 403, "SignatureDoesNotMatch"},
		"another body":    {body, 400, "XAmzContentSHA256Mismatch"},
	} {
		status, body := do(t, test.r)
		if status != test.status || !strings.Contains(body, `"Code":"`+test.code+`"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
		if strings.Contains(body, "canary") {
			t.Errorf("%s: tells a secret: %s", name, body)
		}
	}
	if len(p.restarts) > 0 || p.kes.Requests(kmstest.OpCreate) > 0 {
		t.Errorf("something was done: %v, %v", p.restarts, p.kes.AllRequests())
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	server, p := newAPI(t)
	const path = "/minio/admin/v3/service?action=restart&dry-run=%t&type=2"
	for _, dry := range []bool{true, false} {
		status, body := do(t, request(t, server, "POST", fmt.Sprintf(path, dry), secretKey))
		want := fmt.Sprintf(`{"action":"restart","dryRun":%t,"results":[{"host":%q}]}`, dry, strings.TrimPrefix(server.URL, "http://"))
		if status != 200 || body != want {
			t.Errorf("%d %s, want %s", status, body, want)
		}
	}
	if diff := cmp.Diff([]bool{true, false}, p.restarts); diff != "" {
		t.Error(diff)
	}
	p.restart = errors.Join(errors.New("one is wrong"), errors.New("another is wrong"))
	status, body := do(t, request(t, server, "POST", fmt.Sprintf(path, false), secretKey))
	if status != 400 || !strings.Contains(body, "one is wrong; another is wrong") {
		t.Errorf("%d %s", status, body)
	}
}

// TestAudit checks that the operator's use of KES keys is recorded.
func TestAudit(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t)
	var uses []KeyUse
	s.Audit = func(u KeyUse) { uses = append(uses, u) }
	handler := s.Operator()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(requestIDHeader, "ID")
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	for _, path := range []string{"POST /minio/kms/v1/key/create?key-id=new", "POST /minio/kms/v1/key/create?key-id=new", "GET /minio/kms/v1/key/status?key-id=none"} {
		method, target, _ := strings.Cut(path, " ")
		do(t, request(t, server, method, target, secretKey))
	}
	want := []KeyUse{
		{"ID", "KMSCreateKey", "new", "create", "ok"},
		{"ID", "KMSCreateKey", "new", "create", "kms:KeyAlreadyExists"},
		{"ID", "KMSKeyStatus", "none", "check", "kms:KeyNotFound"},
	}
	if diff := cmp.Diff(want, uses); diff != "" {
		t.Error(diff)
	}
}

func TestKMSMetrics(t *testing.T) {
	t.Parallel()
	server, p := newAPI(t)
	metrics := func() (m struct {
		OK      int            `json:"kms_req_success"`
		Refused int            `json:"kms_req_error"`
		Failed  int            `json:"kms_req_failure"`
		Latency map[string]int `json:"kms_resp_time"`
	}) {
		t.Helper()
		status, body := do(t, request(t, server, "GET", "/minio/kms/v1/metrics", secretKey))
		if err := json.Unmarshal([]byte(body), &m); err != nil || status != 200 {
			t.Fatalf("%d %s: %v", status, body, err)
		}
		return m
	}
	do(t, request(t, server, "GET", "/minio/kms/v1/key/list?pattern=%2A", secretKey))
	do(t, request(t, server, "POST", "/minio/kms/v1/key/create?key-id="+kmstest.DefaultKey, secretKey))
	if m := metrics(); m.OK != 1 || m.Refused != 1 || m.Failed != 0 || m.Latency["2500000000"] != 2 {
		t.Errorf("%+v", m)
	}
	p.kes.Stop()
	do(t, request(t, server, "GET", "/minio/kms/v1/key/list?pattern=%2A", secretKey))
	if m := metrics(); m.OK != 1 || m.Failed == 0 {
		t.Errorf("after KES went away: %+v", m)
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	server, p := newAPI(t)
	status, body := do(t, request(t, server, "GET", "/minio/admin/v3/info?metrics=false", secretKey))
	var got infoMessage
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	if got.Mode != Online || len(got.Servers) != 1 || got.Servers[0].Endpoint != host || got.Servers[0].State != Online ||
		got.Servers[0].Uptime < 1 || got.Servers[0].Version != "ssegw test" {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]kmsInfo{{Online, p.kes.Endpoint(), "kmstest"}}, got.Services.KMSStatus); diff != "" {
		t.Error(diff)
	}
}

// TestScrape uses valid tokens, as `mc admin prometheus generate` makes them,
// and invalid ones.
func TestScrape(t *testing.T) {
	t.Parallel()
	server, _ := newAPI(t)
	claims := func(change func(c *jwt.RegisteredClaims)) *jwt.RegisteredClaims {
		c := &jwt.RegisteredClaims{Subject: accessKey, Issuer: "prometheus", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))}
		change(c)
		return c
	}
	same := func(*jwt.RegisteredClaims) {}
	for name, test := range map[string]struct {
		method jwt.SigningMethod
		claims *jwt.RegisteredClaims
		key    any
		status int
	}{
		"as mc makes it": {jwt.SigningMethodHS512, claims(same), []byte(secretKey), 200},
		"wrong secret":   {jwt.SigningMethodHS512, claims(same), []byte("another"), 403},
		"no signature":   {jwt.SigningMethodNone, claims(same), jwt.UnsafeAllowNoneSignatureType, 403},
		"weaker":         {jwt.SigningMethodHS256, claims(same), []byte(secretKey), 403},
		"expired":        {jwt.SigningMethodHS512, claims(func(c *jwt.RegisteredClaims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute)) }), []byte(secretKey), 403},
		"no expiry":      {jwt.SigningMethodHS512, claims(func(c *jwt.RegisteredClaims) { c.ExpiresAt = nil }), []byte(secretKey), 403},
		"of another":     {jwt.SigningMethodHS512, claims(func(c *jwt.RegisteredClaims) { c.Subject = "somebody" }), []byte(secretKey), 403},
		"for another":    {jwt.SigningMethodHS512, claims(func(c *jwt.RegisteredClaims) { c.Issuer = "web" }), []byte(secretKey), 403},
	} {
		r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/minio/v2/metrics/cluster", nil))(t)
		r.Header.Set("Authorization", "Bearer "+must(jwt.NewWithClaims(test.method, test.claims).SignedString(test.key))(t))
		resp := must(http.DefaultClient.Do(r))(t)
		body := must(io.ReadAll(resp.Body))(t)
		resp.Body.Close()
		if resp.StatusCode != test.status || strings.Contains(string(body), "test_total 0") != (test.status == 200) {
			t.Errorf("%s: %d %.100s", name, resp.StatusCode, body)
		}
	}
	if status, body := do(t, must(http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/minio/v2/metrics/cluster", nil))(t)); status != 403 {
		t.Errorf("no token: %d %s", status, body)
	}
}
