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
}

type object struct {
	data     []byte
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

func newSink() *sink { return &sink{buckets: make(map[string]map[string]*object)} }

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
	switch r.Method {
	case http.MethodPut:
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
	objects := s.objects(bucket)
	switch {
	case bucket == "": // a check whether the store answers
	case objects == nil:
		refuse(w, r, http.StatusNotFound, "NoSuchBucket")
	case r.Method == http.MethodGet:
		listObjects(w, bucket, r.URL.Query().Get("prefix"), objects)
	}
}

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
			LastModified: o.modified.UTC().Format("2006-01-02T15:04:05.000Z"),
		})
	}
	page.KeyCount = len(page.Contents)
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(page) // an error means that the client has gone
}

func (s *sink) putObject(w http.ResponseWriter, r *http.Request, bucket, key string) {
	s.mu.Lock()
	old := s.buckets[bucket][key]
	s.mu.Unlock()
	if r.Header.Get("If-None-Match") == "*" && old != nil ||
		r.Header.Get("If-Match") != "" && (old == nil || old.header.Get("ETag") != r.Header.Get("If-Match")) {
		refuse(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	body, err := openBody(r)
	if err != nil {
		refuse(w, r, http.StatusNotImplemented, "NotImplemented")
		return
	}
	var data []byte
	if !strings.HasPrefix(key, discarded) {
		data = make([]byte, body.size)
	}
	sum, err := body.read(data)
	if err != nil {
		refuse(w, r, http.StatusBadRequest, "BadDigest")
		return
	}
	etag := fmt.Sprintf(`"%08x%024x"`, sum, body.size)
	w.Header().Set("ETag", etag)
	if data == nil && body.size > 0 {
		return
	}
	o := &object{data: data, header: keptHeaders(r.Header), modified: time.Now()}
	o.header.Set("ETag", etag)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[bucket][key] = o
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
