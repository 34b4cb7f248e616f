package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// chunked encodes data as aws-chunked, in chunks of n bytes, with a trailer.
func chunked(data []byte, n int, trailer string) string {
	var b strings.Builder
	for len(data) > 0 {
		m := min(n, len(data))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", m, data[:m])
		data = data[m:]
	}
	fmt.Fprintf(&b, "0\r\n%s\r\n\r\n", trailer)
	return b.String()
}

func trailerOf(data []byte) string {
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
	return trailerName + ":" + base64.StdEncoding.EncodeToString(sum)
}

func TestSinkVerifiesChunkedBodies(t *testing.T) {
	data := block[:300_000]
	whole := chunked(data, 70_000, trailerOf(data))
	tests := []struct {
		name, body string
		size       int
		want       int
	}{
		{"whole", whole, len(data), http.StatusOK},
		{"one chunk", chunked(data, len(data), trailerOf(data)), len(data), http.StatusOK},
		{"empty", chunked(nil, 1, trailerOf(nil)), 0, http.StatusOK},
		{"cut in a chunk", whole[:200_000], len(data), http.StatusBadRequest},
		{"cut before the trailer", whole[:strings.LastIndex(whole, "0\r\n")], len(data), http.StatusBadRequest},
		{"wrong checksum", chunked(data, 70_000, trailerOf(data[1:])), len(data), http.StatusBadRequest},
		{"no checksum", chunked(data, 70_000, ""), len(data), http.StatusBadRequest},
		{"longer than declared", whole, len(data) - 1, http.StatusBadRequest},
		{"shorter than declared", whole, len(data) + 1, http.StatusBadRequest},
		{"bad chunk size", "-1\r\n", len(data), http.StatusBadRequest},
	}
	for _, prefix := range []string{"kept/", discarded} {
		for _, tt := range tests {
			t.Run(prefix+tt.name, func(t *testing.T) {
				s := newSink()
				do(s, http.MethodPut, "/b", "", nil)
				got := do(s, http.MethodPut, "/b/"+prefix+"o", tt.body, http.Header{
					"X-Amz-Content-Sha256":         {string(trailer)},
					"X-Amz-Trailer":                {trailerName},
					"X-Amz-Decoded-Content-Length": {strconv.Itoa(tt.size)},
				})
				if got.Code != tt.want {
					t.Fatalf("PUT: status %d, want %d: %s", got.Code, tt.want, got.Body)
				}
				read := do(s, http.MethodGet, "/b/"+prefix+"o", "", nil)
				if kept := read.Code == http.StatusOK; kept != (tt.want == http.StatusOK && (prefix != discarded || tt.size == 0)) {
					t.Errorf("GET: status %d after a PUT with %d", read.Code, got.Code)
				} else if kept && !bytes.Equal(read.Body.Bytes(), data[:tt.size]) {
					t.Error("GET returns other bytes")
				}
			})
		}
	}
}

func TestSinkRefusesOtherFramings(t *testing.T) {
	s := newSink()
	do(s, http.MethodPut, "/b", "", nil)
	for _, payload := range []string{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", string(trailer)} {
		got := do(s, http.MethodPut, "/b/o", "0\r\n\r\n", http.Header{"X-Amz-Content-Sha256": {payload}})
		if got.Code != http.StatusNotImplemented {
			t.Errorf("%s without a CRC32C trailer: status %d", payload, got.Code)
		}
	}
}

func TestSinkConditionsAndRanges(t *testing.T) {
	s := newSink()
	steps := []struct {
		name, method, path, body string
		header                   http.Header
		status                   int
		want                     string // body of a GET
	}{
		{"no bucket", http.MethodPut, "/b/o", "x", nil, 404, ""},
		{"head of no bucket", http.MethodHead, "/b", "", nil, 404, ""},
		{"bucket", http.MethodPut, "/b", "", nil, 200, ""},
		{"bucket again", http.MethodPut, "/b", "", nil, 200, ""},
		{"no object", http.MethodGet, "/b/o", "", nil, 404, "NoSuchKey"},
		{"create", http.MethodPut, "/b/o", "first", http.Header{"If-None-Match": {"*"}}, 200, ""},
		{"create again", http.MethodPut, "/b/o", "second", http.Header{"If-None-Match": {"*"}}, 412, ""},
		{"replace another", http.MethodPut, "/b/o", "second", http.Header{"If-Match": {`"x"`}}, 412, ""},
		{"get", http.MethodGet, "/b/o", "", nil, 200, "first"},
		{"range", http.MethodGet, "/b/o", "", http.Header{"Range": {"bytes=1-2"}}, 206, "ir"},
		{"list", http.MethodGet, "/b", "", nil, 200, "<Key>o</Key>"},
		{"delete", http.MethodDelete, "/b/o", "", nil, 204, ""},
		{"get deleted", http.MethodGet, "/b/o", "", nil, 404, "NoSuchKey"},
	}
	for _, st := range steps {
		got := do(s, st.method, st.path, st.body, st.header)
		if got.Code != st.status || !strings.Contains(got.Body.String(), st.want) {
			t.Errorf("%s: status %d %q, want %d %q", st.name, got.Code, got.Body, st.status, st.want)
		}
	}
}

func TestSinkKeepsMetadata(t *testing.T) {
	s := newSink()
	do(s, http.MethodPut, "/b", "", nil)
	put := do(s, http.MethodPut, "/b/o", "x", http.Header{
		"Content-Type": {"text/plain"}, "X-Amz-Meta-Colour": {"blue"}, "X-Amz-Date": {"20260101T000000Z"},
	})
	get := do(s, http.MethodGet, "/b/o", "", nil).Header()
	if get.Get("Content-Type") != "text/plain" || get.Get("X-Amz-Meta-Colour") != "blue" || get.Get("X-Amz-Date") != "" {
		t.Errorf("headers %v", get)
	}
	if put.Header().Get("ETag") == "" || put.Header().Get("ETag") != get.Get("ETag") {
		t.Errorf("ETag %s of PUT, %s of GET", put.Header().Get("ETag"), get.Get("ETag"))
	}
}

func do(s *sink, method, path, body string, h http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, io.Reader(strings.NewReader(body)))
	for name, values := range h {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}
