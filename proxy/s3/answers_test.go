package s3

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBucketPage(t *testing.T) {
	t.Parallel()
	doc := sample(t, "buckets.xml")
	page, err := ParseBuckets(doc)
	if err != nil || !page.Has("state") || page.Has("absent") {
		t.Fatalf("%+v, %v", page, err)
	}
	want := strings.Replace(string(doc), "<Bucket><Name>state</Name><CreationDate>2026-11-23T10:00:00.000Z</CreationDate></Bucket>", "", 1)
	if d := cmp.Diff(want, string(page.Without("state", nil))); d != "" || want == string(doc) {
		t.Error(d)
	}
	for _, bad := range [][]byte{[]byte("<ListBucketResult/>"), doc[:100]} {
		if _, err := ParseBuckets(bad); !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestBucketPageRefill checks that a page without the state bucket gets the
// next bucket in its place.
func TestBucketPageRefill(t *testing.T) {
	t.Parallel()
	const first = `<ListAllMyBucketsResult><Owner><ID>o</ID></Owner><Buckets><Bucket><Name>a</Name></Bucket>` +
		`<Bucket><Name>state</Name></Bucket></Buckets><ContinuationToken>t&amp;1</ContinuationToken></ListAllMyBucketsResult>`
	for name, tt := range map[string]struct{ next, want string }{
		"more follow": {
			`<ListAllMyBucketsResult><Buckets><Bucket><Name>z</Name><X/></Bucket></Buckets><ContinuationToken>t2</ContinuationToken></ListAllMyBucketsResult>`,
			`<ListAllMyBucketsResult><Owner><ID>o</ID></Owner><Buckets><Bucket><Name>a</Name></Bucket>` +
				`<Bucket><Name>z</Name><X/></Bucket></Buckets><ContinuationToken>t2</ContinuationToken></ListAllMyBucketsResult>`,
		},
		"the last": {
			`<ListAllMyBucketsResult><Buckets><Bucket><Name>z</Name></Bucket></Buckets></ListAllMyBucketsResult>`,
			`<ListAllMyBucketsResult><Owner><ID>o</ID></Owner><Buckets><Bucket><Name>a</Name></Bucket>` +
				`<Bucket><Name>z</Name></Bucket></Buckets></ListAllMyBucketsResult>`,
		},
		"none": {
			`<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>`,
			`<ListAllMyBucketsResult><Owner><ID>o</ID></Owner><Buckets><Bucket><Name>a</Name></Bucket></Buckets></ListAllMyBucketsResult>`,
		},
	} {
		page, err := ParseBuckets([]byte(first))
		if err != nil || page.Token() != "t&1" {
			t.Fatalf("%s: %+v, %v", name, page, err)
		}
		next, err := ParseBuckets([]byte(tt.next))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, string(page.Without("state", next))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestReplaceText(t *testing.T) {
	t.Parallel()
	const doc = `<?xml version="1.0"?><R><Location>http://store/b/k</Location><In><Location>x</Location></In></R>`
	got, err := ReplaceText([]byte(doc), "R", "Location", "https://g/b/<k>")
	want := strings.Replace(doc, "http://store/b/k", "https://g/b/&lt;k&gt;", 1)
	if d := cmp.Diff(want, string(got)); d != "" || err != nil {
		t.Error(d, err)
	}
	if _, err := ReplaceText([]byte(doc), "Q", "Location", ""); !errors.Is(err, ErrDocument) {
		t.Error(err)
	}
}
