package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
)

// deleteOf is the document of a DeleteObjects for n objects, each with the
// condition.
func deleteOf(n int, condition string) []byte {
	var doc strings.Builder
	doc.WriteString("<Delete>")
	for i := range n {
		fmt.Fprintf(&doc, "<Object><Key>k%d</Key>%s</Object>", i, condition)
	}
	doc.WriteString("</Delete>")
	return []byte(doc.String())
}

// TestDeletesAreBounded: a DeleteObjects of more than 1,000 objects is refused
// before the store sees anything of it, with conditions or without.
func TestDeletesAreBounded(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	send := func(doc []byte) clientAnswer {
		return g.do(clientRequest{method: "POST", path: "/bucket", query: map[string][]string{"delete": {""}}, body: doc})
	}
	for _, condition := range []string{"", "<Size>5</Size>", "<ETag>x-1</ETag>"} {
		send(deleteOf(maxDeletes+1, condition)).want(t, 400, "MalformedXML")
		if seen := g.upstream.requests("/"); len(seen) != 0 {
			t.Fatalf("%q: the store saw %d requests", condition, len(seen))
		}
		send(deleteOf(maxDeletes, condition)).want(t, 200, "")
		g.upstream.forget()
	}
}

// TestLooksAreBounded: all clients together have a limited number of concurrent
// lookups for listings and deletes.
func TestLooksAreBounded(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for i := range 8 {
		g.put(fmt.Sprintf("/bucket/k%d", i), []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	}
	replica := newGateway(t, withUpstream(g.upstream), withKES(g.kes)) // whose cache is empty
	const bound = 3
	replica.lookups = task.NewShare(bound, bound)
	var now, most, seen atomic.Int32
	var first sync.WaitGroup // the looks that wait for each other, so that they meet
	first.Add(bound)
	replica.upstream.on(http.MethodHead, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		n := now.Add(1)
		if seen.Add(1) <= bound {
			first.Done()
			first.Wait()
		}
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		next.ServeHTTP(w, r)
		now.Add(-1)
	})
	done := make(chan bool)
	for range 4 {
		go func() {
			replica.do(clientRequest{method: "POST", path: "/bucket", query: map[string][]string{"delete": {""}}, body: deleteOf(100, "<Size>7</Size>")})
			replica.list(testBucket, "list-type=2")
			done <- true
		}()
	}
	for range 4 {
		<-done
	}
	if n := most.Load(); n != bound {
		t.Errorf("%d looks at one time", n)
	}
}

// TestStrangersLooks: any number of anonymous listings and deletes leaves
// lookups to clients with credentials, at a store whose pages have no metadata.
func TestStrangersLooks(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.upstream.makePublic(testBucket)
	for i := range 20 {
		g.put(fmt.Sprintf("/bucket/pub/%02d", i), []byte("x")).want(t, 200, "")
	}
	g.put("/bucket/own/1", []byte("x")).want(t, 200, "")
	other := newGateway(t, withUpstream(g.upstream), withKES(g.kes)) // nothing is known there
	strangers := maxLookups/pageLookups + 1
	release, waiting := make(chan bool), make(chan bool, 20*strangers)
	g.upstream.on(http.MethodHead, "/bucket/pub", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		waiting <- true
		<-release
		next.ServeHTTP(w, r)
	})
	answers := make(chan clientAnswer, strangers)
	for range strangers {
		go func() {
			answers <- other.do(clientRequest{method: "GET", path: "/bucket", query: map[string][]string{"prefix": {"pub/"}}, anonymous: true})
		}()
	}
	for range strangersLookups {
		<-waiting
	}
	other.do(clientRequest{method: "GET", path: "/bucket", query: map[string][]string{"prefix": {"own/"}}}).want(t, 200, "")
	if len(waiting) != 0 {
		t.Errorf("strangers have over %d looks", strangersLookups)
	}
	close(release)
	for range strangers {
		(<-answers).want(t, 200, "")
	}
}

// TestListingsMakeProgress: the gateway does not follow a store that repeats a
// page forever.
func TestListingsMakeProgress(t *testing.T) {
	t.Parallel()
	// Of the records of an upload.
	g := newGateway(t).withSmallParts()
	u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
	u.part(1, pattern(2000, 1))
	repeated := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !r.URL.Query().Has("list-type") {
			next.ServeHTTP(w, r)
			return
		}
		q := r.URL.Query()
		q.Del("start-after")
		r.URL.RawQuery = q.Encode()
		rewriteAnswer(w, r, next, "<IsTruncated>false</IsTruncated>", "<IsTruncated>true</IsTruncated>")
	}
	g.upstream.on(http.MethodGet, "/"+testStateBucket, repeated)
	u.completeWith(u.listed).want(t, 503, "ServiceUnavailable")
	g.upstream.unhook()

	// Of the parts that the store has.
	g.upstream.on(http.MethodGet, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		q := r.URL.Query()
		q.Del("part-number-marker")
		r.URL.RawQuery = q.Encode()
		rewriteAnswer(w, r, next, "<IsTruncated>false</IsTruncated>", "<IsTruncated>true</IsTruncated>")
	})
	g.do(u.request(http.MethodGet, 0, nil)).want(t, 503, "ServiceUnavailable")
	g.upstream.unhook()
	u.complete()
}

// TestLongPages: a page with more entries than stores send is refused.
func TestLongPages(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.on(http.MethodGet, "/bucket", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/xml")
		_, _ = io.WriteString(w, "<ListBucketResult>")
		for i := range 10_001 {
			fmt.Fprintf(w, "<Contents><Key>k%d</Key><Size>1</Size></Contents>", i)
		}
		_, _ = io.WriteString(w, "</ListBucketResult>")
	})
	g.do(clientRequest{method: "GET", path: "/bucket"}).want(t, 503, "ServiceUnavailable")
}

// TestConnectionsAreBounded: if the store does not answer, further requests
// wait for a connection instead of opening more than the limit.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withUpstreamConfig(func(c *upstream.Config) { c.MaxConns = 2 }))
	g.put("/bucket/k", []byte("data")).want(t, 200, "")
	var now, most atomic.Int32
	g.upstream.on(http.MethodGet, "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		most.Store(max(most.Load(), now.Add(1)))
		next.ServeHTTP(w, r)
		now.Add(-1)
	})
	done := make(chan clientAnswer)
	for range 10 {
		go func() { done <- g.get("/bucket/k") }()
	}
	for range 10 {
		if a := <-done; a.status != 200 {
			t.Errorf("%d %s", a.status, a.code)
		}
	}
	if n := most.Load(); n > 2 {
		t.Errorf("%d connections", n)
	}
}

// TestAnswerTimeout: the timeout for the answer of an ordinary request is
// shorter than that for copies and long bodies.
func TestAnswerTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const answers = 13 * time.Second
		g := newGateway(t, onClock())
		release := make(chan struct{})
		g.upstream.on("", "/bucket", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			io.Copy(io.Discard, r.Body)
			<-release
		})
		defer close(release)
		for _, r := range []clientRequest{
			{method: "GET", path: "/bucket/k"}, {method: "GET", path: "/bucket"}, {method: "DELETE", path: "/bucket/k"},
			{method: "PUT", path: "/bucket/k", body: []byte("data")}, {method: "PUT", path: "/bucket/k", body: pattern(1<<20, 1), header: headers(s3.HeaderSSE, s3.AES256)},
		} {
			start := time.Now()
			g.do(r).want(t, 503, "ServiceUnavailable")
			if took := time.Since(start); took < answers || took > answers+time.Second {
				t.Errorf("%s %s: answered after %s", r.method, r.path, took)
			}
		}
	})
}
