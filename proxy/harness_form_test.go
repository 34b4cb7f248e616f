package proxy

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// testForm is a browser's form upload to testBucket. Its policy covers every
// field, and holds for an hour.
type testForm struct {
	key        string   // "key" without it
	fields     []string // further fields: name, value pairs
	conditions []string // further ones of the policy, in JSON
	file       []byte
	filename   string
	anonymous  bool // no policy, no signature

	bucket  string              // the addressed one; testBucket without it
	header  http.Header         // of the request
	policy  func(string) string // changes the policy before it is signed
	tamper  func(*formFields)   // changes the signed form
	without bool                // ends after the fields
	after   string              // what follows the file's content
	encoded func([]byte) []byte // changes the body
	cut     int                 // bytes of the body that are sent before the connection ends
}

// formFields are names and values, in order.
type formFields [][2]string

func (f *formFields) add(name, value string) { *f = append(*f, [2]string{name, value}) }

func (f *formFields) set(name, value string) {
	f.remove(name)
	f.add(name, value)
}

func (f *formFields) remove(name string) {
	*f = slices.DeleteFunc(*f, func(p [2]string) bool { return p[0] == name })
}

const formBoundary = "form-boundary"

// form uploads a form and reads the answer, redirections not followed.
func (g *testGateway) form(f testForm) clientAnswer {
	g.t.Helper()
	body := f.encode(g.t)
	bucket := f.bucket
	if bucket == "" {
		bucket = testBucket
	}
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.url+"/"+bucket, bytes.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "multipart/form-data; boundary="+formBoundary)
	for name, values := range f.header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	if f.cut > 0 {
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:f.cut]), failingReader{}))
	}
	return readAnswer(g.http.Transport.RoundTrip(r))
}

// failingReader breaks the connection that it is sent over.
type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// encode signs and encodes the form.
func (f testForm) encode(t testing.TB) []byte {
	t.Helper()
	fields := formFields{}
	if f.key == "" {
		f.key = "key"
	}
	fields.add("key", f.key)
	for p := range slices.Chunk(f.fields, 2) {
		fields.add(p[0], p[1])
	}
	if !f.anonymous {
		f.sign(t, &fields)
	}
	if f.tamper != nil {
		f.tamper(&fields)
	}
	body := newBuffer(len(f.file) + 16<<10)
	w := multipart.NewWriter(body)
	if err := w.SetBoundary(formBoundary); err != nil {
		t.Fatal(err)
	}
	for _, p := range fields {
		if err := w.WriteField(p[0], p[1]); err != nil {
			t.Fatal(err)
		}
	}
	if !f.without {
		file, err := w.CreateFormFile("file", f.filename)
		if err != nil {
			t.Fatal(err)
		}
		file.Write(f.file)
	}
	if f.after != "" {
		body.WriteString(f.after)
	} else {
		w.Close()
	}
	if f.encoded != nil {
		return f.encoded(body.Bytes())
	}
	return body.Bytes()
}

// sign adds the policy and its signature.
func (f testForm) sign(t testing.TB, fields *formFields) {
	t.Helper()
	now := time.Now().UTC()
	date := now.Format("20060102")
	fields.add("x-amz-algorithm", "AWS4-HMAC-SHA256")
	fields.add("X-Amz-Credential", clientAccessKey+"/"+date+"/"+clientRegion+"/s3/aws4_request")
	fields.add("x-amz-date", now.Format("20060102T150405Z"))
	conditions := append([]string{`{"bucket":"` + cmp.Or(f.bucket, testBucket) + `"}`, `["starts-with","$key",""]`}, f.conditions...)
	for _, p := range (*fields)[1:] {
		condition, err := json.Marshal(map[string]string{p[0]: p[1]})
		if err != nil {
			t.Fatal(err)
		}
		conditions = append(conditions, string(condition))
	}
	policy := fmt.Sprintf(`{"expiration":%q,"conditions":[%s]}`, now.Add(time.Hour).Format(time.RFC3339), strings.Join(conditions, ","))
	if f.policy != nil {
		policy = f.policy(policy)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(policy))
	key := []byte("AWS4" + clientSecretKey)
	for _, s := range []string{date, clientRegion, "s3", "aws4_request"} {
		key = testMAC(key, s)
	}
	fields.add("policy", encoded)
	fields.add("x-amz-signature", hex.EncodeToString(testMAC(key, encoded)))
}
