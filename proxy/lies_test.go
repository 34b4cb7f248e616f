package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"ssegw/proxy/s3"
)

// lie is a hook that answers with a status, and with the header that a right
// answer has.
func lie(status int) hook {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
		w.Header().Set("Last-Modified", "Thu, 01 Dec 1994 16:00:00 GMT")
		w.Header().Set("Location", "http://store.invalid/bucket/k")
		w.WriteHeader(status)
	}
}

// TestImpossibleAnswers: answers that the request cannot have do not reach the
// client.
func TestImpossibleAnswers(t *testing.T) {
	t.Parallel()
	requests := map[string]clientRequest{
		"get":         {method: "GET", path: "/bucket/k"},
		"range":       {method: "GET", path: "/bucket/k", header: headers("Range", "bytes=-5")},
		"head":        {method: "HEAD", path: "/bucket/k"},
		"attributes":  {method: "GET", path: "/bucket/k", query: url.Values{"attributes": {""}}, header: headers(s3.HeaderObjectAttributes, "ETag")},
		"tagging":     {method: "GET", path: "/bucket/k", query: url.Values{"tagging": {""}}},
		"list":        {method: "GET", path: "/bucket"},
		"versions":    {method: "GET", path: "/bucket", query: url.Values{"versions": {""}}},
		"uploads":     {method: "GET", path: "/bucket", query: url.Values{"uploads": {""}}},
		"buckets":     {method: "GET", path: "/"},
		"head bucket": {method: "HEAD", path: "/bucket"},
		"put":         {method: "PUT", path: "/bucket/k", body: []byte("data")},
		"put sealed":  {method: "PUT", path: "/bucket/k", body: []byte("data"), header: headers(s3.HeaderSSE, s3.AES256)},
		"copy":        {method: "PUT", path: "/bucket/k2", header: headers(s3.HeaderCopySource, "/bucket/k")},
		"delete":      {method: "DELETE", path: "/bucket/k"},
		"create":      {method: "POST", path: "/bucket/k", query: url.Values{"uploads": {""}}},
		"batch":       {method: "POST", path: "/bucket", query: url.Values{"delete": {""}}, body: []byte(`<Delete><Object><Key>k</Key><Size>4</Size></Object></Delete>`)},
	}
	for _, status := range []int{203, 205, 206, 226, 299, 300, 301, 302, 304, 307, 308, 399, 412, 416} {
		for name, c := range requests {
			t.Run(fmt.Sprintf("%s/%d", name, status), func(t *testing.T) {
				t.Parallel()
				g := newGateway(t)
				g.put("/bucket/k", []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
				g.upstream.on("", "/", lie(status))
				g.upstream.on("", "/"+testStateBucket, passOn)
				r := g.do(c)
				if want := "ServiceUnavailable"; r.status != 503 || r.err != nil || c.method != http.MethodHead && r.code != want {
					t.Errorf("answer %d %s (%v), want 503 %s; %v", r.status, r.code, r.err, want, r.header)
				}
				if r.header.Get("Location") != "" {
					t.Error("the store's Location reaches the client")
				}
			})
		}
	}
}

// passOn is a hook that changes nothing.
func passOn(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }

// TestPossibleAnswers: answers that a condition or a range asks for are passed
// on.
func TestPossibleAnswers(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", []byte("data")).want(t, 200, "")
	for _, tt := range []struct {
		c      clientRequest
		status int
	}{
		{clientRequest{method: "GET", path: "/bucket/k", header: headers("If-None-Match", "*")}, 304},
		{clientRequest{method: "GET", path: "/bucket/k", header: headers("If-Match", `"other"`)}, 412},
		{clientRequest{method: "PUT", path: "/bucket/k", header: headers("If-None-Match", "*")}, 412},
		{clientRequest{method: "DELETE", path: "/bucket/k", header: headers("If-Match", `"other"`)}, 412},
		{clientRequest{method: "GET", path: "/bucket/k", header: headers("Range", "bytes=1-2")}, 206},
		{clientRequest{method: "GET", path: "/bucket/k", header: headers("Range", "bytes=9-")}, 416},
	} {
		if r := g.do(tt.c); r.status != tt.status {
			t.Errorf("%s %v: %d, want %d", tt.c.method, tt.c.header, r.status, tt.status)
		}
	}
}

// TestLooksHoldNoAnswer: concurrent lookups of entries do not write into the
// client's answer.
func TestLooksHoldNoAnswer(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	var batch string
	for i := range 64 {
		key := fmt.Sprintf("k%02d", i)
		g.put("/bucket/"+key, []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
		batch += "<Object><Key>" + key + "</Key><Size>4</Size></Object>"
	}
	for _, status := range []int{304, 412, 416} {
		replica := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
		g.upstream.on(http.MethodHead, "/bucket/", lie(status))
		replica.do(clientRequest{method: "GET", path: "/bucket"}).want(t, 503, "ServiceUnavailable")
		replica.do(clientRequest{
			method: "POST", path: "/bucket", query: url.Values{"delete": {""}}, body: []byte("<Delete>" + batch + "</Delete>"),
		}).want(t, 503, "ServiceUnavailable")
		g.upstream.unhook()
	}
}
