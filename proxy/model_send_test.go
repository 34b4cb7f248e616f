package proxy

import (
	"encoding/xml"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/jobs"
	"ssegw/proxy/model"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// presignedMode is one more way to send a PUT or GET: a presigned URL.
const presignedMode = "presigned"

// modelModes are the ways to send a body.
var modelModes = []string{modeHash, modeUnsigned, modeTrailer, modeSigned, modeSignedTrailer, presignedMode}

// framed is an operation and how its request is sent.
type framed struct {
	model.Op
	mode string
}

func (f framed) String() string { return fmt.Sprintf("{%T%+v %s}", f.Op, f.Op, f.mode) }

// send carries an operation out.
func (m *machine) send(op model.Op) *model.Answer {
	mode := modeHash
	if f, ok := op.(framed); ok {
		op, mode = f.Op, f.mode
	}
	switch op := op.(type) {
	case model.Put:
		pairs := slices.Concat(metaPairs(op.Meta), tagPairs(op.Tags), askPairs(op.Ask), conditionPairs(op.If))
		return m.object(op.Name, http.MethodPut, op.Body, mode, op.Damaged, pairs)
	case model.Get:
		pairs := slices.Concat(customerPairs(op.Key), conditionPairs(op.If))
		if op.Range != nil {
			pairs = append(pairs, "Range", op.Range.String())
		}
		method := http.MethodGet
		if op.Head {
			method = http.MethodHead
		}
		return m.object(op.Name, method, nil, mode, false, pairs)
	case model.Delete:
		pairs := conditionPairs(op.If)
		if op.Size >= 0 {
			pairs = append(pairs, headerIfMatchSize, strconv.FormatInt(op.Size, 10))
		}
		return m.object(op.Name, http.MethodDelete, nil, mode, false, pairs)
	case model.Copy:
		return m.copy(op)
	case model.Update:
		return answerOf(m.g.updateEncryption(pathOf(op.Name), op.Key))
	case model.PutTags:
		return m.putTags(op)
	case model.GetTags:
		return m.getTags(op)
	case model.DeleteMany:
		return m.deleteMany(op)
	case model.List:
		return m.list(op)
	case model.Plant:
		m.store.store(op.Bucket, op.Key, &memObject{
			body: op.Body, header: headers("Content-Type", s3.DefaultContentType), etag: memTag(op.Body), modified: memNow(),
		})
		m.store.mu.Lock()
		defer m.store.mu.Unlock()
		delete(m.store.docs, pathOf(op.Name)+"?tagging")
		return &model.Answer{Status: 200}
	case model.Restart:
		m.start()
		return &model.Answer{Status: 200}
	}
	return m.sendMore(op)
}

// sendMore carries out operations on rules, uploads and buckets.
func (m *machine) sendMore(op model.Op) *model.Answer {
	switch op := op.(type) {
	case model.PutRule:
		return answerOf(m.g.setEncryption(op.Bucket, ruleDoc(op.Rule)))
	case model.DeleteRule:
		return answerOf(m.g.clearEncryption(op.Bucket))
	case model.GetRule:
		return ruleAnswer(m.g.encryption(op.Bucket))
	case model.EncryptJob:
		j := m.g.runJob(&jobs.Job{Kind: jobs.Encrypt, Bucket: op.Bucket})
		return &model.Answer{Status: 200, Count: int(counted(j)[jobs.ResultSealed])}
	case model.RekeyJob:
		j := m.g.runJob(&jobs.Job{Kind: jobs.Rekey, Bucket: op.Bucket, Settings: jobs.Settings{Key: op.Key}})
		return &model.Answer{Status: 200, Count: int(counted(j)[jobs.ResultRekeyed])}
	case model.Create:
		pairs := slices.Concat(metaPairs(op.Meta), tagPairs(op.Tags), askPairs(op.Ask))
		r := m.g.do(clientRequest{method: http.MethodPost, path: pathOf(op.Name), query: url.Values{"uploads": {""}}, header: headers(pairs...)})
		a := answerOf(r)
		var doc struct{ UploadId string }
		m.read(r, &doc)
		a.UploadID = doc.UploadId
		return a
	case model.UploadPart:
		return answerOf(m.g.do(m.upload(op.ID).request(http.MethodPut, op.Number, op.Body)))
	case model.UploadPartCopy:
		return m.copyPart(op)
	case model.Complete:
		return m.complete(op)
	case model.Abort:
		u := m.upload(op.ID)
		u.read = nil // an Abort has no keys
		return answerOf(m.g.do(u.request(http.MethodDelete, 0, nil)))
	case model.ListParts:
		return m.listParts(op)
	case model.ListUploads:
		return m.listUploads(op)
	}
	m.Fatalf("there is no way to send %T", op)
	return nil
}

func pathOf(n model.Name) string { return "/" + n.Bucket + "/" + n.Key }

// object sends a request about an object.
func (m *machine) object(n model.Name, method string, body []byte, mode string, damaged bool, pairs []string) *model.Answer {
	var r clientAnswer
	if mode == presignedMode {
		address := m.g.presignV4(method, s3.EscapePath(n.Bucket, n.Key), url.Values{}, pairs...)
		r = m.g.presigned(method, address, body, notMoved(address, pairs)...)
	} else {
		c := clientRequest{method: method, path: pathOf(n), body: body, header: headers(pairs...), mode: mode}
		if damaged {
			c.spoil = func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
		}
		r = m.g.do(c)
	}
	a := answerOf(r)
	a.Headless = method == http.MethodHead
	return a
}

// notMoved leaves out the headers that the presigner moved into the query.
func notMoved(address string, pairs []string) (left []string) {
	for p := range slices.Chunk(pairs, 2) {
		if !strings.Contains(strings.ToLower(address), strings.ToLower(p[0])+"=") {
			left = append(left, p...)
		}
	}
	return left
}

// answerOf returns what the model compares of an answer.
func answerOf(r clientAnswer) *model.Answer {
	if r.err != nil {
		return &model.Answer{Code: r.err.Error()}
	}
	h := r.header
	a := &model.Answer{Status: r.status, Code: r.code, ETag: h.Get("ETag"), Body: r.body, Range: h.Get("Content-Range"), Meta: map[string]string{}}
	a.Size, _ = strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	a.TagCount, _ = strconv.Atoi(h.Get("X-Amz-Tagging-Count"))
	for name := range h {
		if lower := strings.ToLower(name); lower == "content-type" || lower == "cache-control" || strings.HasPrefix(lower, s3.MetaPrefix) {
			a.Meta[lower] = h.Get(name)
		}
	}
	a.Sealing = model.Sealing{Scheme: model.Scheme(h.Get(s3.HeaderSSE)), KeyName: strings.TrimPrefix(h.Get(s3.HeaderSSEKeyID), "arn:aws:kms:")}
	if h.Get(s3.HeaderSSECAlgorithm) != "" {
		a.Sealing.Scheme = model.Customer
	}
	return a
}

// read parses the document of an answer that succeeded.
func (m *machine) read(r clientAnswer, doc any) {
	if r.status == 200 && r.err == nil {
		if err := xml.Unmarshal(r.body, doc); err != nil {
			m.Fatalf("%v: %s", err, r.body)
		}
	}
}

func metaPairs(meta map[string]string) (pairs []string) {
	for _, name := range slices.Sorted(maps.Keys(meta)) {
		pairs = append(pairs, http.CanonicalHeaderKey(name), meta[name])
	}
	return pairs
}

func tagPairs(tags map[string]string) []string {
	if len(tags) == 0 {
		return nil
	}
	q := url.Values{}
	for name, value := range tags {
		q.Set(name, value)
	}
	return []string{"X-Amz-Tagging", q.Encode()}
}

func conditionPairs(c model.Condition) (pairs []string) {
	if c.Match != "" {
		pairs = append(pairs, "If-Match", c.Match)
	}
	if c.NoneMatch != "" {
		pairs = append(pairs, "If-None-Match", c.NoneMatch)
	}
	return pairs
}

// sourcePairs are the headers of a copy about its source.
func sourcePairs(n model.Name, key string, c model.Condition) []string {
	pairs := []string{s3.HeaderCopySource, s3.EscapePath(n.Bucket, n.Key)}
	if key != "" {
		for p := range slices.Chunk(customerPairs(key), 2) {
			pairs = append(pairs, strings.Replace(strings.ToLower(p[0]), "x-amz-", "X-Amz-Copy-Source-", 1), p[1])
		}
	}
	if c.Match != "" {
		pairs = append(pairs, s3.HeaderCopySourceIfMatch, c.Match)
	}
	if c.NoneMatch != "" {
		pairs = append(pairs, s3.HeaderCopySourceIfNoneMatch, c.NoneMatch)
	}
	return pairs
}

func (m *machine) copy(op model.Copy) *model.Answer {
	pairs := slices.Concat(sourcePairs(op.From, op.Key, op.FromIf), askPairs(op.Ask), conditionPairs(op.If))
	if op.Replace {
		pairs = slices.Concat(pairs, []string{s3.HeaderMetadataDirective, "REPLACE"}, metaPairs(op.Meta))
	}
	if op.Retag {
		pairs = slices.Concat(pairs, []string{s3.HeaderTaggingDirective, "REPLACE"}, tagPairs(op.Tags))
	}
	r := m.g.put(pathOf(op.To), nil, pairs...)
	return m.withTag(r)
}

// withTag is an answer with its ETag in the document.
func (m *machine) withTag(r clientAnswer) *model.Answer {
	a := answerOf(r)
	var doc struct{ ETag string }
	m.read(r, &doc)
	a.ETag = doc.ETag
	return a
}

type tagging struct {
	TagSet struct {
		Tag []struct{ Key, Value string }
	}
}

func (m *machine) putTags(op model.PutTags) *model.Answer {
	c := clientRequest{method: http.MethodDelete, path: pathOf(op.Name), query: url.Values{"tagging": {""}}}
	if len(op.Tags) > 0 {
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(op.Tags)) {
			fmt.Fprintf(&b, "<Tag><Key>%s</Key><Value>%s</Value></Tag>", name, op.Tags[name])
		}
		c.method, c.body = http.MethodPut, []byte("<Tagging><TagSet>"+b.String()+"</TagSet></Tagging>")
	}
	return answerOf(m.g.do(c))
}

func (m *machine) getTags(op model.GetTags) *model.Answer {
	r := m.g.do(clientRequest{method: http.MethodGet, path: pathOf(op.Name), query: url.Values{"tagging": {""}}})
	a := answerOf(r)
	var doc tagging
	m.read(r, &doc)
	a.Tags = map[string]string{}
	for _, t := range doc.TagSet.Tag {
		a.Tags[t.Key] = t.Value
	}
	return a
}

func (m *machine) deleteMany(op model.DeleteMany) *model.Answer {
	var b strings.Builder
	for _, key := range op.Keys {
		fmt.Fprintf(&b, "<Object><Key>%s</Key></Object>", html.EscapeString(key))
	}
	doc := []byte("<Delete>" + b.String() + "</Delete>")
	return answerOf(m.g.do(clientRequest{method: http.MethodPost, path: "/" + op.Bucket, query: url.Values{"delete": {""}}, body: doc}))
}

// deleteMany is DeleteObjects of the in-memory store.
func (u *memUpstream) deleteMany(w http.ResponseWriter, r *http.Request, next http.Handler, bucket string) {
	next.ServeHTTP(httptest.NewRecorder(), r) // verifies and keeps the document
	u.mu.Lock()
	defer u.mu.Unlock()
	var doc struct{ Object []struct{ Key string } }
	if err := xml.Unmarshal(u.docs[r.URL.Path+"?delete"], &doc); err != nil {
		memFail(w, 400, "MalformedXML", err.Error())
		return
	}
	for _, o := range doc.Object {
		delete(u.buckets[bucket], o.Key)
		delete(u.docs, "/"+bucket+"/"+o.Key+"?tagging")
	}
	memXML(w, "<DeleteResult></DeleteResult>")
}

func (m *machine) list(op model.List) *model.Answer {
	// The three forms take turns.
	form := []struct{ name, value, after string }{{"list-type", "2", "start-after"}, {"marker", "", "marker"}, {"versions", "", "key-marker"}}[m.steps%3]
	q := url.Values{form.name: {form.value}, "prefix": {op.Prefix}, "max-keys": {strconv.Itoa(op.Max)}}
	if op.After != "" {
		q.Set(form.after, op.After)
	}
	r := m.g.do(clientRequest{method: http.MethodGet, path: "/" + op.Bucket, query: q})
	a := answerOf(r)
	var doc struct {
		IsTruncated       bool
		Contents, Version []listed
	}
	m.read(r, &doc)
	a.Truncated = doc.IsTruncated
	for _, e := range append(doc.Contents, doc.Version...) {
		a.Entries = append(a.Entries, model.Entry{Key: e.Key, ETag: e.ETag, Size: e.Size})
	}
	return a
}

func ruleDoc(r model.Rule) []byte {
	doc := string(encryptionDoc(string(r.Scheme), r.KeyName))
	if r.BlockCustomer {
		doc = strings.Replace(doc, "</Rule>", "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule>", 1)
	}
	return []byte(doc)
}

func ruleAnswer(r clientAnswer) *model.Answer {
	a := answerOf(r)
	e, err := s3.ParseEncryption(r.body)
	if r.status == 200 && err == nil {
		a.Rule = &model.Rule{Sealing: model.Sealing{Scheme: model.Scheme(e.Algorithm), KeyName: e.KeyID}, BlockCustomer: slices.Contains(e.Blocked, "SSE-C")}
	}
	return a
}

// upload returns an upload as the client knows it.
func (m *machine) upload(id string) *testUpload {
	u := m.w.Uploads[id]
	out := &testUpload{g: m.g, path: pathOf(u.Name), id: id}
	if u.Scheme == model.Customer {
		out.read = customerPairs(u.KeyName)
	}
	return out
}

func (m *machine) copyPart(op model.UploadPartCopy) *model.Answer {
	pairs := sourcePairs(op.From, op.Key, op.FromIf)
	if op.Range != nil {
		pairs = append(pairs, s3.HeaderCopySourceRange, op.Range.String())
	}
	return m.withTag(m.g.do(m.upload(op.ID).request(http.MethodPut, op.Number, nil, pairs...)))
}

func (m *machine) complete(op model.Complete) *model.Answer {
	var parts []testPart
	for _, l := range op.Listed {
		parts = append(parts, testPart{number: l.Number, etag: l.ETag})
	}
	u := m.upload(op.ID)
	a := m.withTag(u.completeWith(parts, conditionPairs(op.If)...))
	if a.Status == 200 && a.Sealing.Scheme == model.Plain {
		a.Sealing = m.w.Uploads[op.ID].Sealing // a repeated answer, or SSE-C
	}
	if a.Status == 200 && m.shots == 0 { // the records go after the answer, or if the gateway is killed, by a sweep
		eventually(m.alive, "the records of an upload to go", func() bool { return slices.Equal(u.records(), []string{state.DoneRecord}) })
	}
	return a
}

func (m *machine) listParts(op model.ListParts) *model.Answer {
	r := m.g.do(m.upload(op.ID).request(http.MethodGet, 0, nil))
	a := answerOf(r)
	var doc struct {
		Part []struct {
			PartNumber int
			ETag       string
			Size       int64
		}
	}
	m.read(r, &doc)
	for _, p := range doc.Part {
		a.Entries = append(a.Entries, model.Entry{Number: p.PartNumber, ETag: p.ETag, Size: p.Size})
	}
	return a
}

func (m *machine) listUploads(op model.ListUploads) *model.Answer {
	r := m.g.do(clientRequest{method: http.MethodGet, path: "/" + op.Bucket, query: url.Values{"uploads": {""}}})
	a := answerOf(r)
	var doc struct {
		Upload []struct{ Key, UploadId string }
	}
	m.read(r, &doc)
	for _, u := range doc.Upload {
		a.Entries = append(a.Entries, model.Entry{Key: u.Key, ID: u.UploadId})
	}
	return a
}
