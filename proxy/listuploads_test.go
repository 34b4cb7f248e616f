package proxy

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// listedUploads is an answer of ListMultipartUploads.
type listedUploads struct {
	UploadIdMarker, NextKeyMarker, NextUploadIdMarker string
	IsTruncated                                       bool
	Upload                                            []struct{ Key, UploadId, Vendor, ChecksumAlgorithm, ChecksumType string }
}

func (g *testGateway) listUploads(pairs ...string) (l listedUploads) {
	g.t.Helper()
	q := url.Values{"uploads": {""}}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	r := g.do(clientRequest{method: http.MethodGet, path: "/bucket", query: q})
	r.want(g.t, 200, "")
	if err := xml.Unmarshal(r.body, &l); err != nil {
		g.t.Fatal(err)
	}
	return l
}

// TestListUploads: an upload has the same ID in Create and in listings, at any
// gateway and on any page, and a page costs a request per upload once.
func TestListUploads(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	other := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	var want []string
	for i := range 5 {
		var sse []string
		if i%2 == 0 {
			sse = []string{s3.HeaderSSE, s3.AES256, s3.HeaderAlgorithm, "CRC32C"}
		}
		u := g.begin(fmt.Sprintf("/bucket/k%d", i/3), sse...)
		if strings.Contains(u.id, testSealedMark) != (sse != nil) {
			t.Errorf("upload %d has the ID %s", i, u.id)
		}
		want = append(want, u.id)
	}
	direct := &memUpload{bucket: testBucket, key: "k9", id: "direct", header: http.Header{}, parts: map[int]*memPart{}}
	g.upstream.mu.Lock()
	g.upstream.uploads[direct.id] = direct
	g.upstream.mu.Unlock()
	want = append(want, direct.id)

	for name, at := range map[string]*testGateway{"made here": g, "made elsewhere": other} {
		cold := map[*testGateway]int{g: 1, other: 6}[at] // nothing is known of the direct one
		for range 2 {
			g.upstream.forget()
			l := at.listUploads()
			for i, u := range l.Upload {
				sums := ""
				if strings.Contains(want[i], testSealedMark) {
					sums = "CRC32C" + s3.Composite
				}
				if u.UploadId != want[i] || u.Vendor != "kept" || u.ChecksumAlgorithm+u.ChecksumType != sums {
					t.Errorf("%s: upload %d is %+v, want %s", name, i, u, want[i])
				}
			}
			if n := len(g.upstream.requests("/" + testStateBucket + "/uploads/")); n != cold || len(l.Upload) != len(want) {
				t.Errorf("%s: %d records read, want %d; %d uploads", name, n, cold, len(l.Upload))
			}
			cold = 1
		}
		key, marker := "", ""
		for i := range want {
			l := at.listUploads("max-uploads", "1", "key-marker", key, "upload-id-marker", marker)
			if len(l.Upload) != 1 || l.Upload[0].UploadId != want[i] || l.UploadIdMarker != marker || l.NextUploadIdMarker != want[i] || l.IsTruncated != (i < len(want)-1) {
				t.Fatalf("%s: page %d is %+v", name, i, l)
			}
			key, marker = l.NextKeyMarker, l.NextUploadIdMarker
		}
	}
}

// TestListUploadsSpoiled: a missing or unreadable record does not fail the
// page. An unavailable state bucket does.
func TestListUploadsSpoiled(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*memObject) *memObject{
		"gone":    func(*memObject) *memObject { return nil },
		"damaged": func(o *memObject) *memObject { o.body = flip(o.body, -5); return o },
	} {
		g := newGateway(t)
		u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
		other := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
		record := g.upstream.object(testStateBucket, uploadRecordName(u))
		g.upstream.store(testStateBucket, uploadRecordName(u), spoil(record))
		if l := other.listUploads(); len(l.Upload) != 1 || l.Upload[0].UploadId != state.StoreID(u.id) {
			t.Errorf("%s: %+v", name, l)
		}
		// What is listed is of no use.
		u.id = state.StoreID(u.id)
		if r := u.through(other).try(1, pattern(10, 1)); r.status < 400 {
			t.Errorf("%s: %d", name, r.status)
		}
	}
	g := newGateway(t)
	g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
	other := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	g.upstream.on(http.MethodGet, "/"+testStateBucket+"/uploads/", answerWith(503, "SlowDown"))
	other.do(clientRequest{method: http.MethodGet, path: "/bucket", query: url.Values{"uploads": {""}}}).want(t, 503, "ServiceUnavailable")
}

// TestUploadIDRepeated: a store that gives one ID twice, and returns the
// records of the first upload for the second, gets no byte of the second: not
// in plaintext and not under the first one's key.
func TestUploadIDRepeated(t *testing.T) {
	t.Parallel()
	for name, first := range map[string][]string{"plain": nil, "sealed": {s3.HeaderSSE, s3.AES256}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t).withSmallParts()
			repeat := func() {
				g.upstream.mu.Lock()
				defer g.upstream.mu.Unlock()
				g.upstream.lastUpload = 0
				g.upstream.uploads = nil
			}
			repeat() // after the uploads of the gateway's probes
			old := g.begin("/bucket/k", first...)
			old.listed = []testPart{{number: 1, etag: old.try(1, pattern(2000, 1)).header.Get("ETag")}}
			kept := map[string]*memObject{}
			for _, name := range g.records() {
				kept[name] = g.upstream.object(testStateBucket, name)
			}
			old.complete()
			for _, name := range g.records() {
				kept[name] = g.upstream.object(testStateBucket, name)
			}
			repeat()
			u := g.begin("/bucket/k", s3.HeaderSSE, s3.AWSKMS)
			if state.StoreID(u.id) != state.StoreID(old.id) || u.id == old.id {
				t.Fatalf("IDs %s and %s", old.id, u.id)
			}
			for name, o := range kept {
				g.upstream.store(testStateBucket, name, o)
			}
			g.upstream.forget()
			u.try(1, pattern(2000, 2)).want(t, 404, "NoSuchUpload")
			u.try(2, pattern(20, 2)).want(t, 404, "NoSuchUpload")
			u.completeWith(old.listed).want(t, 404, "NoSuchUpload") // not the answer of the first one's
			for _, r := range g.upstream.requests("/") {
				if r.Method == http.MethodPut {
					t.Errorf("a PUT of %s reached the store", r.Path)
				}
			}
		})
	}
}

// TestListUploadsChecksums shows what sealed uploads announced, at any gateway.
func TestListUploadsChecksums(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	other := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	sse := []string{s3.HeaderSSE, s3.AES256}
	g.begin("/bucket/1", sse...)
	g.begin("/bucket/2", append(sse, s3.HeaderAlgorithm, "sha256")...)
	g.begin("/bucket/3", append(sse, s3.HeaderAlgorithm, "CRC32", s3.HeaderChecksumType, s3.FullObject)...)
	for _, at := range []*testGateway{g, other} {
		var got []string
		for _, u := range at.listUploads().Upload {
			got = append(got, u.ChecksumAlgorithm+" "+u.ChecksumType)
		}
		if want := []string{" ", "SHA256 COMPOSITE", "CRC32 FULL_OBJECT"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// testSealedMark is what the IDs of sealed uploads have behind the store's ID.
const testSealedMark = "-ssegw-"
