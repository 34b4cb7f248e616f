package rescue

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// openAt opens s from a store with the given answers to GET.
func openAt(t *testing.T, s sealed, header string, get http.HandlerFunc) ([]byte, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"first"`)
		if header != "" {
			w.Header().Set(sealer.MetadataKey, header)
		}
		if r.Method == http.MethodGet {
			get(w, r)
		} else if len(s.stored) > 0 {
			w.Header().Set("Content-Length", strconv.Itoa(len(s.stored)))
		}
	}))
	t.Cleanup(server.Close)
	store := upstream.New(upstream.Config{Endpoint: must(url.Parse(server.URL))(t), Region: "us-east-1"})
	o, err := FromStore(t.Context(), store.Anonymous(nil), s3.CopySource{Bucket: name.Bucket, Key: name.Key})
	if err != nil {
		return nil, err
	}
	var plain bytes.Buffer
	_, _, err = o.Open(t.Context(), s.key, &plain)
	return plain.Bytes(), err
}

// TestFromStore opens an object from stores with and without ranges, and from
// stores that fail in the middle.
func TestFromStore(t *testing.T) {
	t.Parallel()
	s := multipart(t, 70000, 200000)
	ranged := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.stored))
	}
	whole := func(w http.ResponseWriter, _ *http.Request) { w.Write(s.stored) }
	for what, get := range map[string]http.HandlerFunc{"ranges": ranged, "no ranges": whole} {
		if plain, err := openAt(t, s, s.header, get); err != nil || !bytes.Equal(plain, s.plain) {
			t.Errorf("%s: %d bytes, %v", what, len(plain), err)
		}
	}

	_, err := openAt(t, s, s.header, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"second"`)
		ranged(w, r)
	})
	if !errors.Is(err, object.ErrChanged) {
		t.Errorf("another object: %v", err)
	}
	// A connection that breaks is no proof of tampering.
	plain, err := openAt(t, s, s.header, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "bytes=0-270191" { // the body
			w.Header().Set("Content-Range", "bytes 0-270191/"+strconv.Itoa(len(s.stored)))
			w.Header().Set("Content-Length", "270192")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.Copy(w, bytes.NewReader(s.stored[:100000]))
			panic(http.ErrAbortHandler)
		}
		ranged(w, r)
	})
	if err == nil || errors.Is(err, sealer.ErrNotAuthentic) || !bytes.HasPrefix(s.plain, plain) {
		t.Errorf("broken connection: %d bytes, %v", len(plain), err)
	}
	if _, err := openAt(t, s, "", ranged); !errors.Is(err, sealer.ErrNotSealed) {
		t.Errorf("not sealed: %v", err)
	}
	if _, err := openAt(t, s, "x", ranged); !errors.Is(err, sealer.ErrMalformed) {
		t.Errorf("malformed: %v", err)
	}
}
