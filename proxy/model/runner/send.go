package runner

import (
	"cmp"
	"crypto/md5" //nolint:gosec // of customers' keys
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/model/s3op"
)

// Framed is an operation and how its request is sent.
type Framed struct {
	s3op.Op
	Mode Mode
}

// bare is an operation without how it is sent, which the model does not care
// about.
func bare(op s3op.Op) s3op.Op {
	switch op := op.(type) {
	case Framed:
		return op.Op
	case s3op.As:
		return s3op.As{Op: bare(op.Op), Who: op.Who}
	}
	return op
}

// show is how a history prints an operation.
func show(op s3op.Op) string {
	switch op := op.(type) {
	case Framed:
		return show(op.Op) + " " + string(op.Mode)
	case s3op.As:
		return show(op.Op) + " as " + op.Who
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", op, op), "s3op.")
}

// kindOf names the kind of an operation, as S3 does.
func kindOf(op s3op.Op) string {
	switch op := bare(op).(type) {
	case s3op.As:
		return kindOf(op.Op)
	case s3op.Get:
		if op.Head {
			return "Head"
		}
	case s3op.PutTags:
		if len(op.Tags) == 0 {
			return "DeleteTags"
		}
	case s3op.List:
		if op.Versions {
			return "ListVersions"
		}
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", bare(op)), "s3op.")
}

// Send carries an operation out.
func (m *Machine) Send(op s3op.Op) *s3op.Answer {
	s := sender{Machine: m}
	if as, ok := op.(s3op.As); ok {
		op, s.who = as.Op, as.Who
	}
	if f, ok := op.(Framed); ok {
		op, s.mode = f.Op, f.Mode
	}
	switch op := op.(type) {
	case s3op.Put:
		return s.put(op)
	case s3op.Get:
		return s.get(op)
	case s3op.Attributes:
		return s.attributes(op)
	case s3op.Delete:
		r := s.request(http.MethodDelete, op.Name, conditionPairs(op.If)...)
		if op.Size >= 0 {
			r.Header.Set("X-Amz-If-Match-Size", strconv.FormatInt(op.Size, 10))
		}
		return s.do(r)
	case s3op.DeleteMany:
		return s.deleteMany(op)
	case s3op.Copy:
		return s.copy(op)
	case s3op.Update:
		doc := "<KMSKeyArn>" + op.Key + "</KMSKeyArn>"
		if op.BucketKey {
			doc += "<BucketKeyEnabled>true</BucketKeyEnabled>"
		}
		return s.do(s.document(http.MethodPut, op.Name, "encryption", "<ObjectEncryption xmlns=\""+namespace+"\"><SSE-KMS>"+doc+"</SSE-KMS></ObjectEncryption>"))
	case s3op.PutTags:
		if len(op.Tags) == 0 {
			return s.do(s.document(http.MethodDelete, op.Name, "tagging", ""))
		}
		return s.do(s.document(http.MethodPut, op.Name, "tagging", taggingDoc(op.Tags)))
	case s3op.GetTags:
		return s.getTags(op)
	case s3op.List:
		return s.list(op)
	}
	return s.sendMore(op)
}

// namespace is that of S3's documents. Some stores insist on it.
const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// sendMore carries out operations on buckets and uploads.
func (s sender) sendMore(op s3op.Op) *s3op.Answer {
	switch op := op.(type) {
	case s3op.PutVersioning:
		doc := `<VersioningConfiguration xmlns="` + namespace + `"><Status>` + op.Status + "</Status></VersioningConfiguration>"
		return s.do(s.document(http.MethodPut, s3op.Name{Bucket: op.Bucket}, "versioning", doc))
	case s3op.GetVersioning:
		var doc struct{ Status string }
		a := s.read(s.document(http.MethodGet, s3op.Name{Bucket: op.Bucket}, "versioning", ""), &doc)
		a.Versioning = doc.Status
		return a
	case s3op.PutRule:
		return s.do(s.document(http.MethodPut, s3op.Name{Bucket: op.Bucket}, "encryption", ruleDoc(op.Rule)))
	case s3op.DeleteRule:
		return s.do(s.document(http.MethodDelete, s3op.Name{Bucket: op.Bucket}, "encryption", ""))
	case s3op.GetRule:
		return s.getRule(op)
	case s3op.Create:
		return s.create(op)
	case s3op.UploadPart:
		return s.do(s.part(op.ID, http.MethodPut, op.Number, op.Body, sumPairs(op.Sum, op.Body)...))
	case s3op.UploadPartCopy:
		return s.copyPart(op)
	case s3op.Complete:
		return s.complete(op)
	case s3op.Abort:
		u := s.World.Uploads[op.ID]
		return s.do(s.request(http.MethodDelete, u.Name).with("uploadId", op.ID)) // an Abort has no keys
	case s3op.ListParts:
		return s.listParts(op)
	case s3op.ListUploads:
		return s.listUploads(op)
	}
	return s.event(op)
}

// event carries out what is not a request of a client.
func (s sender) event(op s3op.Op) *s3op.Answer {
	a := &s3op.Answer{Status: 200}
	switch op := op.(type) {
	case s3op.Plant:
		a.Version = s.Store.Plant(op.Bucket, op.Key, op.Body)
	case s3op.Restart:
		s.Gateway.Restart()
	case s3op.EncryptJob:
		a.Count = s.Gateway.Job(Encrypt, op.Bucket, "")
	case s3op.RekeyJob:
		a.Count = s.Gateway.Job(Rekey, op.Bucket, op.Key)
	case s3op.VerifyJob:
		a.Count = s.Gateway.Job(Verify, op.Bucket, "")
	default:
		s.Fatalf("there is no way to send %T", op)
	}
	return a
}

// sender sends one operation.
type sender struct {
	*Machine
	mode Mode
	who  string
}

// request makes a request about an object, or a bucket.
func (s sender) request(method string, n s3op.Name, pairs ...string) Request {
	r := Request{Method: method, Bucket: n.Bucket, Key: n.Key, Query: url.Values{}, Header: headers(pairs...), Mode: s.mode, Who: s.who}
	if n.Version != "" {
		r.Query.Set("versionId", n.Version)
	}
	return r
}

// with adds a parameter.
func (r Request) with(name, value string) Request {
	r.Query.Set(name, value)
	return r
}

// document makes a request about a sub-resource, with or without a document.
func (s sender) document(method string, n s3op.Name, name, doc string, pairs ...string) Request {
	r := s.request(method, n, pairs...).with(name, "")
	r.Body = []byte(doc)
	if doc != "" { // some stores insist on a digest
		sum := md5.Sum(r.Body) //nolint:gosec // Content-MD5
		r.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	return r
}

func (s sender) do(r Request) *s3op.Answer {
	a := answerOf(s.Gateway.Do(r))
	a.Headless = r.Method == http.MethodHead
	return a
}

// read does a request and parses the document of an answer that succeeded.
func (s sender) read(r Request, doc any) *s3op.Answer {
	a := s.do(r)
	if a.Status == 200 {
		if err := xml.Unmarshal(a.Body, doc); err != nil {
			a.Status, a.Code = 0, fmt.Sprintf("%v: %.300s", err, a.Body)
		}
	}
	return a
}

// answerOf returns what the model compares of an answer.
func answerOf(r Response) *s3op.Answer {
	if r.Err != nil {
		return &s3op.Answer{Code: r.Err.Error()}
	}
	h := r.Header
	a := &s3op.Answer{
		Status: r.Status, ETag: h.Get("ETag"), Version: h.Get("X-Amz-Version-Id"), Marker: h.Get("X-Amz-Delete-Marker") == "true",
		Body: r.Body, Range: h.Get("Content-Range"), Meta: map[string]string{}, Sums: map[string]string{},
	}
	if r.Status >= 300 {
		var doc struct{ Code string }
		_ = xml.Unmarshal(r.Body, &doc) // other documents have no code
		a.Code = doc.Code
	}
	a.Size, _ = strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	a.TagCount, _ = strconv.Atoi(h.Get("X-Amz-Tagging-Count"))
	for name := range h {
		lower := strings.ToLower(name)
		if lower == "content-type" || lower == "cache-control" || strings.HasPrefix(lower, "x-amz-meta-") {
			a.Meta[lower] = h.Get(name)
		}
		if sum, ok := strings.CutPrefix(lower, "x-amz-checksum-"); ok && sum != "type" && sum != "algorithm" {
			a.Sums[strings.ToUpper(sum)] = h.Get(name)
		}
	}
	a.Sealing = s3op.Sealing{
		Scheme: s3op.Scheme(h.Get(headerSSE)), KeyName: strings.TrimPrefix(h.Get(headerKey), "arn:aws:kms:"), BucketKey: h.Get(headerBucketKey),
	}
	context, _ := base64.StdEncoding.DecodeString(h.Get(headerContext))
	a.Sealing.Context = string(context)
	if h.Get(headerCustomer+"algorithm") != "" {
		a.Sealing.Scheme = s3op.Customer
	}
	return a
}

// Headers of server-side encryption.
const (
	headerSSE       = "X-Amz-Server-Side-Encryption"
	headerKey       = headerSSE + "-Aws-Kms-Key-Id"
	headerContext   = headerSSE + "-Context"
	headerBucketKey = headerSSE + "-Bucket-Key-Enabled"
	headerCustomer  = headerSSE + "-Customer-"
)

// headers makes a header of name, value pairs.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for p := range slices.Chunk(pairs, 2) {
		h.Add(p[0], p[1])
	}
	return h
}

// customerPairs are the headers of a customer's key of that name, in a copy
// that of its source.
func customerPairs(key string, source bool) []string {
	if key == "" {
		return nil
	}
	prefix := headerCustomer
	if source {
		prefix = strings.Replace(prefix, "X-Amz-", "X-Amz-Copy-Source-", 1)
	}
	secret := []byte(strings.Repeat(key, 32))
	sum := md5.Sum(secret) //nolint:gosec // see the import
	return []string{
		prefix + "Algorithm", "AES256", prefix + "Key", base64.StdEncoding.EncodeToString(secret), prefix + "Key-Md5", base64.StdEncoding.EncodeToString(sum[:]),
	}
}

// askPairs are the headers that ask for a sealing.
func askPairs(s s3op.Sealing) (pairs []string) {
	switch s.Scheme {
	case s3op.Plain:
	case s3op.Customer:
		pairs = customerPairs(s.KeyName, false)
	default:
		pairs = []string{headerSSE, string(s.Scheme)}
		if s.KeyName != "" {
			pairs = append(pairs, headerKey, s.KeyName)
		}
	}
	if s.Context != "" {
		pairs = append(pairs, headerContext, base64.StdEncoding.EncodeToString([]byte(s.Context)))
	}
	if s.BucketKey != "" {
		pairs = append(pairs, headerBucketKey, s.BucketKey)
	}
	return pairs
}

func metaPairs(meta map[string]string) (pairs []string) {
	for _, name := range sorted(meta) {
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

func conditionPairs(c s3op.Condition) (pairs []string) {
	if c.Match != "" {
		pairs = append(pairs, "If-Match", c.Match)
	}
	if c.NoneMatch != "" {
		pairs = append(pairs, "If-None-Match", c.NoneMatch)
	}
	return pairs
}

// sumPairs is the header of a body's checksum.
func sumPairs(algorithm string, body []byte) []string {
	if algorithm == "" {
		return nil
	}
	return []string{"X-Amz-Checksum-" + algorithm, s3op.SumOf(algorithm, body)}
}

// sourcePairs are the headers of a copy about its source.
func sourcePairs(n s3op.Name, key string, c s3op.Condition) []string {
	source := (&url.URL{Path: n.Bucket + "/" + n.Key}).EscapedPath()
	source = strings.NewReplacer("+", "%2B").Replace(source)
	if n.Version != "" {
		source += "?versionId=" + url.QueryEscape(n.Version)
	}
	pairs := append([]string{"X-Amz-Copy-Source", source}, customerPairs(key, true)...)
	if c.Match != "" {
		pairs = append(pairs, "X-Amz-Copy-Source-If-Match", c.Match)
	}
	if c.NoneMatch != "" {
		pairs = append(pairs, "X-Amz-Copy-Source-If-None-Match", c.NoneMatch)
	}
	return pairs
}

func (s sender) put(op s3op.Put) *s3op.Answer {
	r := s.request(http.MethodPut, op.Name, slices.Concat(metaPairs(op.Meta), tagPairs(op.Tags), askPairs(op.Ask), conditionPairs(op.If))...)
	r.Body, r.Damaged = op.Body, op.Damaged
	if s.mode.hasTrailer() {
		r.Algorithm = op.Sum
	} else {
		maps.Copy(r.Header, headers(sumPairs(op.Sum, op.Body)...))
	}
	return s.do(r)
}

func (s sender) get(op s3op.Get) *s3op.Answer {
	r := s.request(http.MethodGet, op.Name, slices.Concat(customerPairs(op.Key, false), conditionPairs(op.If))...)
	if op.Head {
		r.Method = http.MethodHead
	}
	if op.Range != nil {
		r.Header.Set("Range", op.Range.String())
	}
	if op.Sums {
		r.Header.Set("X-Amz-Checksum-Mode", "ENABLED")
	}
	return s.do(r)
}

func (s sender) attributes(op s3op.Attributes) *s3op.Answer {
	r := s.document(http.MethodGet, op.Name, "attributes", "", customerPairs(op.Key, false)...)
	r.Header.Set("X-Amz-Object-Attributes", "ETag,Checksum,ObjectSize")
	var doc struct {
		ETag       string
		ObjectSize int64
		Checksum   shownSums
	}
	a := s.read(r, &doc)
	a.Size, a.Sums = doc.ObjectSize, doc.Checksum.all()
	if doc.ETag != "" {
		a.ETag = `"` + doc.ETag + `"`
	}
	return a
}

// shownSums are the elements of a document that are checksums.
type shownSums struct {
	Any []struct {
		XMLName xml.Name
		Value   string `xml:",chardata"`
	} `xml:",any"`
}

func (s shownSums) all() map[string]string {
	sums := map[string]string{}
	for _, e := range s.Any {
		if name, ok := strings.CutPrefix(e.XMLName.Local, "Checksum"); ok && name != "Type" && name != "Algorithm" {
			sums[name] = e.Value
		}
	}
	return sums
}

// result does a request whose answer has ETag and checksums in a document.
func (s sender) result(r Request) *s3op.Answer {
	var doc struct {
		ETag string
		shownSums
	}
	a := s.read(r, &doc)
	a.ETag, a.Sums = doc.ETag, doc.all()
	return a
}

func (s sender) copy(op s3op.Copy) *s3op.Answer {
	pairs := slices.Concat(sourcePairs(op.From, op.Key, op.FromIf), askPairs(op.Ask), conditionPairs(op.If))
	if op.Sum != "" {
		pairs = append(pairs, "X-Amz-Checksum-Algorithm", op.Sum)
	}
	if op.Replace {
		pairs = slices.Concat(pairs, []string{"X-Amz-Metadata-Directive", "REPLACE"}, metaPairs(op.Meta))
	}
	if op.Retag {
		pairs = slices.Concat(pairs, []string{"X-Amz-Tagging-Directive", "REPLACE"}, tagPairs(op.Tags))
	}
	return s.result(s.request(http.MethodPut, op.To, pairs...))
}

func taggingDoc(tags map[string]string) string {
	var b strings.Builder
	for _, name := range sorted(tags) {
		fmt.Fprintf(&b, "<Tag><Key>%s</Key><Value>%s</Value></Tag>", name, tags[name])
	}
	return "<Tagging><TagSet>" + b.String() + "</TagSet></Tagging>"
}

func (s sender) getTags(op s3op.GetTags) *s3op.Answer {
	var doc struct {
		TagSet struct {
			Tag []struct{ Key, Value string }
		}
	}
	a := s.read(s.document(http.MethodGet, op.Name, "tagging", ""), &doc)
	a.Tags = map[string]string{}
	for _, t := range doc.TagSet.Tag {
		a.Tags[t.Key] = t.Value
	}
	return a
}

func (s sender) deleteMany(op s3op.DeleteMany) *s3op.Answer {
	var b strings.Builder
	for _, n := range op.Objects {
		fmt.Fprintf(&b, "<Object><Key>%s</Key>", html.EscapeString(n.Key))
		if n.Version != "" {
			fmt.Fprintf(&b, "<VersionId>%s</VersionId>", n.Version)
		}
		b.WriteString("</Object>")
	}
	var doc struct {
		Deleted []struct {
			Key, VersionId, DeleteMarkerVersionId string
			DeleteMarker                          bool
		}
	}
	a := s.read(s.document(http.MethodPost, s3op.Name{Bucket: op.Bucket}, "delete", "<Delete>"+b.String()+"</Delete>"), &doc)
	for _, d := range doc.Deleted {
		a.Entries = append(a.Entries, s3op.Entry{Key: d.Key, ID: d.VersionId, Marker: d.DeleteMarker, Created: d.DeleteMarkerVersionId})
	}
	return a
}

func (s sender) list(op s3op.List) *s3op.Answer {
	r := s.request(http.MethodGet, s3op.Name{Bucket: op.Bucket}).with("prefix", op.Prefix).with("max-keys", strconv.Itoa(op.Max))
	after := "key-marker"
	switch {
	case op.Versions:
		r.with("versions", "")
	case s.Steps%2 == 0: // the two forms take turns
		after = "marker"
	default:
		after = "start-after"
		r.with("list-type", "2")
	}
	if op.After != "" {
		r.with(after, op.After)
	}
	type entry struct {
		Key, ETag, VersionId string
		Size                 int64
		IsLatest             bool
	}
	var doc struct {
		IsTruncated bool
		Contents    []entry
		Any         []struct { // versions and markers, in their order
			XMLName xml.Name
			entry
		} `xml:",any"`
	}
	a := s.read(r, &doc)
	a.Truncated = doc.IsTruncated
	for _, e := range doc.Contents {
		a.Entries = append(a.Entries, s3op.Entry{Key: e.Key, ETag: e.ETag, Size: e.Size})
	}
	for _, e := range doc.Any {
		marker := e.XMLName.Local == "DeleteMarker"
		if marker || e.XMLName.Local == "Version" {
			a.Entries = append(a.Entries, s3op.Entry{Key: e.Key, ID: e.VersionId, ETag: e.ETag, Size: e.Size, Latest: e.IsLatest, Marker: marker})
		}
	}
	if op.Versions && s.Unordered {
		age := func(e s3op.Entry) int {
			return slices.IndexFunc(s.World.Buckets[op.Bucket].Objects[e.Key], func(o *s3op.Object) bool { return o.Version == e.ID })
		}
		slices.SortStableFunc(a.Entries, func(a, b s3op.Entry) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(age(b), age(a))) })
	}
	return a
}

func ruleDoc(r s3op.Rule) string {
	doc := "<ApplyServerSideEncryptionByDefault>"
	if r.KeyName != "" {
		doc += "<KMSMasterKeyID>" + r.KeyName + "</KMSMasterKeyID>"
	}
	doc += "<SSEAlgorithm>" + string(r.Scheme) + "</SSEAlgorithm></ApplyServerSideEncryptionByDefault>"
	if r.BucketKey != "" {
		doc += "<BucketKeyEnabled>" + r.BucketKey + "</BucketKeyEnabled>"
	}
	if r.BlockCustomer {
		doc += "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>"
	}
	return "<ServerSideEncryptionConfiguration><Rule>" + doc + "</Rule></ServerSideEncryptionConfiguration>"
}

func (s sender) getRule(op s3op.GetRule) *s3op.Answer {
	var doc struct {
		Rule struct {
			ApplyServerSideEncryptionByDefault struct{ SSEAlgorithm, KMSMasterKeyID string }
			BucketKeyEnabled                   bool
			BlockedEncryptionTypes             struct{ EncryptionType []string }
		}
	}
	a := s.read(s.document(http.MethodGet, s3op.Name{Bucket: op.Bucket}, "encryption", ""), &doc)
	r := doc.Rule
	a.Rule = &s3op.Rule{
		Sealing: s3op.Sealing{
			Scheme: s3op.Scheme(r.ApplyServerSideEncryptionByDefault.SSEAlgorithm), KeyName: r.ApplyServerSideEncryptionByDefault.KMSMasterKeyID,
		},
		BlockCustomer: slices.Contains(r.BlockedEncryptionTypes.EncryptionType, "SSE-C"),
	}
	if r.BucketKeyEnabled {
		a.Rule.BucketKey = "true"
	}
	return a
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
