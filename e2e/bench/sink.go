package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ssegw/e2e/stack"
)

// discarded is the prefix of keys that the sink does not keep. It still reads
// and verifies their bodies.
const discarded = "put/"

// sink is a minimal S3 store for a gateway. It has buckets, objects with their
// metadata in memory, conditions, ranges, and aws-chunked bodies with a CRC32C
// trailer, which it verifies. It does not check signatures.
type sink struct {
	endpoint string
	server   *http.Server
	requests atomic.Int64

	mu      sync.Mutex
	buckets map[string]map[string]*object
	uploads map[string]*sinkUpload // by ID
	started int                    // uploads so far
}

// object is an object or a part of an upload.
type object struct {
	data     []byte // nil: not kept
	size     int64
	header   http.Header // content headers, metadata, ETag
	modified time.Time
}

// startSink starts a sink on a free loopback port, over https if there is a
// certificate.
func startSink(cert stack.Certificate) (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := newSink()
	s.endpoint = "http://" + l.Addr().String()
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	if cert.CertFile == "" {
		go func() { _ = s.server.Serve(l) }()
		return s, nil
	}
	s.endpoint = "https://" + l.Addr().String()
	s.server.Protocols = new(http.Protocols)
	s.server.Protocols.SetHTTP1(true)
	go func() { _ = s.server.ServeTLS(l, cert.CertFile, cert.KeyFile) }()
	return s, nil
}

func newSink() *sink {
	return &sink{buckets: make(map[string]map[string]*object), uploads: make(map[string]*sinkUpload)}
}

// Close ends the sink and its connections.
func (s *sink) Close() error { return s.server.Close() }

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if key == "" {
		s.serveBucket(w, r, bucket)
		return
	}
	if !s.has(bucket) {
		refuse(w, r, http.StatusNotFound, "NoSuchBucket")
		return
	}
	if s.serveUpload(w, r, bucket, key) {
		return
	}
	switch r.Method {
	case http.MethodPut:
		if r.Header.Get("X-Amz-Copy-Source") != "" {
			s.copyObject(w, r, bucket, key)
			return
		}
		s.putObject(w, r, bucket, key)
	case http.MethodGet, http.MethodHead:
		s.getObject(w, r, bucket, key)
	case http.MethodDelete:
		s.mu.Lock()
		delete(s.buckets[bucket], key)
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, r, http.StatusNotImplemented, "NotImplemented")
	}
}

func (s *sink) has(bucket string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[bucket] != nil
}

// objects returns a copy of the bucket's table of objects, or nil if there is
// no such bucket.
func (s *sink) objects(bucket string) map[string]*object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.buckets[bucket])
}

func (s *sink) serveBucket(w http.ResponseWriter, r *http.Request, bucket string) {
	if r.Method == http.MethodPut {
		s.mu.Lock()
		if s.buckets[bucket] == nil {
			s.buckets[bucket] = make(map[string]*object)
		}
		s.mu.Unlock()
		return
	}
	if r.Method == http.MethodPost {
		s.deleteObjects(w, r, bucket)
		return
	}
	objects := s.objects(bucket)
	switch {
	case bucket == "": // a check whether the store answers
	case objects == nil:
		refuse(w, r, http.StatusNotFound, "NoSuchBucket")
	case r.Method == http.MethodGet:
		listObjects(w, bucket, r.URL.Query().Get("prefix"), objects)
	}
}

// listTime is the form of times in documents.
const listTime = "2006-01-02T15:04:05.000Z"

// listObjects answers ListObjectsV2 with all objects of a prefix in one page.
func listObjects(w http.ResponseWriter, bucket, prefix string, objects map[string]*object) {
	type contents struct {
		Key, LastModified, ETag, StorageClass string
		Size                                  int
	}
	page := struct {
		XMLName     xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
		Name        string
		Prefix      string
		KeyCount    int
		MaxKeys     int
		IsTruncated bool
		Contents    []contents
	}{Name: bucket, Prefix: prefix, MaxKeys: 1000}
	maps.DeleteFunc(objects, func(key string, _ *object) bool { return !strings.HasPrefix(key, prefix) })
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		o := objects[key]
		page.Contents = append(page.Contents, contents{
			Key: key, Size: len(o.data), ETag: o.header.Get("ETag"), StorageClass: "STANDARD",
			LastModified: o.modified.UTC().Format(listTime),
		})
	}
	page.KeyCount = len(page.Contents)
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(page) // an error means that the client has gone
}

func (s *sink) putObject(w http.ResponseWriter, r *http.Request, bucket, key string) {
	s.mu.Lock()
	refused := s.refusesWrite(r, bucket, key)
	s.mu.Unlock()
	if refused {
		refuse(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	keep := !strings.HasPrefix(key, discarded)
	o, ok := readObject(w, r, keep)
	if !ok {
		return
	}
	w.Header().Set("ETag", o.header.Get("ETag"))
	if keep || o.size == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.buckets[bucket][key] = o
	}
}

// refusesWrite reports whether the conditions of a write do not hold. The
// caller holds s.mu.
func (s *sink) refusesWrite(r *http.Request, bucket, key string) bool {
	old := s.buckets[bucket][key]
	match := r.Header.Get("If-Match")
	return r.Header.Get("If-None-Match") == "*" && old != nil || match != "" && (old == nil || old.header.Get("ETag") != match)
}

// readObject reads and verifies the body of a PUT. It answers the request and
// reports false if it cannot. Headers and data of an object that is not kept
// are discarded, except for its ETag.
func readObject(w http.ResponseWriter, r *http.Request, keep bool) (*object, bool) {
	body, err := openBody(r)
	if err != nil {
		refuse(w, r, http.StatusNotImplemented, "NotImplemented")
		return nil, false
	}
	o := &object{size: body.size, modified: time.Now(), header: make(http.Header)}
	if keep {
		o.data, o.header = make([]byte, body.size), keptHeaders(r.Header)
	}
	sum, err := body.read(o.data)
	if err != nil {
		refuse(w, r, http.StatusBadRequest, "BadDigest")
		return nil, false
	}
	o.header.Set("ETag", fmt.Sprintf(`"%08x%024x"`, sum, body.size))
	return o, true
}

// keptHeaders returns the headers of a PUT that a GET returns.
func keptHeaders(h http.Header) http.Header {
	kept := http.Header{"Content-Type": {"binary/octet-stream"}}
	for name, values := range h {
		switch name {
		case "Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires":
			kept[name] = values
		default:
			if strings.HasPrefix(name, "X-Amz-Meta-") {
				kept[name] = values
			}
		}
	}
	return kept
}

func (s *sink) getObject(w http.ResponseWriter, r *http.Request, bucket, key string) {
	s.mu.Lock()
	o := s.buckets[bucket][key]
	s.mu.Unlock()
	if o == nil {
		refuse(w, r, http.StatusNotFound, "NoSuchKey")
		return
	}
	maps.Copy(w.Header(), o.header)
	for _, name := range []string{"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if r.Header.Get(name) != "" {
			http.ServeContent(w, r, "", o.modified, bytes.NewReader(o.data))
			return
		}
	}
	w.Header().Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
	w.Header().Set("Accept-Ranges", "bytes")
	if r.Method == http.MethodGet {
		_, _ = w.Write(o.data) // in one piece; an error means that the client has gone
	}
}

// refuse answers with an S3 error.
func refuse(w http.ResponseWriter, r *http.Request, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, http.StatusText(status))
	}
}

// checksum adds p to the CRC32C of a body.
func checksum(sum uint32, p []byte) uint32 { return crc32.Update(sum, castagnoli, p) }
