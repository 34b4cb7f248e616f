package proxy

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// listBuckets answers ListBuckets with all buckets.
func (u *memUpstream) listBuckets(w http.ResponseWriter) {
	u.mu.Lock()
	names := slices.Sorted(maps.Keys(u.buckets))
	u.mu.Unlock()
	w.Header().Set("Content-Type", "application/xml")
	fmt.Fprint(w, `<?xml version="1.0"?><ListAllMyBucketsResult><Owner><ID>o</ID></Owner><Buckets>`)
	for _, name := range names {
		fmt.Fprintf(w, "<Bucket><Name>%s</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>", name)
	}
	fmt.Fprint(w, "</Buckets></ListAllMyBucketsResult>")
}

// list answers ListObjects, ListObjectsV2 and ListObjectVersions, one page of
// max-keys entries, with a vendor's element in each.
func (u *memUpstream) list(w http.ResponseWriter, r *http.Request, bucket string) {
	q := r.URL.Query()
	root, entry := "ListBucketResult", "Contents"
	if q.Has("versions") {
		root, entry = "ListVersionsResult", "Version"
	}
	limit := 1000
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil {
		limit = n
	}
	var b strings.Builder
	n, truncated := 0, false
	for _, key := range u.keys(bucket) {
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= q.Get("start-after") {
			continue
		}
		if n == limit {
			truncated = true
			break
		}
		n++
		o := u.object(bucket, key)
		fmt.Fprintf(&b, "<%s><Key>", entry)
		xml.EscapeText(&b, []byte(key))
		b.WriteString("</Key>")
		if entry == "Version" {
			b.WriteString("<VersionId>null</VersionId><IsLatest>true</IsLatest>")
		}
		fmt.Fprintf(&b, "<LastModified>%s</LastModified><ETag>&#34;%s&#34;</ETag><Size>%d</Size>", o.modified.Format("2006-01-02T15:04:05.000Z"), o.etag, len(o.body))
		fmt.Fprintf(&b, "<ChecksumAlgorithm>CRC32C</ChecksumAlgorithm><StorageClass>STANDARD</StorageClass><VendorElement>kept</VendorElement></%s>", entry)
	}
	w.Header().Set("Content-Type", "application/xml")
	fmt.Fprintf(w, `<?xml version="1.0"?><%s xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>%s</Name><Prefix>`, root, bucket)
	xml.EscapeText(w, []byte(q.Get("prefix")))
	fmt.Fprintf(w, "</Prefix><MaxKeys>%d</MaxKeys><IsTruncated>%t</IsTruncated>", limit, truncated)
	if q.Get("list-type") == "2" {
		fmt.Fprintf(w, "<KeyCount>%d</KeyCount>", n)
	}
	fmt.Fprintf(w, "%s</%s>", b.String(), root)
}
