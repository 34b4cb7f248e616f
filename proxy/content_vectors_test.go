package proxy

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the vectors of the headers digest")

// digestVector is an entry of testdata/digests.json (docs/FORMAT.md, section 6.2).
type digestVector struct {
	Comment   string       `json:"comment"`
	Headers   [][2]string  `json:"headers"`
	Key       string       `json:"key"`
	Size      int64        `json:"size"`
	Written   digestedForm `json:"written"`
	Rewritten digestedForm `json:"rewritten"`
	Earlier   digestedForm `json:"earlier"`
}

// digestedForm is the content of the headers in one of the forms.
type digestedForm struct {
	Content map[string]string `json:"content"`
	Digest  string            `json:"digest"`
}

// forms are those of the vector, in the order of storedForms.
func (v *digestVector) forms() []*digestedForm {
	return []*digestedForm{&v.Written, &v.Rewritten, &v.Earlier}
}

func (v *digestVector) header() http.Header {
	h := http.Header{}
	for _, line := range v.Headers {
		h.Add(line[0], line[1])
	}
	return h
}

// digestVectors are what the vectors are about.
var digestVectors = []digestVector{
	{Comment: "nothing"},
	{Comment: "content headers and metadata", Headers: [][2]string{{"Content-Type", "image/jpeg"}, {"Cache-Control", "no-cache"}, {"X-Amz-Meta-Color", "blue"}}},
	{Comment: "what is not covered", Headers: [][2]string{{"Content-Length", "5"}, {"ETag", "x"}, {"X-Amz-Storage-Class", "STANDARD"}, {"X-Amz-Meta-Ssegw", "AQ"}, {"X-Amz-Website-Redirect-Location", "/"}}},
	{Comment: "names ascend by bytes", Headers: [][2]string{{"x-amz-meta-b", "2"}, {"x-amz-meta-a_", "3"}, {"x-amz-meta-a", "1"}, {"x-amz-meta-a-", "4"}, {"expires", "0"}}},
	{Comment: "two lines are joined by a comma", Headers: [][2]string{{"x-amz-meta-role", "user"}, {"x-amz-meta-role", "admin"}}},
	{Comment: "spaces and tabs at the ends go, inner ones stay", Headers: [][2]string{{"x-amz-meta-a", " \t a  b\t "}}},
	{Comment: "other white space stays", Headers: [][2]string{{"x-amz-meta-a", "\u00a0a\u2003"}}},
	{Comment: "other white space stays beside what is not ASCII", Headers: [][2]string{{"x-amz-meta-a", "\u00a0\u00e4"}}},
	{Comment: "an empty value is none", Headers: [][2]string{{"x-amz-meta-a", ""}, {"x-amz-meta-b", " "}, {"x-amz-meta-c", "c"}}},
	{Comment: "an encoded word that is not ASCII", Headers: [][2]string{{"x-amz-meta-a", "=?UTF-8?q?gr=C3=BCn?="}}},
	{Comment: "the same in base64", Headers: [][2]string{{"x-amz-meta-a", "=?utf-8?B?Z3LDvG4=?="}}},
	{Comment: "the same as it is", Headers: [][2]string{{"x-amz-meta-a", "grün"}}},
	{Comment: "an encoded word of ASCII stays", Headers: [][2]string{{"x-amz-meta-role", "=?utf-8?q?user?="}}},
	{Comment: "space between two words goes", Headers: [][2]string{{"x-amz-meta-a", "=?utf-8?q?=C3=A4?= \t =?utf-8?q?=C3=B6?="}}},
	{Comment: "text between two words stays", Headers: [][2]string{{"x-amz-meta-a", "x =?utf-8?q?=C3=A4?= y =?utf-8?q?=C3=B6?= z"}}},
	{Comment: "a word that fails is text, the next one is decoded", Headers: [][2]string{{"x-amz-meta-a", "=?utf-8?q?=C3=?= =?utf-8?q?=C3=B6?="}}},
	{Comment: "another encoding is text", Headers: [][2]string{{"x-amz-meta-a", "=?utf-8?x?a?= =?utf-8?q?=C3=B6?="}}},
	{Comment: "an underscore is a space", Headers: [][2]string{{"x-amz-meta-a", "=?utf-8?Q?a_=C3=B6?="}}},
	{Comment: "ISO 8859-1", Headers: [][2]string{{"x-amz-meta-a", "=?ISO-8859-1?Q?gr=FCn?="}}},
	{Comment: "US-ASCII with another byte", Headers: [][2]string{{"x-amz-meta-a", "=?us-ascii?Q?a=FF?="}}},
	{Comment: "another charset: all stays", Headers: [][2]string{{"x-amz-meta-a", "=?utf-8?q?=C3=B6?= =?koi8-r?Q?a?="}}},
	{Comment: "an empty text", Headers: [][2]string{{"x-amz-meta-a", "=?utf-8?q??==?utf-8?q?=C3=B6?="}}},
	{Comment: "a word without its end", Headers: [][2]string{{"x-amz-meta-a", "ü =?utf-8?q?=C3=B6"}}},
	{Comment: "the type of a directory object is left out", Headers: [][2]string{{"content-type", "application/x-directory"}}, Key: "dir/"},
	{Comment: "but not that of one with bytes", Headers: [][2]string{{"content-type", "text/plain"}}, Key: "dir/", Size: 1},
}

func TestDigestVectors(t *testing.T) {
	t.Parallel()
	const name = "testdata/digests.json"
	if *update {
		for i := range digestVectors {
			v := &digestVectors[i]
			for j, f := range v.forms() {
				found := contentOf(v.header(), v.Key, v.Size, storedForms[j])
				digest := found.digest()
				f.Content, f.Digest = found, hex.EncodeToString(digest[:])
			}
		}
		b, err := json.MarshalIndent(digestVectors, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []digestVector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < len(digestVectors) {
		t.Errorf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		if digest := headersDigest(v.header(), v.Key, v.Size); hex.EncodeToString(digest[:]) != v.Written.Digest {
			t.Errorf("%s: digest %x, want %s", v.Comment, digest, v.Written.Digest)
		}
		for _, f := range v.forms() {
			digest, err := hex.DecodeString(f.Digest)
			if err != nil {
				t.Fatal(err)
			}
			found, ok := authenticContent(v.header(), v.Key, v.Size, [32]byte(digest))
			if diff := cmp.Diff(content(f.Content), found); diff != "" || !ok {
				t.Errorf("%s: content (-want +got):\n%s", v.Comment, diff)
			}
		}
	}
}
