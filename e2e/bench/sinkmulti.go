package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sinkUpload is a multipart upload in progress.
type sinkUpload struct {
	bucket, key string
	header      http.Header
	parts       map[int]*object
}

const documentHead = `<?xml version="1.0" encoding="UTF-8"?>`

// serveUpload serves the requests of multipart uploads. It reports false for
// other requests.
func (s *sink) serveUpload(w http.ResponseWriter, r *http.Request, bucket, key string) bool {
	q := r.URL.Query()
	id := q.Get("uploadId")
	switch {
	case r.Method == http.MethodPost && q.Has("uploads"):
		s.mu.Lock()
		s.started++
		id = fmt.Sprintf("upload-%d", s.started)
		s.uploads[id] = &sinkUpload{bucket, key, keptHeaders(r.Header), make(map[int]*object)}
		s.mu.Unlock()
		answer(w, fmt.Sprintf("<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id))
		return true
	case id == "":
		return false
	}
	s.mu.Lock()
	up := s.uploads[id]
	if r.Method == http.MethodDelete {
		delete(s.uploads, id)
	}
	s.mu.Unlock()
	switch {
	case up == nil || up.bucket != bucket || up.key != key:
		refuse(w, r, http.StatusNotFound, "NoSuchUpload")
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		s.putPart(w, r, up)
	case r.Method == http.MethodPost:
		s.complete(w, r, up, id)
	case r.Method == http.MethodGet:
		s.listParts(w, up)
	}
	return true
}

func (s *sink) putPart(w http.ResponseWriter, r *http.Request, up *sinkUpload) {
	number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil {
		refuse(w, r, http.StatusBadRequest, "InvalidArgument")
		return
	}
	if r.Header.Get("X-Amz-Copy-Source") != "" {
		from, ok := s.copySource(w, r)
		if !ok {
			return
		}
		part := *from
		if first, last, ok := bytesOf(r.Header.Get("X-Amz-Copy-Source-Range")); ok {
			if last >= int64(len(from.data)) {
				refuse(w, r, http.StatusBadRequest, "InvalidArgument")
				return
			}
			part.data = from.data[first : last+1]
		}
		s.mu.Lock()
		up.parts[number] = &part
		s.mu.Unlock()
		copied(w, "CopyPartResult", &part)
		return
	}
	part, ok := readObject(w, r, !strings.HasPrefix(up.key, discarded))
	if !ok {
		return
	}
	s.mu.Lock()
	up.parts[number] = part
	s.mu.Unlock()
	w.Header().Set("ETag", part.header.Get("ETag"))
}

func (s *sink) complete(w http.ResponseWriter, r *http.Request, up *sinkUpload, id string) {
	var document struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.NewDecoder(r.Body).Decode(&document); err != nil {
		refuse(w, r, http.StatusBadRequest, "MalformedXML")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusesWrite(r, up.bucket, up.key) {
		refuse(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	o := &object{header: up.header, modified: time.Now()}
	for _, p := range document.Part {
		part := up.parts[p.PartNumber]
		if part == nil || strings.Trim(part.header.Get("ETag"), `"`) != strings.Trim(p.ETag, `"`) {
			refuse(w, r, http.StatusBadRequest, "InvalidPart")
			return
		}
		o.data = append(o.data, part.data...)
	}
	o.header.Set("ETag", fmt.Sprintf(`"%032x-%d"`, time.Now().UnixNano(), len(document.Part)))
	delete(s.uploads, id)
	if !strings.HasPrefix(up.key, discarded) {
		s.buckets[up.bucket][up.key] = o
	}
	answer(w, fmt.Sprintf("<CompleteMultipartUploadResult><ETag>%s</ETag></CompleteMultipartUploadResult>", xmlText(o.header.Get("ETag"))))
}

func (s *sink) listParts(w http.ResponseWriter, up *sinkUpload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := new(strings.Builder)
	out.WriteString("<ListPartsResult><IsTruncated>false</IsTruncated>")
	numbers := make([]int, 0, len(up.parts))
	for n := range up.parts {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		p := up.parts[n]
		fmt.Fprintf(out, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag><Size>%d</Size><LastModified>%s</LastModified></Part>",
			n, xmlText(p.header.Get("ETag")), p.size, p.modified.UTC().Format(listTime))
	}
	out.WriteString("</ListPartsResult>")
	answer(w, out.String())
}

// copySource returns the object that a request copies. It answers the request
// and reports false if there is none or its conditions do not hold.
func (s *sink) copySource(w http.ResponseWriter, r *http.Request) (*object, bool) {
	source, err := url.PathUnescape(strings.TrimPrefix(r.Header.Get("X-Amz-Copy-Source"), "/"))
	bucket, key, _ := strings.Cut(source, "/")
	s.mu.Lock()
	o := s.buckets[bucket][key]
	s.mu.Unlock()
	switch match := r.Header.Get("X-Amz-Copy-Source-If-Match"); {
	case err != nil || o == nil:
		refuse(w, r, http.StatusNotFound, "NoSuchKey")
		return nil, false
	case match != "" && strings.Trim(match, `"`) != strings.Trim(o.header.Get("ETag"), `"`):
		refuse(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
		return nil, false
	}
	return o, true
}

// copyObject copies an object within the store.
func (s *sink) copyObject(w http.ResponseWriter, r *http.Request, bucket, key string) {
	from, ok := s.copySource(w, r)
	if !ok {
		return
	}
	to := *from
	to.modified = time.Now()
	if strings.EqualFold(r.Header.Get("X-Amz-Metadata-Directive"), "REPLACE") {
		to.header = keptHeaders(r.Header)
		to.header.Set("ETag", from.header.Get("ETag"))
	}
	if !strings.HasPrefix(key, discarded) {
		s.mu.Lock()
		s.buckets[bucket][key] = &to
		s.mu.Unlock()
	}
	copied(w, "CopyObjectResult", &to)
}

func copied(w http.ResponseWriter, name string, o *object) {
	answer(w, fmt.Sprintf("<%s><ETag>%s</ETag><LastModified>%s</LastModified></%[1]s>", name, xmlText(o.header.Get("ETag")), o.modified.UTC().Format(listTime)))
}

// deleteObjects answers DeleteObjects.
func (s *sink) deleteObjects(w http.ResponseWriter, r *http.Request, bucket string) {
	var document struct {
		Quiet  bool
		Object []struct{ Key string }
	}
	if err := xml.NewDecoder(r.Body).Decode(&document); err != nil {
		refuse(w, r, http.StatusBadRequest, "MalformedXML")
		return
	}
	out := new(strings.Builder)
	out.WriteString("<DeleteResult>")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range document.Object {
		delete(s.buckets[bucket], o.Key)
		if !document.Quiet {
			fmt.Fprintf(out, "<Deleted><Key>%s</Key></Deleted>", xmlText(o.Key))
		}
	}
	out.WriteString("</DeleteResult>")
	answer(w, out.String())
}

// answer answers with a document.
func answer(w http.ResponseWriter, document string) {
	w.Header().Set("Content-Type", "application/xml")
	_, _ = io.WriteString(w, documentHead+document) // an error means that the client has gone
}

// xmlText escapes text for a document.
func xmlText(s string) string {
	out := new(strings.Builder)
	_ = xml.EscapeText(out, []byte(s)) // a Builder returns no errors
	return out.String()
}

// bytesOf returns the first and last byte of a range.
func bytesOf(ranged string) (first, last int64, ok bool) {
	n, err := fmt.Sscanf(ranged, "bytes=%d-%d", &first, &last)
	return first, last, n == 2 && err == nil && first >= 0 && first <= last
}
