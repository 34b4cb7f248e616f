package proxy

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
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
// max-keys entries, with a vendor's element in each and, where detail is set
// and it is asked for, the object's headers.
func (u *memUpstream) list(w http.ResponseWriter, r *http.Request, bucket string) {
	q := r.URL.Query()
	root, entry := "ListBucketResult", "Contents"
	if q.Has("versions") {
		root, entry = "ListVersionsResult", "Version"
	}
	u.mu.Lock()
	entries := u.listed(bucket, q.Has("versions")) // as they are at one moment
	detail := u.detail && q.Get("metadata") == "true" && (q.Get("list-type") == "2" || q.Has("versions"))
	u.mu.Unlock()
	after := max(q.Get("start-after"), q.Get("marker"), q.Get("key-marker"))
	limit := 1000
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil {
		limit = n
	}
	var b strings.Builder
	n, truncated := 0, false
	for _, e := range entries {
		key, o, entry := e.key, e.o, entry
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= after {
			continue
		}
		if n == limit {
			truncated = true
			break
		}
		n++
		if o.marker {
			entry = "DeleteMarker"
		}
		fmt.Fprintf(&b, "<%s><Key>", entry)
		xml.EscapeText(&b, []byte(key))
		b.WriteString("</Key>")
		if entry != "Contents" {
			fmt.Fprintf(&b, "<VersionId>%s</VersionId><IsLatest>%t</IsLatest>", cmp.Or(o.id, nullVersion), e.latest)
		}
		if o.marker {
			fmt.Fprintf(&b, "<LastModified>%s</LastModified></DeleteMarker>", memTime(o.modified))
			continue
		}
		fmt.Fprintf(&b, "<LastModified>%s</LastModified><ETag>&#34;%s&#34;</ETag><Size>%d</Size>", o.modified.Format("2006-01-02T15:04:05.000Z"), o.etag, len(o.body))
		b.WriteString("<ChecksumAlgorithm>CRC32C</ChecksumAlgorithm><StorageClass>STANDARD</StorageClass><VendorElement>kept</VendorElement>")
		if detail {
			b.WriteString("<UserMetadata>")
			for name, values := range o.header {
				fmt.Fprintf(&b, "<%s>", name)
				xml.EscapeText(&b, []byte(values[0]))
				fmt.Fprintf(&b, "</%s>", name)
			}
			b.WriteString("</UserMetadata><Internal><K>1</K><M>0</M></Internal>")
		}
		fmt.Fprintf(&b, "</%s>", entry)
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

// rewriteListings changes the pages that the store sends of its buckets.
func (u *memUpstream) rewriteListings(change func(query url.Values, page string) string) {
	u.on(http.MethodGet, "/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Count(r.URL.Path, "/") > 1 {
			next.ServeHTTP(w, r)
			return
		}
		page := httptest.NewRecorder()
		next.ServeHTTP(page, r)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(page.Code)
		fmt.Fprint(w, change(r.URL.Query(), page.Body.String()))
	})
}
