package proxy

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// createTagged begins a sealed upload of /bucket/k with tags.
func createTagged(g *testGateway, tags string) clientAnswer {
	return g.do(clientRequest{method: http.MethodPost, path: "/bucket/k", query: url.Values{"uploads": {""}}, header: headers("X-Amz-Tagging", tags, s3.HeaderSSE, s3.AES256)})
}

// losingUploadTags is a gateway on a store that loses the tags of uploads.
// refuses tells which tags it refuses in a PutObjectTagging.
func losingUploadTags(t *testing.T, refuses func(doc string) bool) *testGateway {
	g := newGateway(t).withSmallParts()
	g.Upstream.Learn(func(can *upstream.Capabilities) { can.UploadTags = false })
	g.upstream.ways = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Has("tagging") && r.Method == http.MethodPut {
			doc, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(doc))
			if refuses(string(doc)) {
				memFail(w, 400, "InvalidTag", "not this tag")
				return
			}
		}
		storeWays["uploads without tags"](w, r, next)
	}
	return g
}

// tagsAt returns the tags of /bucket/k at the store.
func tagsAt(t *testing.T, g *testGateway) string {
	t.Helper()
	tags, err := g.Upstream.Own().Tags(t.Context(), testBucket, "k", url.Values{})
	if err != nil && upstream.StatusOf(err) != http.StatusNotFound {
		t.Error(err)
	}
	return tags.Encode()
}

// TestUploadTagsRefused: tags that Amazon S3 or the store does not take are
// refused at the Create, if they are set after the Complete.
func TestUploadTagsRefused(t *testing.T) {
	t.Parallel()
	longTag := regexp.MustCompile(`<Key>[^<]{129,}|<Value>[^<]{257,}`)
	g := losingUploadTags(t, func(doc string) bool {
		return longTag.MatchString(strings.ReplaceAll(doc, "ü", "ue")) || strings.Contains(doc, "!")
	})
	for tags, code := range map[string]string{
		"a=1&a=2": "InvalidTag", "=1": "InvalidTag", strings.Repeat("k", 129) + "=1": "InvalidTag", "a=" + strings.Repeat("v", 257): "InvalidTag",
		"a=%zz": "InvalidArgument", "a&b&c&d&e&f&g&h&i&j&k": "BadRequest", "aws:a=1": "InvalidTag", "a=1&aws:=1": "InvalidTag",
		"a=%FF": "InvalidArgument", "%C3=1": "InvalidArgument", "a=%00": "InvalidTag", "a%1F=1": "InvalidTag",
		strings.Repeat("%C3%BC", 65) + "=1": "InvalidTag", "a=" + strings.Repeat("%C3%BC", 129): "InvalidTag", "no!=1": "InvalidTag",
	} {
		createTagged(g, tags).want(t, 400, code)
	}
	g.withSmallPuts()
	for _, tags := range []string{"aws:a=1", "no!=1", "a=" + strings.Repeat("%C3%BC", 129)} {
		g.put("/bucket/k", pattern(2*smallestPut, 1), "X-Amz-Tagging", tags, s3.HeaderSSE, s3.AES256).want(t, 400, "InvalidTag")
	}
	if n := len(g.upstream.requests("/bucket/k")); n != 0 {
		t.Errorf("the store got %d requests", n)
	}
	for _, tags := range []string{"a=1", "a=", "Cost+Center=%C3%BC+x", strings.Repeat("k", 128) + "=" + strings.Repeat("v", 256), strings.Repeat("%C3%BC", 64) + "=1"} {
		createTagged(g, tags).want(t, 200, "")
	}
	if left := g.upstream.keys(testStateBucket); slices.ContainsFunc(left, func(name string) bool { return strings.HasPrefix(name, "probe-") }) {
		t.Errorf("probes left: %v", left)
	}
}

// TestUploadTagsChanged: tags that the store would change are refused, and a
// store in trouble is not the client's fault.
func TestUploadTagsChanged(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.Upstream.Learn(func(can *upstream.Capabilities) { can.UploadTags = false })
	g.upstream.on(http.MethodGet, "/"+testStateBucket+"/probe-", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		w.WriteHeader(answer.Code)
		_, _ = io.WriteString(w, strings.ReplaceAll(answer.Body.String(), "ü", "u"))
	})
	createTagged(g, "a=%C3%BC").want(t, 400, "InvalidTag")
	createTagged(g, "a=%C3%A9").want(t, 200, "")
	for status, code := range map[int]string{500: "InternalError", 503: "SlowDown"} {
		g.upstream.unhook()
		g.upstream.on(http.MethodPut, "/"+testStateBucket+"/probe-", answerWith(status, code))
		r := createTagged(g, "a=%C3%BC")
		r.want(t, 503, "ServiceUnavailable")
		if strings.Contains(string(r.body), "probe") || strings.Contains(string(r.body), testStateBucket) {
			t.Errorf("%s", r.body)
		}
	}
}

// TestUploadTagsRefusedLate: a store refuses tags after the Complete. The
// client learns that the object is stored without them. A repeated Complete
// sets them once the store takes them.
func TestUploadTagsRefusedLate(t *testing.T) {
	t.Parallel()
	refuses := true
	g := losingUploadTags(t, func(string) bool { return refuses })
	body := pattern(5000, 3)
	begin := func() *testUpload {
		u := g.begin("/bucket/k", "X-Amz-Tagging", "a=1", s3.HeaderSSE, s3.AES256)
		u.part(1, body)
		return u
	}
	u := begin()
	for range 2 {
		r := u.completeWith(u.listed)
		r.want(t, 400, "InvalidTag")
		if !strings.Contains(string(r.body), "The object is stored, but without its tags") {
			t.Errorf("%s", r.body)
		}
		wantObject(t, g, "/bucket/k", body, 1)
	}
	refuses = false
	u.completeWith(u.listed).want(t, 200, "")
	if got := tagsAt(t, g); got != "a=1" {
		t.Errorf("tags: %s", got)
	}

	refuses = true
	u = begin()
	u.completeWith(u.listed).want(t, 400, "InvalidTag")
	g.do(clientRequest{method: http.MethodDelete, path: "/bucket/k", query: url.Values{"uploadId": {u.id}}}).want(t, 404, "NoSuchUpload")
	u.completeWith(u.listed).want(t, 404, "NoSuchUpload")
	wantObject(t, g, "/bucket/k", body, 1)

	g.withSmallPuts()
	body = pattern(2*smallestPut, 1)
	r := g.put("/bucket/k", body, "X-Amz-Tagging", "a=1", s3.HeaderSSE, s3.AES256)
	r.want(t, 400, "InvalidTag")
	if !strings.Contains(string(r.body), "The object is stored") {
		t.Errorf("%s", r.body)
	}
	wantObject(t, g, "/bucket/k", body, 1)
}

// TestUploadTagsReplaced: a client sets tags after a Complete whose answer was
// lost. When the Complete is repeated, they stay.
func TestUploadTagsReplaced(t *testing.T) {
	t.Parallel()
	g := losingUploadTags(t, func(string) bool { return false })
	u := g.begin("/bucket/k", "X-Amz-Tagging", "a=1", s3.HeaderSSE, s3.AES256)
	u.part(1, pattern(5000, 3))
	g.upstream.on(http.MethodPut, "/"+testStateBucket+"/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/done") {
			memFail(w, 500, "InternalError", "no answers now")
			return
		}
		next.ServeHTTP(w, r)
	})
	u.completeWith(u.listed).want(t, 200, "")
	if got := tagsAt(t, g); got != "a=1" {
		t.Errorf("tags: %s", got)
	}
	g.do(clientRequest{method: http.MethodPut, path: "/bucket/k", query: url.Values{"tagging": {""}}, body: s3.TagsDocument(url.Values{"b": {"2"}})}).want(t, 200, "")
	u.completeWith(u.listed).want(t, 200, "")
	if got := tagsAt(t, g); got != "b=2" {
		t.Errorf("tags after the repeated Complete: %s", got)
	}
}
