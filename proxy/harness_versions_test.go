package proxy

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"ssegw/proxy/model/s3op"
)

// nullVersion is the ID of what is written while versions are not kept.
const nullVersion = "null"

// all returns the versions of a key, the latest one last. The caller has u.mu.
func (u *memUpstream) all(bucket, key string) []*memObject {
	if kept, ok := u.kept["/"+bucket+"/"+key]; ok {
		return kept
	}
	if o := u.buckets[bucket][key]; o != nil {
		return []*memObject{o}
	}
	return nil
}

// find returns a version, which may be a delete marker, or with "" the latest
// one; nil: there is none. The caller has u.mu.
func (u *memUpstream) find(bucket, key, id string) *memObject {
	for _, o := range slices.Backward(u.all(bucket, key)) {
		if id == "" || id == o.id || id == nullVersion && o.id == "" {
			return o
		}
	}
	return nil
}

// keep makes o the latest version. Without versioning it is the only one.
func (u *memUpstream) keep(w http.ResponseWriter, bucket, key string, o *memObject) {
	u.mu.Lock()
	defer u.mu.Unlock()
	o.header.Del("X-Amz-Version-Id")
	if status := u.versioning[bucket]; status != "" {
		all := slices.Clone(u.all(bucket, key))
		o.id = nullVersion
		if status == s3op.Enabled {
			u.lastVersion++
			o.id = fmt.Sprintf("version-%04d", u.lastVersion)
		} else {
			all = slices.DeleteFunc(all, func(o *memObject) bool { return o.id == "" || o.id == nullVersion })
		}
		o.header.Set("X-Amz-Version-Id", o.id)
		w.Header().Set("X-Amz-Version-Id", o.id)
		u.setAll(bucket, key, append(all, o))
		return
	}
	u.buckets[bucket][key] = o
}

// setAll replaces the versions of a key. The caller has u.mu.
func (u *memUpstream) setAll(bucket, key string, all []*memObject) {
	path := "/" + bucket + "/" + key
	delete(u.kept, path)
	delete(u.buckets[bucket], key)
	if len(all) == 0 {
		return
	}
	if u.kept == nil {
		u.kept = map[string][]*memObject{}
	}
	u.kept[path] = all
	if last := all[len(all)-1]; !last.marker {
		u.buckets[bucket][key] = last
	}
}

// remove is a delete, of a version or with a delete marker. It returns the
// version that was removed or made, and whether that is a marker.
func (u *memUpstream) remove(bucket, key, id string) (version string, marker bool) {
	u.mu.Lock()
	kept := u.versioning[bucket] != ""
	switch o := u.find(bucket, key, id); {
	case !kept:
		delete(u.buckets[bucket], key)
	case id != "" && o == nil:
		version = id
	case id != "":
		version, marker = id, o.marker
		u.setAll(bucket, key, slices.DeleteFunc(slices.Clone(u.all(bucket, key)), func(v *memObject) bool { return v == o }))
	}
	u.mu.Unlock()
	if kept && id == "" {
		o := &memObject{marker: true, header: http.Header{}, modified: u.now()}
		u.keep(httptest.NewRecorder(), bucket, key, o)
		version, marker = o.id, true
	}
	return version, marker
}

// deleteOne is DeleteObject.
func (u *memUpstream) deleteOne(w http.ResponseWriter, r *http.Request, bucket, key string) {
	if !u.holds(w, r, u.look(bucket, key)) {
		return
	}
	version, marker := u.remove(bucket, key, r.URL.Query().Get("versionId"))
	if version != "" {
		w.Header().Set("X-Amz-Version-Id", version)
	}
	if marker {
		w.Header().Set("X-Amz-Delete-Marker", "true")
	}
	w.WriteHeader(http.StatusNoContent)
}

// refuseMarker answers a GET of a delete marker.
func (u *memUpstream) refuseMarker(w http.ResponseWriter, bucket, key, id string) bool {
	u.mu.Lock()
	o := u.find(bucket, key, id)
	u.mu.Unlock()
	if o == nil || !o.marker {
		return false
	}
	w.Header().Set("X-Amz-Version-Id", o.id)
	w.Header().Set("X-Amz-Delete-Marker", "true")
	if id == "" {
		memFail(w, 404, "NoSuchKey", key)
	} else {
		w.Header().Set("Last-Modified", o.modified.Format(http.TimeFormat))
		memFail(w, 405, "MethodNotAllowed", key)
	}
	return true
}

// likeS3 completes the in-memory store where it keeps documents as they come:
// buckets have versions, tags belong to versions, and DeleteObjects deletes.
func (u *memUpstream) likeS3(w http.ResponseWriter, r *http.Request, next http.Handler) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	switch {
	case q.Has("attributes"):
		memFail(w, 501, "NotImplemented", "attributes")
	case q.Has("versioning") && r.Method == http.MethodPut:
		next.ServeHTTP(w, r)
		u.mu.Lock()
		defer u.mu.Unlock()
		var doc struct{ Status string }
		if xml.Unmarshal(u.docs[r.URL.Path+"?versioning"], &doc) == nil && doc.Status != "" {
			u.versioning[bucket] = doc.Status
		}
	case q.Has("versioning"):
		u.mu.Lock()
		defer u.mu.Unlock()
		status := ""
		if s := u.versioning[bucket]; s != "" {
			status = "<Status>" + s + "</Status>"
		}
		memXML(w, "<VersioningConfiguration>%s</VersioningConfiguration>", status)
	case q.Has("delete") && key == "":
		u.deleteMany(w, r, next, bucket)
	case q.Has("tagging") && key != "":
		u.serveTags(w, r, next, bucket, key)
	default:
		next.ServeHTTP(w, r)
	}
}

// serveTags answers the operations on tags of a version.
func (u *memUpstream) serveTags(w http.ResponseWriter, r *http.Request, next http.Handler, bucket, key string) {
	id := r.URL.Query().Get("versionId")
	u.mu.Lock()
	o := u.find(bucket, key, id)
	u.mu.Unlock()
	switch {
	case o == nil && id != "":
		memFail(w, 404, "NoSuchVersion", key)
		return
	case o == nil || o.marker && id == "":
		memFail(w, 404, "NoSuchKey", key)
		return
	case o.marker:
		memFail(w, 405, "MethodNotAllowed", key)
		return
	}
	if r.Method == http.MethodPut {
		next.ServeHTTP(w, r) // verifies and keeps the document
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch r.Method {
	case http.MethodPut:
		o.tags = u.docs[r.URL.Path+"?tagging"]
	case http.MethodDelete:
		o.tags = nil
		o.header.Del("X-Amz-Tagging-Count")
		w.WriteHeader(http.StatusNoContent)
	default:
		if o.tags == nil {
			memXML(w, "<Tagging><TagSet></TagSet></Tagging>")
		} else {
			_, _ = w.Write(o.tags)
		}
	}
}

// deleteMany is DeleteObjects.
func (u *memUpstream) deleteMany(w http.ResponseWriter, r *http.Request, next http.Handler, bucket string) {
	u.mu.Lock()
	before := maps.Clone(u.buckets[bucket])
	u.mu.Unlock()
	next.ServeHTTP(httptest.NewRecorder(), r) // verifies and keeps the document, and deletes without versions
	u.mu.Lock()
	u.buckets[bucket] = before
	var doc struct {
		Object []struct{ Key, VersionId string }
	}
	err := xml.Unmarshal(u.docs[r.URL.Path+"?delete"], &doc)
	u.mu.Unlock()
	if err != nil {
		memFail(w, 400, "MalformedXML", err.Error())
		return
	}
	var b strings.Builder
	for _, o := range doc.Object {
		version, marker := u.remove(bucket, o.Key, o.VersionId)
		b.WriteString("<Deleted><Key>")
		_ = xml.EscapeText(&b, []byte(o.Key))
		b.WriteString("</Key>")
		if o.VersionId != "" {
			fmt.Fprintf(&b, "<VersionId>%s</VersionId>", o.VersionId)
		}
		if marker {
			fmt.Fprintf(&b, "<DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>%s</DeleteMarkerVersionId>", version)
		}
		b.WriteString("</Deleted>")
	}
	memXML(w, "<DeleteResult>%s</DeleteResult>", b.String())
}

// memListed is an entry of a listing of versions.
type memListed struct {
	key    string
	o      *memObject
	latest bool
}

// listed returns the entries of a bucket: of objects, or of all versions. The
// caller has u.mu.
func (u *memUpstream) listed(bucket string, versions bool) (entries []memListed) {
	keys := slices.Collect(maps.Keys(u.buckets[bucket]))
	if versions {
		for path := range u.kept {
			if key, ok := strings.CutPrefix(path, "/"+bucket+"/"); ok && u.buckets[bucket][key] == nil {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if !versions {
			entries = append(entries, memListed{key, u.buckets[bucket][key], true})
			continue
		}
		all := u.all(bucket, key)
		for i, o := range slices.Backward(all) {
			entries = append(entries, memListed{key, o, i == len(all)-1})
		}
	}
	return entries
}
