package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// randomPartTags makes the store's ETags of parts random, as some stores' are.
func randomPartTags(u *memUpstream) hook {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		q := r.URL.Query()
		u.mu.Lock()
		defer u.mu.Unlock()
		if up := u.uploads[q.Get("uploadId")]; up != nil {
			tag := upstream.RandomTag()
			up.parts[atoi(q.Get("partNumber"))].etag = tag
			w.Header().Set("ETag", `"`+tag+`"`)
		}
	}
}

// TestCompleteAtOnce: two equal, concurrent Completes at two gateways both
// succeed, whatever the order of their steps.
func TestCompleteAtOnce(t *testing.T) {
	t.Parallel()
	for name, sse := range map[string][]string{"sealed": {s3.HeaderSSE, s3.AES256}, "plain": nil} {
		for _, last := range []int{2000, 20} {
			for _, tags := range []string{"MD5", "random"} {
				t.Run(fmt.Sprint(name, " ", last, " ", tags), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						g := newGateway(t, onClock()).withSmallParts()
						other := newGateway(t, withUpstream(g.upstream), withKES(g.kes)).withSmallParts()
						if tags == "random" {
							g.upstream.on(http.MethodPut, "/bucket/k", randomPartTags(g.upstream))
						}
						u := g.begin("/bucket/k", sse...)
						for i, size := range []int{3000, last} {
							r := u.try(i+1, pattern(size, uint64(i)))
							r.want(t, 200, "")
							u.listed = append(u.listed, testPart{number: i + 1, etag: r.header.Get("ETag")})
						}
						// The first one that wants to complete waits until the
						// other one does too.
						var arrived atomic.Int64
						both := make(chan struct{})
						g.upstream.on(http.MethodPost, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
							if arrived.Add(1) == 2 {
								close(both)
							}
							<-both
							next.ServeHTTP(w, r)
						})
						answers := make(chan clientAnswer, 2)
						for _, at := range []*testGateway{g, other} {
							go func() { answers <- u.through(at).completeWith(u.listed) }()
						}
						a, b := <-answers, <-answers
						a.want(t, 200, "")
						b.want(t, 200, "")
						if string(a.body) != string(b.body) && name == "plain" {
							t.Errorf("%s\n%s", a.body, b.body)
						}
						wantObject(t, g, "/bucket/k", append(pattern(3000, 0), pattern(last, 1)...), 3)
					})
				})
			}
		}
	}
}

// TestCompleteBehind: a Complete that comes while another one removes its
// records gets the same answer.
func TestCompleteBehind(t *testing.T) {
	t.Parallel()
	for name, sse := range map[string][]string{"sealed": {s3.HeaderSSE, s3.AES256}, "plain": nil} {
		for what, held := range map[string]func(r *http.Request) bool{
			"listing": func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("list-type") },
			"record": func(r *http.Request) bool {
				return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/upload")
			},
			"answer": func(r *http.Request) bool {
				return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/done")
			},
		} {
			if name == "plain" && what == "listing" {
				continue // it has none
			}
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					g := newGateway(t, onClock()).withSmallParts()
					u := g.begin("/bucket/k", sse...)
					for i, size := range []int{2000, 20} {
						r := u.try(i+1, pattern(size, uint64(i)))
						u.listed = append(u.listed, testPart{number: i + 1, etag: r.header.Get("ETag")})
					}
					arrived, release := make(chan struct{}), make(chan struct{})
					var once, seconds atomic.Bool
					g.upstream.on("", "/"+testStateBucket, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
						if held(r) && once.CompareAndSwap(false, true) {
							close(arrived)
							<-release
						}
						next.ServeHTTP(w, r)
					})
					// One Complete waits there, and the other overtakes it.
					g.upstream.on(http.MethodPost, "/bucket/k", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
						next.ServeHTTP(w, r)
						if what == "answer" && !seconds.CompareAndSwap(false, true) {
							close(release) // the store told the second one that there is no upload
						}
					})
					first := make(chan clientAnswer)
					go func() { first <- u.completeWith(u.listed) }()
					<-arrived
					second := make(chan clientAnswer)
					go func() { second <- u.through(g).completeWith(u.listed) }()
					b := <-second
					if what != "answer" {
						eventually(t, "the records to go", func() bool { return len(g.records()) == 1 })
					}
					if what != "answer" || name == "sealed" {
						close(release) // a sealed object is found without the first one's answer
					}
					a := <-first
					a.want(t, 200, "")
					b.want(t, 200, "")
				})
			})
		}
	}
}

// TestStrangersForgetNothing: no record of an upload is removed because the
// store hides the upload from a client.
func TestStrangersForgetNothing(t *testing.T) {
	t.Parallel()
	stranger := mapped("stranger")
	for name, request := range map[string]func(u *testUpload) clientRequest{
		"anonymous": func(u *testUpload) clientRequest {
			c := u.request(http.MethodDelete, 0, nil)
			c.anonymous = true
			return c
		},
		"mapped credential": func(u *testUpload) clientRequest {
			c := u.request(http.MethodDelete, 0, nil)
			c.as = stranger
			return c
		},
	} {
		for what, lie := range map[string]hook{
			"NoSuchUpload": answerWith(404, "NoSuchUpload"),
			"success":      func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(204) },
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, withCredentials(map[string]*Credential{"stranger": stranger})).withSmallParts()
				u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
				u.part(1, pattern(2000, 1))
				u.part(2, pattern(10, 2))
				g.upstream.on(http.MethodDelete, "/bucket/k", lie)
				g.do(request(u))
				g.upstream.unhook()
				u.complete()
				wantObject(t, g, "/bucket/k", append(pattern(2000, 1), pattern(10, 2)...), 1)
			})
		}
	}
	// The owner's mapped credential ends an upload with its records.
	g := newGateway(t, withCredentials(map[string]*Credential{"stranger": stranger})).withSmallParts()
	u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
	u.part(1, pattern(2000, 1))
	c := u.request(http.MethodDelete, 0, nil)
	c.as = stranger
	if r := g.do(c); r.status != 204 || len(g.records()) > 0 {
		t.Errorf("%d, %v", r.status, g.records())
	}
}
