package s3

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sample returns a document from testdata.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// publicFields compares entries without their positions in the document.
var publicFields = cmpopts.IgnoreUnexported(Entry{}, Listing{})

func TestParseListing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		file string
		want Listing
	}{
		{"list_v2.xml", Listing{Bucket: "bkt", EncodingType: "url", IsTruncated: true, Entries: []Entry{
			{Key: "a b/ü+.txt", ETag: `"d41d8cd98f00b204e9800998ecf8427e"`, Size: 1386, LastModified: "2026-11-23T10:00:00.000Z"},
			{Key: "plain", Size: 0, LastModified: "2026-11-23T10:00:01.000Z"},
		}}},
		{"list_metadata.xml", Listing{Bucket: "bkt", Entries: []Entry{
			{Key: "sealed & <odd>\x01", ETag: `"e1"`, Size: 96, LastModified: "2026-11-23T10:00:00.000Z", HasMetadata: true, Sealed: http.Header{"X-Amz-Meta-Ssegw": {"AbC-_9"}}},
			{Key: "own only", ETag: `"e2"`, Size: 97, LastModified: "2026-11-23T10:00:00.000Z", HasMetadata: true, Sealed: http.Header{"X-Amz-Meta-Ssegw": {"x"}}},
			{Key: "other", ETag: `"e3"`, Size: 98, LastModified: "2026-11-23T10:00:00.000Z", HasMetadata: true},
		}}},
		{"list_split.xml", Listing{Bucket: "bkt", Entries: []Entry{
			{Key: "split", ETag: `"e"`, Size: 96, LastModified: "2026-11-23T10:00:00.000Z", HasMetadata: true, Sealed: http.Header{
				"X-Amz-Meta-Ssegw": {"2.3.AB"}, "X-Amz-Meta-Ssegw-2": {"CD"}, "X-Amz-Meta-Ssegw-3": {"E"},
			}},
			{Key: "whole", ETag: `"e"`, Size: 96, LastModified: "2026-11-23T10:00:00.000Z", HasMetadata: true, Sealed: http.Header{"X-Amz-Meta-Ssegw": {"ABCD"}}},
			{Key: "plain", ETag: `"e"`, Size: 96, LastModified: "2026-11-23T10:00:00.000Z", HasMetadata: true},
		}}},
		{"list_versions.xml", Listing{Bucket: "bkt", Entries: []Entry{
			{Key: "k", VersionID: "v3", DeleteMarker: true, IsLatest: true, LastModified: "2026-11-23T10:00:03.000Z"},
			{Key: "k", VersionID: "v2", ETag: "bare", Size: 64, LastModified: "2026-11-23T10:00:02.000Z"},
			{Key: "k", VersionID: "null", ETag: `"old"`, Size: 32, LastModified: "2026-11-23T10:00:01.000Z"},
		}}},
		{"list_parts.xml", Listing{Bucket: "bkt", Entries: []Entry{
			{PartNumber: 1, ETag: `"p1"`, Size: 5245440, LastModified: "2026-11-23T10:00:00.000Z"},
			{PartNumber: 10000, ETag: `"p2"`, Size: 100, LastModified: "2026-11-23T10:00:01.000Z"},
		}}},
		{"list_uploads.xml", Listing{Bucket: "bkt", EncodingType: "url", IsTruncated: true, NextUploadID: "id&2", Entries: []Entry{
			{Key: "a b", UploadID: "id1"},
			{Key: "a b", UploadID: "id&2"},
		}}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			got, err := ParseListing(sample(t, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&tt.want, got, publicFields); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSplice(t *testing.T) {
	t.Parallel()
	const upstreamKey = "<X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id>k</X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id>"
	size, etag, id := int64(1354), `"new&-1"`, "id&3"
	full := Edit{Size: &size, ETag: &etag, Checksums: &Checksums{Algorithms: []string{"CRC32"}, Type: "FULL_OBJECT"}}
	tests := []struct {
		name, file string
		edit       func(i int) Edit
		replace    []string // pairs of old and new text in the upstream's document
	}{
		{"nothing", "list_v2.xml", func(int) Edit { return Edit{} }, nil},
		{"size and ETag of the first", "list_v2.xml", func(i int) Edit {
			if i == 0 {
				return Edit{Size: &size, ETag: &etag}
			}
			return Edit{}
		}, []string{
			"<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag>", "<ETag>&#34;new&amp;-1&#34;</ETag>",
			"<Size>1386</Size>", "<Size>1354</Size>",
		}},
		{"all of an entry without fields", "list_v2.xml", func(i int) Edit {
			if i == 1 {
				return full
			}
			return Edit{}
		}, []string{
			"<ETag/>", "<ETag>&#34;new&amp;-1&#34;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>",
			"<Size>0</Size>", "<Size>1354</Size>",
			"<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>", "",
		}},
		{"own metadata always goes", "list_metadata.xml", func(int) Edit { return Edit{} }, []string{
			"<X-Amz-Meta-Ssegw>AbC-_9</X-Amz-Meta-Ssegw>" + upstreamKey, "", "<x-amz-meta-ssegw>x</x-amz-meta-ssegw>", "",
		}},
		{"so do the pieces of a split header", "list_split.xml", func(int) Edit { return Edit{} }, []string{
			"<X-Amz-Meta-Ssegw-2>CD</X-Amz-Meta-Ssegw-2>", "", "<X-Amz-Meta-Ssegw>2.3.AB</X-Amz-Meta-Ssegw><X-Amz-Meta-Ssegw-3>E</X-Amz-Meta-Ssegw-3>", "",
			"<X-Amz-Meta-Ssegw>ABCD</X-Amz-Meta-Ssegw>", "",
		}},
		{"delete markers get nothing", "list_versions.xml", func(i int) Edit {
			if i == 0 {
				return full
			}
			return Edit{}
		}, nil},
		{"upload ID of the second", "list_uploads.xml", func(i int) Edit {
			if i == 1 {
				return Edit{UploadID: &id}
			}
			return Edit{}
		}, []string{"<UploadId>id&amp;2</UploadId>", "<UploadId>id&amp;3</UploadId>"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := sample(t, tt.file)
			want := string(doc)
			for r := range slices.Chunk(tt.replace, 2) {
				if strings.Count(want, r[0]) != 1 {
					t.Fatalf("%q is not once in %s", r[0], tt.file)
				}
				want = strings.Replace(want, r[0], r[1], 1)
			}
			before := bytes.Clone(doc)
			l, err := ParseListing(doc)
			if err != nil {
				t.Fatal(err)
			}
			got := l.Splice(tt.edit)
			if d := cmp.Diff(want, string(got)); d != "" {
				t.Error(d)
			}
			if !bytes.Equal(before, doc) {
				t.Error("the document was changed")
			}
		})
	}
}

func TestListingRefuses(t *testing.T) {
	t.Parallel()
	deep := "<ListBucketResult>" + strings.Repeat("<a>", 100000) + strings.Repeat("</a>", 100000) + "</ListBucketResult>"
	for name, doc := range map[string]string{
		"empty":        "",
		"text":         "hello",
		"cut":          "<ListBucketResult><Contents><Key>a</Key>",
		"other root":   "<Error><Code>NoSuchBucket</Code></Error>",
		"two roots":    "<ListBucketResult/><ListBucketResult/>",
		"bad number":   "<ListBucketResult><Contents><Size>1e3</Size></Contents></ListBucketResult>",
		"negative":     "<ListBucketResult><Contents><Size>-1</Size></Contents></ListBucketResult>",
		"part number":  "<ListPartsResult><Part><PartNumber>99999999999</PartNumber></Part></ListPartsResult>",
		"bad escape":   "<ListBucketResult><Contents><Key>%zz</Key></Contents><EncodingType>url</EncodingType></ListBucketResult>",
		"entity":       "<ListBucketResult><Contents><Key>&x;</Key></Contents></ListBucketResult>",
		"doctype":      "<!DOCTYPE x><ListBucketResult/>",
		"deep":         deep,
		"encoding":     `<?xml version="1.0" encoding="latin1"?><ListBucketResult/>`,
		"name control": "<ListBucketResult><a\x01/></ListBucketResult>",
	} {
		if _, err := ParseListing([]byte(doc)); !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListingKeys(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a&amp;amp;b":                     "a&amp;b",
		"&lt;&gt;&quot;&apos;":            `<>"'`,
		"&#65;&#x42;&#x1F600;":            "AB😀",
		"&#0;&#x1;&#xB;&#xFFFE;":          "\x00\x01\x0b\uFFFE",
		"raw\x01\x1fcontrol":              "raw\x01\x1fcontrol",
		"not\xffUTF-8":                    "not\xffUTF-8",
		"<![CDATA[a&b]]>c<!-- d -->&#69;": "a&bcE",
		" spaces ":                        " spaces ",
	} {
		l, err := ParseListing([]byte("<ListBucketResult><Contents><Key>" + in + "</Key><Size>7</Size></Contents></ListBucketResult>"))
		if err != nil || len(l.Entries) != 1 {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if e := l.Entries[0]; e.Key != want || e.Size != 7 {
			t.Errorf("%q: key %q, size %d", in, e.Key, e.Size)
		}
	}
}

func FuzzListingSplice(f *testing.F) {
	for _, name := range []string{"list_v2.xml", "list_metadata.xml", "list_versions.xml", "list_parts.xml", "list_uploads.xml"} {
		f.Add(sample(f, name))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		l, err := ParseListing(doc)
		if err != nil {
			if !errors.Is(err, ErrDocument) {
				t.Fatal(err)
			}
			return
		}
		hasOwn := slices.ContainsFunc(l.Entries, func(e Entry) bool { return len(e.own) > 0 })
		if same := l.Splice(func(int) Edit { return Edit{} }); !hasOwn && !bytes.Equal(same, doc) {
			t.Fatalf("a splice of nothing gave %q", same)
		}
		size, etag := int64(123456789), `"tag-1"`
		edited, err := ParseListing(l.Splice(func(int) Edit { return Edit{Size: &size, ETag: &etag} }))
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range edited.Entries {
			old := l.Entries[i]
			if e.Key != old.Key || e.VersionID != old.VersionID || e.Sealed != nil {
				t.Fatalf("%+v became %+v", old, e)
			}
			if !e.DeleteMarker && !e.place.selfClosing() && (e.Size != size || e.ETag != etag) {
				t.Fatalf("%+v was not edited", e)
			}
		}
	})
}

func BenchmarkSplice(b *testing.B) {
	entry := "<Contents><Key>dir/object-000000000001</Key><LastModified>2026-11-23T10:00:00.000Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>1386</Size><StorageClass>STANDARD</StorageClass></Contents>"
	doc := []byte("<ListBucketResult><Name>bkt</Name>" + strings.Repeat(entry, 1000) + "</ListBucketResult>")
	size := int64(1354)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		l, err := ParseListing(doc)
		if err != nil {
			b.Fatal(err)
		}
		l.Splice(func(i int) Edit {
			etag := ETagShown(l.Entries[i].ETag, true)
			return Edit{Size: &size, ETag: &etag}
		})
	}
}
