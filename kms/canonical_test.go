package kms_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms"
)

var update = flag.Bool("update", false, "write the vectors of the associated data")

// contextVector is an entry of testdata/contexts.json (docs/FORMAT.md, section
// 12.1).
type contextVector struct {
	Comment string            `json:"comment"`
	Bucket  string            `json:"bucket"`
	Key     string            `json:"key,omitempty"` // absent if the data key is shared by the bucket
	Context map[string]string `json:"context,omitempty"`
	Header  string            `json:"header,omitempty"` // the context field of the header
	Data    string            `json:"associated_data"`
}

// contexts are the contexts of the vectors.
var contexts = []contextVector{
	{Comment: "one object", Bucket: "photos", Key: "2024/cat.jpg"},
	{Comment: "shared by a bucket", Bucket: "photos"},
	{Comment: "ampersand, angle brackets", Bucket: "photos", Key: "a&b<c>d"},
	{Comment: "quotation mark and backslash", Bucket: "photos", Key: `a"b\c`},
	{Comment: "slashes are not escaped, nor cleaned", Bucket: "photos", Key: "a//b/../c/"},
	{Comment: "characters with short escapes", Bucket: "photos", Key: "\b\f\n\r\t"},
	{Comment: "other control characters", Bucket: "photos", Key: "\x00\x01\x0b\x1f\x7f"},
	{Comment: "beyond ASCII", Bucket: "photos", Key: "grün/日本/𝄞"},
	{Comment: "line and paragraph separator", Bucket: "photos", Key: "\u2028\u2029\u2027\u202a"},
	{Comment: "composed and decomposed are two keys: composed", Bucket: "photos", Key: "\u00e9"},
	{Comment: "composed and decomposed are two keys: decomposed", Bucket: "photos", Key: "e\u0301"},
	{Comment: "the replacement character", Bucket: "photos", Key: "\ufffd"},
	{Comment: "with a context", Bucket: "photos", Key: "k", Context: map[string]string{"dept": "hr", "a": "1"}},
	{Comment: "names ascend by bytes, those before the bucket's too", Bucket: "photos", Key: "k", Context: map[string]string{"photos2": "", "photo": "x", "B": "y", "ü": "z", "": "empty name"}},
	{Comment: "names are escaped", Bucket: "photos", Key: "k", Context: map[string]string{"a&b": `"`}},
}

func (v *contextVector) data(t *testing.T) string {
	t.Helper()
	if v.Key == "" {
		return string(kms.BucketContext(v.Bucket).Canonical())
	}
	c, err := kms.ObjectContext(v.Bucket, v.Key, v.Context)
	if err != nil {
		t.Fatal(err)
	}
	return string(c.Canonical())
}

func TestContextVectors(t *testing.T) {
	const name = "testdata/contexts.json"
	if *update {
		for i := range contexts {
			v := &contexts[i]
			v.Data = v.data(t)
			if v.Context != nil {
				v.Header = string(kms.Context(v.Context).Canonical())
			}
		}
		b, err := json.MarshalIndent(contexts, "", "  ")
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
	var vectors []contextVector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < len(contexts) {
		t.Errorf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		if got := v.data(t); got != v.Data {
			t.Errorf("%s: %s, want %s", v.Comment, got, v.Data)
		}
		if v.Context == nil {
			continue
		}
		if got := string(kms.Context(v.Context).Canonical()); got != v.Header {
			t.Errorf("%s: header %s, want %s", v.Comment, got, v.Header)
		}
	}
}

// FuzzCanonical checks that the canonical form is what encoding/json writes,
// which sealed objects of earlier versions depend on, and that it decodes to
// the input.
func FuzzCanonical(f *testing.F) {
	for _, v := range contexts {
		f.Add(v.Bucket, v.Key)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return
		}
		for _, c := range []kms.Context{{}, {name: value}, {name: value, value: name, "x": "<>"}} {
			want, err := json.Marshal(map[string]string(c))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(c.Canonical())); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
	})
}
