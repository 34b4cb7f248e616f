package proxy

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/kms/kmstest"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
)

// makePublic lets anonymous requests read and write a bucket at the store.
func (u *memUpstream) makePublic(bucket string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.public[bucket] = true
}

// openUploads returns the IDs of the uploads that are neither complete nor
// aborted.
func (u *memUpstream) openUploads() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Sorted(maps.Keys(u.uploads))
}

// started begins a request: the client sends the head and n bytes of the body.
func (g *testGateway) started(c clientRequest, n int) {
	g.t.Helper()
	conn := g.dial()
	g.t.Cleanup(func() { _ = conn.Close() })
	g.writePart(conn, c, n)
}

// TestStrangersPlaces: anonymous requests, and forms whose policy is not yet
// verified, take at most half of the places.
func TestStrangersPlaces(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(g *testGateway){
		"puts": func(g *testGateway) {
			g.started(clientRequest{method: "PUT", path: "/bucket/k", body: pattern(1000, 1), anonymous: true}, 10)
		},
		"forms": func(g *testGateway) {
			form := testForm{}.encode(g.t)
			g.started(clientRequest{method: "POST", path: "/bucket", body: form, anonymous: true,
				header: headers("Content-Type", "multipart/form-data; boundary="+formBoundary)}, 100)
		},
		"deletes": func(g *testGateway) {
			g.started(clientRequest{method: "POST", path: "/bucket", query: map[string][]string{"delete": {""}}, body: pattern(1000, 1), anonymous: true}, 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withConfig(func(c *Config) { c.MaxRequests = 6 }))
			g.upstream.makePublic(testBucket)
			g.put("/bucket/here", []byte("data")).want(t, 200, "")
			for range 3 {
				start(g)
			}
			eventually(t, "the places to be taken", func() bool { _, n := g.places.Taken(); return n == 3 })
			g.do(clientRequest{method: "GET", path: "/bucket/here", anonymous: true}).want(t, 503, "SlowDown")
			for range 3 {
				start(g)
			}
			g.get("/bucket/here").want(t, 200, "")
			g.put("/bucket/signed", []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
		})
	}
}

// TestFullIsCheap: with all places taken and no request allowed to wait, a
// request is refused before it is parsed and verified, with one line in the log.
func TestFullIsCheap(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.places = task.NewPlaces(1, 0)
	bad := clientRequest{method: "GET", path: "/bucket/k", anonymous: true, header: headers("Authorization", "AWS4-HMAC-SHA256 nonsense")}
	g.do(bad).want(t, 400, "AuthorizationHeaderMalformed")
	g.started(clientRequest{method: "PUT", path: "/bucket/k", body: pattern(1000, 1)}, 10)
	eventually(t, "the place to be taken", func() bool { n, _ := g.places.Taken(); return n == 1 })
	lines := g.logs.Len()
	r := g.do(bad)
	r.want(t, 503, "SlowDown")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if n := g.logs.Len() - lines; n != 1 {
		t.Errorf("%d lines in the log", n)
	}
}

// TestVerifiedFormLeavesStrangers: once its policy is verified, a form counts
// as a request with a credential.
func TestVerifiedFormLeavesStrangers(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withConfig(func(c *Config) { c.MaxRequests = 2 }))
	g.upstream.makePublic(testBucket)
	form := testForm{file: pattern(5000, 1)}.encode(t)
	g.started(clientRequest{method: "POST", path: "/bucket", body: form, anonymous: true,
		header: headers("Content-Type", "multipart/form-data; boundary="+formBoundary)}, len(form)-1000)
	eventually(t, "the form to be verified", func() bool { all, strangers := g.places.Taken(); return all == 1 && strangers == 0 })
	g.do(clientRequest{method: "GET", path: "/bucket", anonymous: true}).want(t, 200, "")
}

// TestShares: memory held by anonymous requests does not make requests with a
// credential wait.
func TestShares(t *testing.T) {
	t.Parallel()
	full := func(s task.Share) task.Share {
		if !s.Strangers.TryAcquire(1 << 10) {
			t.Fatal("the share is smaller than the test takes it for")
		}
		return s
	}
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.upstream.makePublic(testBucket)
	g.bodies, g.documents, g.forms = full(task.NewShare(1<<20, 1<<10)), full(task.NewShare(1<<20, 1<<10)), full(task.NewShare(8<<20, 1<<10))
	g.reserveTimeout = time.Millisecond
	list := []byte(`<Delete><Object><Key>gone</Key></Object></Delete>`)
	requests := map[string]clientRequest{
		"body":     {method: "PUT", path: "/bucket/k", body: []byte("data")},
		"document": {method: "POST", path: "/bucket", query: map[string][]string{"delete": {""}}, body: list},
		"form": {
			method: "POST", path: "/bucket", body: testForm{anonymous: true, file: []byte("data")}.encode(t),
			header: headers("Content-Type", "multipart/form-data; boundary="+formBoundary),
		},
	}
	for name, r := range requests {
		r.anonymous = true
		if a := g.do(r); a.status != 503 || a.code != "SlowDown" {
			t.Errorf("%s, anonymous: %d %s", name, a.status, a.code)
		}
	}
	for _, name := range []string{"body", "document"} {
		if a := g.do(requests[name]); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.code)
		}
	}
	g.form(testForm{file: []byte("data")}).want(t, 204, "")
}

// TestDocumentsAreBounded: the memory for documents has one limit, and is
// released.
func TestDocumentsAreBounded(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	const room = 100 << 10
	g.documents = task.NewShare(room, room)
	g.reserveTimeout = time.Millisecond
	document := func(size int) clientRequest {
		return clientRequest{method: "POST", path: "/bucket", query: map[string][]string{"delete": {""}}, body: slices.Concat(
			[]byte(`<Delete><Object><Key>gone</Key></Object>`), bytes.Repeat([]byte(" "), size-49), []byte(`</Delete>`))}
	}
	g.started(document(90<<10), 1000)
	eventually(t, "the document to be under way", func() bool {
		if g.documents.Known.TryAcquire(20 << 10) {
			g.documents.Known.Release(20 << 10)
			return false
		}
		return true
	})
	g.do(document(20<<10)).want(t, 503, "SlowDown")
	g.do(document(1<<10)).want(t, 200, "")
	for range 5 {
		g.do(document(1<<10)).want(t, 200, "")
	}
	if !g.documents.Known.TryAcquire(10 << 10) {
		t.Error("documents that were answered still count")
	}
}

// drip is a client that sends one byte each interval, over a connection with a
// deadline.
type drip struct {
	http.ResponseWriter
	interval time.Duration
	deadline time.Time
}

func (d *drip) SetReadDeadline(at time.Time) error { d.deadline = at; return nil }

func (d *drip) Read(p []byte) (int, error) {
	if wait := time.Until(d.deadline); wait < d.interval {
		time.Sleep(wait)
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(d.interval)
	return copy(p, "x"), nil
}

// TestLeastRate: a body with a minimum rate that comes too slowly is given up,
// even if it never pauses. The time that the store takes does not count.
func TestLeastRate(t *testing.T) {
	t.Parallel()
	const idle = 30 * time.Second
	run := func(interval, store time.Duration, least int64, reads int) (took time.Duration, err error) {
		synctest.Test(t, func(*testing.T) {
			d := &drip{interval: interval}
			r := &payload.RollingReader{R: d, Control: http.NewResponseController(d), Idle: idle, Least: least}
			began := time.Now()
			for range reads {
				if _, err = r.Read(make([]byte, 1)); err != nil {
					break
				}
				time.Sleep(store)
			}
			took = time.Since(began)
		})
		return took, err
	}
	if took, err := run(12*time.Second, 0, minRate, 1000); !errors.Is(err, os.ErrDeadlineExceeded) || took > idle+time.Second {
		t.Errorf("a drip ended after %s with %v", took, err)
	}
	if _, err := run(12*time.Second, 0, 0, 1000); err != nil {
		t.Errorf("a drip that may: %v", err)
	}
	if _, err := run(time.Second/(2*minRate), time.Hour, minRate, 1000); err != nil {
		t.Errorf("a slow store: %v", err)
	}
	if _, err := run(31*time.Second, 0, 0, 1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a body that stands still: %v", err)
	}
}

// heldBody is a body whose second Read stays until it is released, over a
// connection with a deadline.
type heldBody struct {
	*httptest.ResponseRecorder
	reads     int
	held      chan struct{} // closed at the second Read
	release   chan struct{}
	deadlines []time.Time // set after the handler has ended
	ended     bool
}

func (b *heldBody) SetReadDeadline(at time.Time) error {
	if b.ended {
		b.deadlines = append(b.deadlines, at)
	}
	return nil
}

func (b *heldBody) SetWriteDeadline(time.Time) error { return nil }

func (b *heldBody) Read(p []byte) (int, error) {
	switch b.reads++; b.reads {
	case 1:
	case 2:
		close(b.held)
		<-b.release
	default:
		return 0, http.ErrBodyReadAfterClose
	}
	return copy(p, "x"), nil
}

func (b *heldBody) Close() error { return nil }

// TestLateRead: if the store refuses a body early, the transport may still read
// the client's body after the request is answered. That read leaves the
// deadline of the connection alone, because the next request may have begun.
func TestLateRead(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	for _, test := range []clientRequest{
		{method: http.MethodPut, path: "/bucket/k"},
		{method: http.MethodPut, path: "/bucket/k", header: headers(s3.HeaderSSE, s3.AES256)},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, onClock())
			b := &heldBody{ResponseRecorder: httptest.NewRecorder(), held: make(chan struct{}), release: make(chan struct{})}
			g.upstream.on(http.MethodPut, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				<-b.held
				memFail(w, 503, "SlowDown", "slower please")
			})
			test.mode, test.body = modeUnsigned, make([]byte, size)
			r := g.request(test)
			r.RequestURI, r.Body = r.URL.RequestURI(), b
			g.ServeHTTP(b, r)
			if b.Code != 503 {
				t.Errorf("status %d: %s", b.Code, b.Body)
			}
			b.ended = true
			close(b.release)
			synctest.Wait()
			if b.reads < 3 || len(b.deadlines) > 0 {
				t.Errorf("%d reads; deadlines set too late: %v", b.reads, b.deadlines)
			}
		})
	}
}

// TestLeastRateApplies: the minimum rate is for everything that the gateway
// holds in memory, and for everything that anonymous clients send.
func TestLeastRateApplies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		credential *Credential
		route      s3.Route
		size       int64
		want       int64
	}{
		{&Credential{}, s3.Route{Action: s3.PutObject}, smallBody, minRate},
		{&Credential{}, s3.Route{Action: s3.PutObject}, smallBody + 1, 0},
		{&Credential{}, s3.Route{Action: s3.DeleteObjects, XMLBody: true}, 4 << 20, minRate},
		{nil, s3.Route{Action: s3.PutObject}, smallBody + 1, minRate},
	} {
		c := &call{credential: tt.credential, req: &s3.Request{Route: tt.route}}
		if got := leastRate(c, tt.size); got != tt.want {
			t.Errorf("%s of %d bytes: %d", tt.route.Action, tt.size, got)
		}
	}
}

// TestVerifiedFormTakesItsTime: a form has a minimum rate until it is verified.
// Its file has none.
func TestVerifiedFormTakesItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const idle = 4 * time.Second
		g := newGateway(t, onClock(), withConfig(func(c *Config) { c.IdleTimeout = idle }))
		g.upstream.makePublic(testBucket)
		for _, tt := range []struct {
			name      string
			anonymous bool
			late      int // bytes
			stored    bool
		}{
			{"verified", false, 100, true},
			{"not verified yet", false, 3000, false},
			{"anonymous", true, 100, false},
		} {
			form := testForm{file: pattern(1000, 1), anonymous: tt.anonymous}.encode(t)
			conn := g.dial()
			rest, r := g.writePart(conn, clientRequest{method: "POST", path: "/bucket", body: form, anonymous: true,
				header: headers("Content-Type", "multipart/form-data; boundary="+formBoundary)}, max(len(form)-tt.late, 10))
			for i := range rest[:20] {
				time.Sleep(idle / 2)
				if _, err := conn.Write(rest[i : i+1]); err != nil {
					break // the gateway has given up
				}
			}
			_, _ = conn.Write(rest[20:])
			if a := readAnswer(readResponse(conn, r)); (a.status == http.StatusNoContent) != tt.stored {
				t.Errorf("%s: %d %s %v", tt.name, a.status, a.code, a.err)
			}
			_ = conn.Close()
		}
	})
}

// TestConsent: an anonymous write takes no memory and no call to KES before the
// store has confirmed that the client may write. The probing write leaves
// nothing behind.
func TestConsent(t *testing.T) {
	t.Parallel()
	requests := map[string]clientRequest{
		"put":    {method: "PUT", path: "/bucket/k", body: []byte("data")},
		"long":   {method: "PUT", path: "/bucket/k", body: pattern(2<<20, 1)},
		"named":  {method: "PUT", path: "/bucket/k", body: []byte("data"), header: headers(s3.HeaderSSE, s3.AES256)},
		"create": {method: "POST", path: "/bucket/k", query: map[string][]string{"uploads": {""}}},
		"copy":   {method: "PUT", path: "/bucket/k", header: headers("X-Amz-Copy-Source", "open/src")},
		"form": {
			method: "POST", path: "/bucket", body: testForm{anonymous: true, key: "k", file: []byte("data")}.encode(t),
			header: headers("Content-Type", "multipart/form-data; boundary="+formBoundary),
		},
	}
	for _, guards := range []bool{true, false} {
		for name, r := range requests {
			r.anonymous = true
			g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AWSKMS}))
			if !g.Upstream.Capabilities().Put.Missing {
				t.Fatal("the store's conditional writes were not noticed")
			}
			g.Upstream.Learn(func(can *upstream.Capabilities) { can.Put.Missing = guards })
			g.upstream.makeBucket("open")
			g.upstream.makePublic("open")
			g.put("/open/src", []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
			g.kes.ResetRequests()
			if a := g.do(r); a.status != 403 || a.code != "AccessDenied" {
				t.Errorf("%s: %d %s", name, a.status, a.code)
			}
			if n := g.kes.Requests(kmstest.OpGenerate) + g.kes.Requests(kmstest.OpDecrypt); n != 0 {
				t.Errorf("%s: KES was asked %d times", name, n)
			}
			g.upstream.makePublic(testBucket)
			if a := g.do(r); a.status != 200 && a.status != 204 {
				t.Errorf("%s, allowed: %d %s", name, a.status, a.code)
			}
			wantUploads := 0
			if name == "create" {
				wantUploads = 1
			} else if o := g.upstream.object(testBucket, "k"); !isSealed(o) {
				t.Errorf("%s: not stored", name)
			}
			if n := len(g.upstream.openUploads()); n != wantUploads {
				t.Errorf("%s: %d uploads left", name, n)
			}
		}
	}
}

// TestConsentAsksForTheWrite: the probing write has the headers of the write,
// for stores whose policy allows anonymous writes only with some header. Both
// forms of the probe are tested.
func TestConsentAsksForTheWrite(t *testing.T) {
	t.Parallel()
	fields := []string{
		"X-Amz-Acl", "bucket-owner-full-control", "X-Amz-Storage-Class", "STANDARD", "X-Amz-Tagging", "a=b", "X-Amz-Website-Redirect-Location", "/x",
		"X-Amz-Object-Lock-Mode", "GOVERNANCE", "X-Amz-Object-Lock-Retain-Until-Date", "2040-01-01T00:00:00Z", "X-Amz-Object-Lock-Legal-Hold", "ON",
		s3.HeaderExpectedOwner, "123456789012", s3.HeaderRequestPayer, "requester",
	}
	wanted := headers(fields...)
	wanted.Set("X-Amz-Grant-Read", `id="1"`) // of no form
	requests := map[string]clientRequest{
		"put":    {method: "PUT", path: "/bucket/k", body: []byte("data"), header: headers("If-None-Match", "*", "Content-Md5", "jXd/OF09/siBXSD3SWAm3A==")},
		"create": {method: "POST", path: "/bucket/k", query: map[string][]string{"uploads": {""}}, header: http.Header{}},
		"copy":   {method: "PUT", path: "/bucket/k", header: headers("X-Amz-Copy-Source", "open/src")},
		"form": {
			method: "POST", path: "/bucket", body: testForm{anonymous: true, key: "k", fields: fields, file: []byte("data")}.encode(t),
			header: headers("Content-Type", "multipart/form-data; boundary="+formBoundary),
		},
	}
	for _, guards := range []bool{true, false} {
		for name, r := range requests {
			g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}), withConfig(func(c *Config) { c.ForwardClient = true }))
			g.Upstream.Learn(func(can *upstream.Capabilities) { can.Put.Missing = guards })
			for _, bucket := range []string{"open", testBucket} {
				g.upstream.makeBucket(bucket)
				g.upstream.makePublic(bucket)
			}
			g.put("/open/src", []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
			asked := http.Header{}
			g.upstream.on("", "/bucket/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if q := r.URL.Query(); r.Method == http.MethodPut && !q.Has("uploadId") || q.Has("uploads") {
					if len(asked) == 0 {
						asked = r.Header.Clone()
					}
					for h := range wanted {
						if (name != "form" || h != "X-Amz-Grant-Read") && r.Header.Get(h) != wanted.Get(h) {
							memFail(w, 403, "AccessDenied", "a policy wants "+h)
							return
						}
					}
				}
				next.ServeHTTP(w, r)
			})
			r.anonymous, r.header = true, r.header.Clone()
			if name != "form" {
				maps.Copy(r.header, wanted)
			}
			if a := g.do(r); a.status != 200 && a.status != 204 {
				t.Errorf("%s, %t: %d %s", name, guards, a.status, a.body)
			}
			if asked.Get("If-None-Match") != "" || asked.Get("Content-Md5") != "" || asked.Get("X-Forwarded-For") == "" {
				t.Errorf("%s, %t: asked with %v", name, guards, asked)
			}
			if byPut := guards && name != "create"; byPut != strings.HasPrefix(asked.Get("If-Match"), `"`) {
				t.Errorf("%s, %t: asked under %q", name, guards, asked.Get("If-Match"))
			}
		}
	}
}

// TestAnonymousRefusals: anonymous clients are told why they are refused, by
// the store where the store decides.
func TestAnonymousRefusals(t *testing.T) {
	t.Parallel()
	const uploads = "Anonymous users cannot initiate multipart uploads. Please authenticate."
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AWSKMS}))
	g.upstream.makePublic(testBucket)
	g.upstream.on(http.MethodPost, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		memFail(w, 403, "AccessDenied", uploads)
	})
	for name, test := range map[string]struct {
		sub, message string
	}{
		"create": {"uploads", uploads},
		"select": {"select", "Anonymous users cannot invoke this API. Please authenticate."},
	} {
		r := clientRequest{method: http.MethodPost, path: "/bucket/k", query: url.Values{test.sub: {""}}, anonymous: true}
		a := g.do(r)
		a.want(t, 403, "AccessDenied")
		if !strings.Contains(string(a.body), test.message) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	g.do(clientRequest{method: http.MethodPost, path: "/bucket/k", query: url.Values{"select": {""}}}).want(t, 501, "NotImplemented")
}

// TestConsentIsBelieved: a store that accepts the probing write, whose
// condition cannot hold, is treated as unavailable.
func TestConsentIsBelieved(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: s3.AES256}))
	g.upstream.makePublic(testBucket)
	g.upstream.on(http.MethodPut, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("If-Match") != "" {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		next.ServeHTTP(w, r)
	})
	g.do(clientRequest{method: "PUT", path: "/bucket/k", body: []byte("data"), anonymous: true}).want(t, 503, "ServiceUnavailable")
}

// TestAnonymousNameNoKeys: anonymous requests cannot choose KES keys. So they
// learn nothing about keys, and cannot use one that a credential may not.
func TestAnonymousNameNoKeys(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.makePublic(testBucket)
	g.kes.CreateKey("other")
	g.kes.ResetRequests()
	for _, key := range []string{"", "other", "missing"} {
		pairs := headers(s3.HeaderSSE, s3.AWSKMS)
		if key != "" {
			pairs.Set(s3.HeaderSSEKeyID, key)
		}
		g.do(clientRequest{method: "PUT", path: "/bucket/k", body: []byte("data"), header: pairs, anonymous: true}).want(t, 403, "AccessDenied")
		g.do(clientRequest{method: "POST", path: "/bucket/k", query: map[string][]string{"uploads": {""}}, header: pairs, anonymous: true}).want(t, 403, "AccessDenied")
		fields := []string{s3.HeaderSSE, s3.AWSKMS}
		if key != "" {
			fields = append(fields, s3.HeaderSSEKeyID, key)
		}
		g.form(testForm{anonymous: true, fields: fields, file: []byte("x")}).want(t, 403, "AccessDenied")
	}
	if n := len(g.kes.AllRequests()); n != 0 {
		t.Errorf("KES was asked: %v", g.kes.AllRequests())
	}
}
