package proxy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
)

// Credentials and region of the in-memory upstream.
const (
	upstreamAccessKey = "upstream-access"
	upstreamSecretKey = "upstream-secret"
	otherUpstreamKey  = "upstream-other" // with the same secret key
	upstreamRegion    = "up-north-1"
)

// memUpstream is an S3 store in memory, strict about what it is sent: every
// request is verified (signature, chunk signatures, trailer, digests, length)
// before anything changes. Tests read and edit what it stored, look at the
// requests it saw, and make requests fail with hooks.
type memUpstream struct {
	t        testing.TB
	network  *kmstest.Network // nil: TCP
	url      *url.URL
	verifier *sigv4.Verifier

	mu      sync.Mutex
	buckets map[string]map[string]*memObject
	public  map[string]bool   // buckets that anonymous requests may use
	docs    map[string][]byte // sub-resource documents by path?name
	hooks   []memHook
	seen    []*memRequest
	eager   bool // commits on the declared length alone, as some stores do
	detail  bool // lists metadata when it is asked to, as MinIO does

	uploads    map[string]*memUpload
	lastUpload int
	versions   map[string]*memObject // by "/bucket/key?id"

	versioning  map[string]string       // of buckets: Enabled or Suspended
	kept        map[string][]*memObject // by "/bucket/key": what all returns, where versions are kept
	lastVersion int

	minPart  int   // bytes of a part that is not the last; 0: Amazon S3's bound
	maxCopy  int64 // bytes of an object that one request copies; 0: Amazon S3's bound
	maxPut   int64 // bytes of a body in one request; 0: no bound
	maxValue int   // bytes of a value of user metadata; 0: no bound. Others are answered with 500
	ways     hook  // how the store differs from Amazon S3; unhook leaves it

	ahead time.Duration // how much the store's clock is ahead
}

// memObject is what the store keeps of an object. Tests may edit it.
type memObject struct {
	body     []byte
	header   http.Header // content headers, user metadata, checksums
	etag     string      // without quotes
	modified time.Time
	id       string // of the version; "": the only one
	marker   bool   // it is a delete marker
	tags     []byte // as a document, or nil
}

// memRequest is one verified request as the store saw it.
type memRequest struct {
	Method, Path string
	Query        url.Values
	Header       http.Header
	Body         []byte // of a sub-resource's document that was taken
}

// hook answers a request in place of next, or around it. It runs after the
// request's signature was verified.
type hook func(w http.ResponseWriter, r *http.Request, next http.Handler)

type memHook struct {
	method, path string
	run          hook
}

func newMemUpstream(t testing.TB) *memUpstream { return newMemUpstreamOn(t, nil) }

// newMemUpstreamOn starts a store on a network in memory, on TCP if that is
// nil.
func newMemUpstreamOn(t testing.TB, network *kmstest.Network) *memUpstream {
	u := &memUpstream{
		t: t, network: network, buckets: map[string]map[string]*memObject{}, public: map[string]bool{}, docs: map[string][]byte{}, versioning: map[string]string{},
		verifier: sigv4.New(sigv4.Config{Region: upstreamRegion, Secret: func(accessKey string) (string, bool) {
			return upstreamSecretKey, accessKey == upstreamAccessKey || accessKey == otherUpstreamKey
		}}),
	}
	server := newTestServer(t, network, u)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(func() {
		u.unhook()
		server.CloseClientConnections()
		server.Close()
	})
	u.url, _ = url.Parse(server.URL)
	return u
}

// on runs h for the requests of a method ("": all) whose path begins with path,
// "/bucket/key". Of several hooks the last one set decides.
func (u *memUpstream) on(method, path string, h hook) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hooks = append(u.hooks, memHook{method, path, h})
}

// unhook removes all hooks.
func (u *memUpstream) unhook() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hooks = nil
}

// requests returns the requests seen so far whose path begins with path.
func (u *memUpstream) requests(path string) []memRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []memRequest
	for _, r := range u.seen {
		if strings.HasPrefix(r.Path, path) {
			out = append(out, *r)
		}
	}
	return out
}

// forget empties the list of requests.
func (u *memUpstream) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = nil
}

// makeBucket creates an empty bucket unless it exists.
func (u *memUpstream) makeBucket(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.buckets[name] == nil {
		u.buckets[name] = map[string]*memObject{}
	}
}

// object returns a copy of a stored object, or nil.
func (u *memUpstream) object(bucket, key string) *memObject {
	u.mu.Lock()
	defer u.mu.Unlock()
	o := u.buckets[bucket][key]
	if o == nil {
		return nil
	}
	c := *o
	c.body, c.header = bytes.Clone(o.body), o.header.Clone()
	return &c
}

// now returns the store's time, in whole seconds.
func (u *memUpstream) now() time.Time { return time.Now().Add(u.ahead).UTC().Truncate(time.Second) }

// look returns a stored object without copying its body, which never changes;
// nil: there is no object.
func (u *memUpstream) look(bucket, key string) *memObject {
	u.mu.Lock()
	defer u.mu.Unlock()
	o := u.buckets[bucket][key]
	if o == nil {
		return nil
	}
	c := *o
	c.header = o.header.Clone()
	return &c
}

// keys returns the sorted keys of a bucket.
func (u *memUpstream) keys(bucket string) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Sorted(maps.Keys(u.buckets[bucket]))
}

// store replaces an object like a malicious operator; nil removes it. The ETag
// is that of o, so that the change need not show.
func (u *memUpstream) store(bucket, key string, o *memObject) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if o == nil {
		delete(u.buckets[bucket], key)
		return
	}
	u.buckets[bucket][key] = o
}

// edit changes a stored object in place.
func (u *memUpstream) edit(bucket, key string, change func(*memObject)) {
	u.t.Helper()
	o := u.object(bucket, key)
	if o == nil {
		u.t.Fatalf("no object %s/%s upstream", bucket, key)
	}
	change(o)
	u.store(bucket, key, o)
}

func (u *memUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	auth, err := u.verifier.Verify(&sigv4.Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header, Host: r.Host, ContentLength: r.ContentLength,
	})
	if err != nil {
		memFail(w, 403, "SignatureDoesNotMatch", err.Error())
		return
	}
	seen := &memRequest{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone()}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { u.serve(w, r, auth, seen) })
	u.mu.Lock()
	u.seen = append(u.seen, seen)
	var run hook
	for _, h := range slices.Backward(u.hooks) {
		if (h.method == "" || h.method == r.Method) && strings.HasPrefix(r.URL.Path, h.path) {
			run = h.run
			break
		}
	}
	ways := u.ways
	u.mu.Unlock()
	if ways != nil {
		store := next
		next = func(w http.ResponseWriter, r *http.Request) { ways(w, r, store) }
	}
	if run != nil {
		run(w, r, next)
		return
	}
	next(w, r)
}

// memPlainQuery are the query parameters that name no document.
var memPlainQuery = []string{"list-type", "versions", "prefix", "delimiter", "max-keys", "encoding-type", "versionId",
	"start-after", "continuation-token", "fetch-owner", "marker", "key-marker", "version-id-marker", "metadata"}

func (u *memUpstream) serve(w http.ResponseWriter, r *http.Request, auth *sigv4.Auth, seen *memRequest) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	u.mu.Lock()
	_, exists := u.buckets[bucket]
	public := u.public[bucket]
	u.mu.Unlock()
	if q := r.URL.Query(); auth.Anonymous() && !public && (q.Has("uploads") || q.Has("uploadId")) {
		memFail(w, 403, "AccessDenied", "Access Denied")
		return
	}
	if u.exceedsValue(r) {
		memFail(w, 500, "InternalError", "We encountered an internal error. Please try again.")
		return
	}
	if u.serveUploads(w, r, auth, bucket, key) {
		return
	}
	for name := range r.URL.Query() {
		if !slices.Contains(memPlainQuery, name) && bucket != "" {
			if !exists && r.Method == http.MethodGet {
				memFail(w, 404, "NoSuchBucket", bucket)
				return
			}
			u.serveDocument(w, r, auth, seen, r.URL.Path+"?"+name)
			return
		}
	}
	switch {
	case auth.Anonymous() && !public:
		memFail(w, 403, "AccessDenied", "Access Denied")
	case bucket == "":
		u.listBuckets(w)
	case key == "":
		u.serveBucket(w, r, bucket, exists)
	case !exists:
		memFail(w, 404, "NoSuchBucket", "no such bucket")
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		u.copy(w, r, bucket, key)
	case r.Method == http.MethodPut:
		u.put(w, r, auth, bucket, key)
	case r.Method == http.MethodDelete:
		u.deleteOne(w, r, bucket, key)
	default:
		u.get(w, r, bucket, key)
	}
}

// exceedsValue reports whether a value of user metadata is longer than the
// store takes.
func (u *memUpstream) exceedsValue(r *http.Request) bool {
	for name, values := range r.Header {
		if strings.HasPrefix(strings.ToLower(name), s3.MetaPrefix) && u.maxValue > 0 && len(strings.Join(values, ",")) > u.maxValue {
			return true
		}
	}
	return false
}

// unconditional finds the keys without conditions in a DeleteObjects.
var unconditional = regexp.MustCompile(`<Object><Key>([^<]*)</Key></Object>`)

// serveDocument keeps the documents of sub-resources as they come.
func (u *memUpstream) serveDocument(w http.ResponseWriter, r *http.Request, auth *sigv4.Auth, seen *memRequest, name string) {
	doc, _, err := u.readBody(r, auth)
	if err != nil {
		memFail(w, 400, "BadDigest", err.Error())
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	stored, ok := u.docs[name]
	switch {
	case r.Method == http.MethodPut || r.Method == http.MethodPost:
		u.docs[name], seen.Body = doc, doc
		bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if o := u.find(bucket, key, r.URL.Query().Get("versionId")); o != nil && r.URL.Query().Has("tagging") {
			o.header.Set("X-Amz-Tagging-Count", strconv.Itoa(bytes.Count(doc, []byte("<Tag>"))))
		}
		if r.URL.Query().Has("delete") {
			for _, listed := range unconditional.FindAllSubmatch(doc, -1) { // it takes all conditions for false
				delete(u.buckets[bucket], string(listed[1]))
			}
		}
	case r.Method == http.MethodDelete:
		delete(u.docs, name)
		w.WriteHeader(http.StatusNoContent)
	case !ok:
		memFail(w, 404, "NoSuchDocument", name)
	default:
		w.Header().Set("Content-Type", "application/xml")
		w.Write(stored)
	}
}

func (u *memUpstream) serveBucket(w http.ResponseWriter, r *http.Request, bucket string, exists bool) {
	switch {
	case r.Method == http.MethodPut && exists:
		memFail(w, 409, "BucketAlreadyOwnedByYou", bucket)
	case r.Method == http.MethodPut:
		u.makeBucket(bucket)
	case !exists:
		memFail(w, 404, "NoSuchBucket", bucket)
	case r.Method == http.MethodDelete && len(u.keys(bucket)) > 0:
		memFail(w, 409, "BucketNotEmpty", bucket)
	case r.Method == http.MethodDelete:
		u.mu.Lock()
		delete(u.buckets, bucket)
		u.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet:
		u.list(w, r, bucket)
	}
}

// readBody reads and verifies a request's body. An eager store takes a body of
// the declared length without looking at what follows it.
func (u *memUpstream) readBody(r *http.Request, auth *sigv4.Auth) ([]byte, *sigv4.Body, error) {
	body, err := auth.Body(r.Body)
	if err != nil {
		return nil, nil, err
	}
	u.mu.Lock()
	eager, maxPut := u.eager, u.maxPut
	u.mu.Unlock()
	if maxPut > 0 && body.Size() > maxPut {
		return nil, body, fmt.Errorf("a body of %d bytes", body.Size())
	}
	if eager && body.Framed() {
		raw, _ := readAll(r.Body, r.ContentLength)
		b := memUnframe(raw)
		if int64(len(b)) < body.Size() {
			return nil, body, io.ErrUnexpectedEOF
		}
		return b, body, nil
	}
	b, err := readAll(body, body.Size())
	return b, body, err
}

// memUnframe takes the data out of aws-chunked, as far as it goes, unverified.
func memUnframe(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for {
		head, rest, ok := bytes.Cut(raw, []byte("\r\n"))
		digits, _, _ := bytes.Cut(head, []byte(";"))
		n, err := strconv.ParseInt(string(digits), 16, 64)
		if !ok || err != nil || n == 0 {
			return out
		}
		n = min(n, int64(len(rest)))
		out = append(out, rest[:n]...)
		raw = bytes.TrimPrefix(rest[n:], []byte("\r\n"))
	}
}

func (u *memUpstream) put(w http.ResponseWriter, r *http.Request, auth *sigv4.Auth, bucket, key string) {
	b, body, err := u.readBody(r, auth)
	if err != nil {
		memFail(w, 400, "BadDigest", err.Error())
		return
	}
	o := &memObject{body: b, header: memKept(r.Header), etag: memTag(b), modified: u.now()}
	for _, c := range body.Checksums() {
		o.header.Set(sigv4.HeaderName(c.Algorithm), s3.ChecksumText(c.Value))
	}
	if !u.holds(w, r, u.look(bucket, key)) {
		return
	}
	u.tag(r.URL.Path, o, r.Header.Get("X-Amz-Tagging"))
	u.keep(w, bucket, key, o)
	w.Header().Set("ETag", `"`+o.etag+`"`)
	for name, values := range o.header {
		if strings.HasPrefix(strings.ToLower(name), s3.ChecksumPrefix) {
			w.Header()[name] = values
		}
	}
}

// holds evaluates a request's conditions; it answers where they do not hold.
// Tags are compared as they are: stores know no lists.
func (u *memUpstream) holds(w http.ResponseWriter, r *http.Request, o *memObject) bool {
	etag, read := "", r.Method == http.MethodGet || r.Method == http.MethodHead
	if o != nil {
		etag = `"` + o.etag + `"`
	}
	match, noneMatch := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	since := func(name string) (time.Time, bool) {
		at, err := http.ParseTime(r.Header.Get(name))
		return at, err == nil && o != nil
	}
	failed, same := false, false
	switch at, ok := since("If-Unmodified-Since"); {
	case match != "":
		failed = o == nil || match != "*" && match != etag
	case ok:
		failed = o.modified.After(at)
	}
	switch at, ok := since("If-Modified-Since"); {
	case noneMatch != "":
		same = o != nil && (noneMatch == "*" || noneMatch == etag)
	case ok && read:
		same = !o.modified.After(at)
	}
	if size := r.Header.Get("X-Amz-If-Match-Size"); size != "" && o != nil && r.Method == http.MethodDelete {
		failed = failed || size != strconv.Itoa(len(o.body))
	}
	switch {
	case failed, same && !read:
		memFail(w, 412, "PreconditionFailed", "condition")
		return false
	case same:
		w.Header().Set("ETag", etag)
		w.Header().Set("Last-Modified", o.modified.Format(http.TimeFormat))
		w.WriteHeader(http.StatusNotModified)
		return false
	}
	return true
}

func (u *memUpstream) get(w http.ResponseWriter, r *http.Request, bucket, key string) {
	if u.refuseMarker(w, bucket, key, r.URL.Query().Get("versionId")) {
		return
	}
	o := u.version(bucket, key, r.URL.Query().Get("versionId"))
	if o == nil && r.URL.Query().Get("versionId") != "" {
		memFail(w, 404, "NoSuchVersion", key)
		return
	}
	if o == nil {
		memFail(w, 404, "NoSuchKey", key)
		return
	}
	if !u.holds(w, r, o) {
		return
	}
	h := w.Header()
	maps.Copy(h, o.header)
	h.Set("ETag", `"`+o.etag+`"`)
	h.Set("Last-Modified", o.modified.Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	body, status, size := o.body, http.StatusOK, int64(len(o.body))
	if want, err := s3.ParseRange(r.Header.Get("Range")); err == nil && want != nil {
		offset, length, err := want.Resolve(size)
		if err != nil {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			memFail(w, 416, "InvalidRange", "range")
			return
		}
		h.Set("Content-Range", s3.ContentRange(offset, length, size))
		body, status = body[offset:offset+length], http.StatusPartialContent
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		w.Write(body)
	}
}

func memFail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\"?>\n<Error><Code>%s</Code><Message>", code)
	xml.EscapeText(w, []byte(message))
	fmt.Fprint(w, "</Message></Error>")
}
