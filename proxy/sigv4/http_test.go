package sigv4

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestOverHTTP verifies requests as net/http passes them to a server. It
// removes Host, Transfer-Encoding and others from the header map.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	var got []byte
	var refusal error
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got, refusal = nil, nil
		auth, err := testVerifier().Verify(received(t, req))
		if err != nil {
			refusal = err
			return
		}
		body, err := auth.Body(req.Body)
		if err != nil {
			refusal = err
			return
		}
		got, refusal = io.ReadAll(body)
	}))
	defer server.Close()
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	tests := []struct {
		name    string
		chunked bool
		want    string
		edit    func(req *http.Request)
	}{
		{"content-length signed", false, "", func(*http.Request) {}},
		{"chunked", true, "", func(*http.Request) {}},
		{"body cut", false, CodeContentSHA256Mismatch, func(req *http.Request) {
			req.Body = io.NopCloser(bytes.NewReader(append(bytes.Clone(content[:99_999]), '!')))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/b/k", bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			if tt.chunked {
				req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(content)), -1
			}
			signHeader(t, req, hexSHA256(string(content)))
			tt.edit(req)
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if code(refusal) != tt.want || tt.want == "" && !bytes.Equal(got, content) {
				t.Errorf("read %d bytes, %v; want %q", len(got), refusal, tt.want)
			}
		})
	}
}

func TestHeadersOutsideTheMap(t *testing.T) {
	t.Parallel()
	r := &Request{Host: " h ", ContentLength: -1}
	tests := []struct {
		name, want string
		ok         bool
	}{
		{"host", "h", true}, {"transfer-encoding", "chunked", true}, {"expect", "100-continue", true},
		{"content-length", "-1", false}, {"accept-encoding", "", false}, {"range", "", false},
	}
	for _, tt := range tests {
		if got, ok := canonicalHeader(r, tt.name, collapse); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: got %q, %v", tt.name, got, ok)
		}
	}
}
