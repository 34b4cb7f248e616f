package proxy

import (
	"cmp"
	"crypto/md5" //nolint:gosec // S3's ETag
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/state"
)

// memUpload is a multipart upload that the in-memory store knows.
type memUpload struct {
	bucket, key, id string
	header          http.Header // of the object to be
	tags            string
	parts           map[int]*memPart
}

type memPart struct {
	body     []byte
	etag     string // without quotes
	modified time.Time
}

// uploadParts returns copies of the parts of an upload, by the ID that clients
// or the store have for it, or nil.
func (u *memUpstream) uploadParts(id string) map[int]*memPart {
	id = state.StoreID(id)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.uploads[id] == nil {
		return nil
	}
	return maps.Clone(u.uploads[id].parts)
}

// serveUploads answers the operations on multipart uploads. It reports whether
// the request is one.
func (u *memUpstream) serveUploads(w http.ResponseWriter, r *http.Request, auth *sigv4.Auth, bucket, key string) bool {
	q := r.URL.Query()
	switch {
	case q.Has("uploads") && r.Method == http.MethodPost:
		u.createUpload(w, r, bucket, key)
		return true
	case q.Has("uploads") && r.Method == http.MethodGet:
		u.listUploads(w, bucket, q)
		return true
	case !q.Has("uploadId"):
		return false
	}
	u.mu.Lock()
	up := u.uploads[q.Get("uploadId")]
	u.mu.Unlock()
	if up == nil || up.bucket != bucket || up.key != key {
		memFail(w, 404, "NoSuchUpload", "no such upload")
		return true
	}
	switch r.Method {
	case http.MethodPut:
		u.putPart(w, r, auth, up)
	case http.MethodPost:
		u.completeUpload(w, r, auth, up)
	case http.MethodDelete:
		u.mu.Lock()
		delete(u.uploads, up.id)
		u.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	default:
		u.listUploadParts(w, q, up)
	}
	return true
}

func (u *memUpstream) createUpload(w http.ResponseWriter, r *http.Request, bucket, key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.buckets[bucket] == nil {
		memFail(w, 404, "NoSuchBucket", bucket)
		return
	}
	u.lastUpload++
	up := &memUpload{
		bucket: bucket, key: key, id: fmt.Sprintf("upload-%04d", u.lastUpload), header: memKept(r.Header),
		tags: r.Header.Get("X-Amz-Tagging"), parts: map[int]*memPart{},
	}
	if u.uploads == nil {
		u.uploads = map[string]*memUpload{}
	}
	u.uploads[up.id] = up
	memXML(w, "<InitiateMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><UploadId>%s</UploadId></InitiateMultipartUploadResult>", bucket, key, up.id)
}

// putPart is UploadPart and UploadPartCopy.
func (u *memUpstream) putPart(w http.ResponseWriter, r *http.Request, auth *sigv4.Auth, up *memUpload) {
	number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil || number < 1 || number > 10000 {
		memFail(w, 400, "InvalidArgument", "part number")
		return
	}
	var b []byte
	source := r.Header.Get("X-Amz-Copy-Source")
	if source != "" {
		var o *memObject
		if o, err = u.copySource(r); err == nil {
			b, err = memRange(o.body, r.Header.Get("X-Amz-Copy-Source-Range"))
		}
	} else {
		b, _, err = u.readBody(r, auth)
	}
	if err != nil {
		memFailWith(w, err)
		return
	}
	p := &memPart{b, memTag(b), time.Now().Add(u.ahead).UTC()}
	u.mu.Lock()
	up.parts[number] = p
	u.mu.Unlock()
	if source != "" {
		memXML(w, "<CopyPartResult><LastModified>%s</LastModified><ETag>&#34;%s&#34;</ETag></CopyPartResult>", memTime(p.modified), p.etag)
		return
	}
	w.Header().Set("ETag", `"`+p.etag+`"`)
}

func (u *memUpstream) completeUpload(w http.ResponseWriter, r *http.Request, auth *sigv4.Auth, up *memUpload) {
	doc, _, err := u.readBody(r, auth)
	if err != nil {
		memFail(w, 400, "BadDigest", err.Error())
		return
	}
	o, err := u.assemble(up, doc)
	if err != nil {
		memFailWith(w, err)
		return
	}
	if !u.holds(w, r, u.look(up.bucket, up.key)) {
		return
	}
	u.tag("/"+up.bucket+"/"+up.key, o, up.tags)
	u.keep(w, up.bucket, up.key, o)
	u.mu.Lock()
	delete(u.uploads, up.id)
	u.mu.Unlock()
	memXML(w, "<CompleteMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><ETag>&#34;%s&#34;</ETag></CompleteMultipartUploadResult>", up.bucket, up.key, o.etag)
}

// assemble puts the listed parts together, under Amazon S3's rules.
func (u *memUpstream) assemble(up *memUpload, doc []byte) (*memObject, error) {
	var listed struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(doc, &listed); err != nil || len(listed.Part) == 0 {
		return nil, &memError{400, "MalformedXML"}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	o := &memObject{header: up.header, modified: u.now()}
	var tags []byte
	for i, l := range listed.Part {
		p := up.parts[l.PartNumber]
		switch {
		case i > 0 && l.PartNumber <= listed.Part[i-1].PartNumber:
			return nil, &memError{400, "InvalidPartOrder"}
		case p == nil || p.etag != strings.Trim(l.ETag, `"`):
			return nil, &memError{400, "InvalidPart"}
		case i < len(listed.Part)-1 && len(p.body) < cmp.Or(u.minPart, minPart):
			return nil, &memError{400, "EntityTooSmall"}
		}
		o.body = append(o.body, p.body...)
		tag, _ := hex.DecodeString(p.etag)
		tags = append(tags, tag...)
	}
	o.etag = fmt.Sprintf("%s-%d", memTag(tags), len(listed.Part))
	return o, nil
}

// listUploads answers one page of max-uploads entries, by key and then by ID.
func (u *memUpstream) listUploads(w http.ResponseWriter, bucket string, q url.Values) {
	u.mu.Lock()
	defer u.mu.Unlock()
	byName := func(a, b *memUpload) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.id, b.id)) }
	marker := &memUpload{key: q.Get("key-marker"), id: q.Get("upload-id-marker")}
	limit, err := strconv.Atoi(q.Get("max-uploads"))
	if err != nil {
		limit = 1000
	}
	var b strings.Builder
	n, last := 0, &memUpload{}
	for _, up := range slices.SortedFunc(maps.Values(u.uploads), byName) {
		if up.bucket != bucket || !strings.HasPrefix(up.key, q.Get("prefix")) || byName(up, marker) <= 0 {
			continue
		}
		if n++; n > limit {
			break
		}
		last = up
		fmt.Fprintf(&b, "<Upload><Key>%s</Key><UploadId>%s</UploadId><Vendor>kept</Vendor></Upload>", up.key, up.id)
	}
	memXML(w, "<ListMultipartUploadsResult><Bucket>%s</Bucket><KeyMarker>%s</KeyMarker><UploadIdMarker>%s</UploadIdMarker>"+
		"<NextKeyMarker>%s</NextKeyMarker><NextUploadIdMarker>%s</NextUploadIdMarker><IsTruncated>%t</IsTruncated>%s</ListMultipartUploadsResult>",
		bucket, marker.key, marker.id, last.key, last.id, n > limit, b.String())
}

func (u *memUpstream) listUploadParts(w http.ResponseWriter, q url.Values, up *memUpload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	marker, _ := strconv.Atoi(q.Get("part-number-marker"))
	var b strings.Builder
	n, truncated := 0, false
	for _, number := range slices.Sorted(maps.Keys(up.parts)) {
		if number <= marker {
			continue
		}
		if truncated = n == 1000; truncated {
			break
		}
		n++
		p := up.parts[number]
		fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><LastModified>%s</LastModified><ETag>&#34;%s&#34;</ETag><Size>%d</Size></Part>",
			number, memTime(p.modified), p.etag, len(p.body))
	}
	memXML(w, "<ListPartsResult><UploadId>%s</UploadId><IsTruncated>%t</IsTruncated>%s</ListPartsResult>", up.id, truncated, b.String())
}

// copy is CopyObject.
func (u *memUpstream) copy(w http.ResponseWriter, r *http.Request, bucket, key string) {
	src, err := u.copySource(r)
	if err == nil && int64(len(src.body)) > cmp.Or(u.maxCopy, maxPut) {
		err = &memError{400, "InvalidRequest"}
	}
	if err != nil {
		memFailWith(w, err)
		return
	}
	if !u.holds(w, r, u.look(bucket, key)) {
		return
	}
	o := &memObject{body: src.body, header: src.header, etag: memTag(src.body), modified: u.now(), tags: src.tags}
	if r.Header.Get("X-Amz-Metadata-Directive") == "REPLACE" {
		o.header = memKept(r.Header)
		if n := src.header.Get("X-Amz-Tagging-Count"); n != "" {
			o.header.Set("X-Amz-Tagging-Count", n)
		}
	}
	from, _ := s3.ParseCopySource(r.Header.Get("X-Amz-Copy-Source"))
	u.mu.Lock()
	tags, tagged := u.docs["/"+from.Bucket+"/"+from.Key+"?tagging"]
	delete(u.docs, "/"+bucket+"/"+key+"?tagging")
	if tagged {
		u.docs["/"+bucket+"/"+key+"?tagging"] = tags
	}
	u.mu.Unlock()
	if r.Header.Get("X-Amz-Tagging-Directive") == "REPLACE" {
		o.header.Del("X-Amz-Tagging-Count")
		u.tag("/"+bucket+"/"+key, o, r.Header.Get("X-Amz-Tagging"))
	}
	u.keep(w, bucket, key, o)
	memXML(w, "<CopyObjectResult><LastModified>%s</LastModified><ETag>&#34;%s&#34;</ETag></CopyObjectResult>", memTime(o.modified), o.etag)
}

// copySource is the source that a copy names, if its conditions hold.
func (u *memUpstream) copySource(r *http.Request) (*memObject, error) {
	from, err := s3.ParseCopySource(r.Header.Get("X-Amz-Copy-Source"))
	if err != nil {
		return nil, err
	}
	o := u.version(from.Bucket, from.Key, from.VersionID)
	match := r.Header.Get("X-Amz-Copy-Source-If-Match")
	switch {
	case o == nil && from.VersionID != "":
		return nil, &memError{404, "NoSuchVersion"}
	case o == nil:
		return nil, &memError{404, "NoSuchKey"}
	case match != "" && match != `"`+o.etag+`"`:
		return nil, &memError{412, "PreconditionFailed"}
	}
	return o, nil
}

// version returns a version of an object ("": the current one) as look does, or
// nil.
func (u *memUpstream) version(bucket, key, id string) *memObject {
	if id == "" {
		return u.look(bucket, key)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	o := u.find(bucket, key, id)
	if o == nil {
		o = u.versions["/"+bucket+"/"+key+"?"+id]
	}
	if o == nil || o.marker {
		return nil
	}
	v := *o
	v.header = o.header.Clone()
	return &v
}

// keepVersion keeps the current state of an object as a version of it.
func (u *memUpstream) keepVersion(bucket, key, id string) {
	u.t.Helper()
	o := u.object(bucket, key)
	if o == nil {
		u.t.Fatalf("no object %s/%s upstream", bucket, key)
	}
	o.header.Set("X-Amz-Version-Id", id)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.versions == nil {
		u.versions = map[string]*memObject{}
	}
	u.versions["/"+bucket+"/"+key+"?"+id] = o
}

// tag keeps the tags that a write brings along.
func (u *memUpstream) tag(path string, o *memObject, tags string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.docs, path+"?tagging")
	o.tags = nil
	values, _ := url.ParseQuery(tags)
	if len(values) == 0 {
		return
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&b, "<Tag><Key>%s</Key><Value>%s</Value></Tag>", html.EscapeString(k), html.EscapeString(values.Get(k)))
	}
	o.tags = []byte("<Tagging><TagSet>" + b.String() + "</TagSet></Tagging>")
	u.docs[path+"?tagging"] = o.tags
	o.header.Set("X-Amz-Tagging-Count", strconv.Itoa(len(values)))
}

// memKept is what a store keeps of a write's headers with the object.
func memKept(in http.Header) http.Header {
	out := http.Header{}
	for name, values := range in {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, s3.MetaPrefix) || slices.Contains(s3.ContentHeaders, lower) {
			out[name] = values
		}
	}
	out.Set("Content-Type", cmp.Or(out.Get("Content-Type"), s3.DefaultContentType))
	if class := in.Get("X-Amz-Storage-Class"); class != "" && class != "STANDARD" {
		out.Set("X-Amz-Storage-Class", class)
	}
	return out
}

// memError is an S3 error of the in-memory store.
type memError struct {
	status int
	code   string
}

func (e *memError) Error() string { return e.code }

func memFailWith(w http.ResponseWriter, err error) {
	var e *memError
	switch {
	case errors.As(err, &e):
		memFail(w, e.status, e.code, e.code)
	case errors.Is(err, io.ErrUnexpectedEOF):
		memFail(w, 400, "IncompleteBody", err.Error())
	default:
		memFail(w, 400, "BadDigest", err.Error())
	}
}

func memRange(b []byte, text string) ([]byte, error) {
	if text == "" {
		return b, nil
	}
	r, err := s3.ParseRange(text)
	if err != nil || r == nil || r.Last() >= int64(len(b)) {
		return nil, &memError{400, "InvalidArgument"}
	}
	return b[r.First() : r.Last()+1], nil
}

func memTag(b []byte) string {
	sum := md5.Sum(b) //nolint:gosec // S3's ETag
	return hex.EncodeToString(sum[:])
}

func memTime(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z") }

func memXML(w http.ResponseWriter, format string, args ...any) {
	w.Header().Set("Content-Type", "application/xml")
	fmt.Fprintf(w, xml.Header+format, args...)
}
