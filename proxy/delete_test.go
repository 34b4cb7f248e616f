package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
)

// deleteFixture stores one object of each kind and returns their plaintext
// sizes.
func deleteFixture(t *testing.T) (*testGateway, map[string]int) {
	g := newGateway(t).withSmallParts()
	sizes := map[string]int{"sealed": 1000, "empty": 0, "plain": 1000, "parts": 2010, "parts-plain": 2000}
	sse := []string{s3.HeaderSSE, s3.AES256}
	g.put("/bucket/sealed", pattern(1000, 1), sse...).want(t, 200, "")
	g.put("/bucket/empty", nil, sse...).want(t, 200, "")
	g.put("/bucket/plain", pattern(1000, 2)).want(t, 200, "")
	u := g.begin("/bucket/parts", sse...)
	u.part(1, pattern(2000, 1))
	u.part(2, pattern(10, 2))
	u.complete()
	u = g.begin("/bucket/parts-plain") // its ETag ends in -1 upstream, too
	u.listed = []testPart{{number: 1, etag: u.try(1, pattern(2000, 3)).header.Get("ETag")}}
	u.complete()
	return g, sizes
}

// TestDeleteObjectSize: the condition on the size is about the plaintext.
func TestDeleteObjectSize(t *testing.T) {
	t.Parallel()
	g, sizes := deleteFixture(t)
	for key, size := range sizes {
		path, stored := "/bucket/"+key, len(g.upstream.object(testBucket, key).body)
		etag := g.head(path).header.Get("ETag")
		refused := [][]string{
			{headerIfMatchSize, fmt.Sprint(size + 1)},
			{headerIfMatchSize, fmt.Sprint(size), "If-Match", `"0123456789abcdef0123456789abcdef-1"`},
			{headerIfMatchSize, fmt.Sprint(size + 1), "If-Match", etag},
		}
		if stored != size {
			refused = append(refused, []string{headerIfMatchSize, fmt.Sprint(stored)})
		}
		for _, pairs := range refused {
			g.delete(path, pairs...).want(t, 412, "PreconditionFailed")
		}
		pairs := []string{headerIfMatchSize, fmt.Sprint(size)}
		if len(key)%2 == 0 {
			pairs = append(pairs, "If-Match", etag)
		}
		// Another object is written between the HEAD and the delete.
		other := g.upstream.object(testBucket, key)
		g.upstream.on(http.MethodDelete, path, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			g.upstream.edit(testBucket, key, func(o *memObject) { o.etag = "changed" })
			next.ServeHTTP(w, r)
		})
		g.delete(path, pairs...).want(t, 412, "PreconditionFailed")
		g.upstream.unhook()
		g.upstream.store(testBucket, key, other)
		g.delete(path, pairs...).want(t, 204, "")
		if g.upstream.object(testBucket, key) != nil {
			t.Errorf("%s is still there", key)
		}
	}
	g.delete("/bucket/none", headerIfMatchSize, "0").want(t, 412, "PreconditionFailed")
}

// TestDeleteObjectsConditions: the store gets its own size and ETag where the
// client's conditions hold, and otherwise an ETag that no object has.
func TestDeleteObjectsConditions(t *testing.T) {
	t.Parallel()
	g, sizes := deleteFixture(t)
	type condition struct {
		key, etag string
		size      int // -1: none
		holds     bool
		asked     bool // whether the object is looked at
	}
	var conditions []condition
	for key, size := range sizes {
		etag := strings.Trim(g.head("/bucket/"+key).header.Get("ETag"), `"`)
		asks := object.HasSuffix(etag)
		conditions = append(conditions,
			condition{key, etag, -1, true, asks},
			condition{key, etag, size, true, true},
			condition{key, "", size, true, true},
			condition{key, "*", size, true, true},
			condition{key, "", size + 1, false, true},
			condition{key, etag, size + 1, false, true},
			condition{key, "0123456789abcdef0123456789abcdef-1", -1, false, true},
			condition{key, "0123456789abcdef0123456789abcdef-1", size, false, true},
			condition{key, "", -1, true, false},
		)
	}
	conditions = append(conditions, condition{"none", "", 5, false, true}, condition{"none", "0123456789abcdef0123456789abcdef-1", -1, false, true})
	var doc strings.Builder
	doc.WriteString("<Delete><Quiet>true</Quiet><Object><Key>odd &#x1; one</Key></Object>")
	for _, c := range conditions {
		fmt.Fprintf(&doc, "<Object><Key>%s</Key>", c.key)
		if c.etag != "" {
			fmt.Fprintf(&doc, "<ETag>&quot;%s&quot;</ETag>", c.etag)
		}
		if c.size >= 0 {
			fmt.Fprintf(&doc, "<Size>%d</Size>", c.size)
		}
		doc.WriteString("<LastModifiedTime>Fri, 01 Jan 2027 00:00:00 GMT</LastModifiedTime></Object>")
	}
	doc.WriteString("</Delete>")
	g.upstream.forget()
	request := clientRequest{method: http.MethodPost, path: "/bucket", query: url.Values{"delete": {""}}, body: []byte(doc.String())}
	g.do(request).want(t, 200, "")
	arrived, err := s3.ParseDelete(g.upstream.document("/bucket?delete"))
	if err != nil || len(arrived.Entries) != len(conditions)+1 {
		t.Fatalf("%v: %+v", err, arrived)
	}
	heads := map[string]int{}
	for i, c := range conditions {
		e := arrived.Entries[i+1]
		if c.asked {
			heads[c.key]++
		}
		o := g.upstream.object(testBucket, c.key)
		holds, size := o != nil && e.ETag == `"`+o.etag+`"`, int64(-1)
		if e.HasSize() {
			size = e.Size
		}
		switch {
		case e.Key != c.key:
			t.Errorf("%+v became %+v", c, e)
		case !c.asked && (strings.Trim(e.ETag, `"`) != c.etag || size != -1):
			t.Errorf("%+v became %+v", c, e)
		case c.asked && (holds != c.holds || e.ETag == "" || e.HasSize() != (c.size >= 0)):
			t.Errorf("%+v became %+v", c, e)
		case c.holds && c.size >= 0 && size != int64(len(o.body)):
			t.Errorf("%+v became %+v, stored %d", c, e, len(o.body))
		}
	}
	for key, want := range heads {
		n := 0
		for _, r := range g.upstream.requests("/bucket/" + key) {
			if r.Method == http.MethodHead && r.Path == "/bucket/"+key {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: %d HEADs, want %d", key, n, want)
		}
	}
	if got := string(g.upstream.document("/bucket?delete")); !strings.Contains(got, "<Quiet>true</Quiet><Object><Key>odd &#x1; one</Key></Object>") {
		t.Errorf("the rest is not as it was: %s", got)
	}

	for _, bad := range []string{"<Delete><Object><Key>k</Key><Size>x</Size></Object></Delete>", "<Delete><Object><Key>k</Key><Size>1</Size>", "<Other><Size>1</Size></Other>"} {
		request.body = []byte(bad)
		g.do(request).want(t, 400, "MalformedXML")
	}
	g.upstream.on(http.MethodHead, "/bucket/", answerWith(503, ""))
	request.body = []byte("<Delete><Object><Key>sealed</Key><Size>1000</Size></Object></Delete>")
	g.upstream.forget()
	if r := g.do(request); r.status != 503 {
		t.Errorf("without a look: %d %s", r.status, r.code)
	}
	for _, r := range g.upstream.requests("/bucket") {
		if r.Method == http.MethodPost {
			t.Error("the store was told to delete")
		}
	}
}
