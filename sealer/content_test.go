package sealer

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// contentVectors are the vectors of the headers digest (docs/FORMAT.md, section
// 6.2).
const contentVectors = "testdata/digests.json"

type contentVector struct {
	Comment   string       `json:"comment"`
	Headers   [][2]string  `json:"headers"`
	Key       string       `json:"key"`
	Size      int64        `json:"size"`
	Written   contentInOne `json:"written"`
	Rewritten contentInOne `json:"rewritten"`
	Earlier   contentInOne `json:"earlier"`
}

// contentInOne is the content in one of the forms.
type contentInOne struct {
	Content Content `json:"content"`
	Digest  string  `json:"digest"`
}

func TestContentVectors(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(contentVectors)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []contentVector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 25 {
		t.Errorf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		headers := map[string][]string{}
		for _, line := range v.Headers {
			headers[line[0]] = append(headers[line[0]], line[1])
		}
		written := NewContent(headers, v.Key, v.Size)
		if digest := written.Digest(); hex.EncodeToString(digest[:]) != v.Written.Digest {
			t.Errorf("%s: digest %x, want %s", v.Comment, digest, v.Written.Digest)
		}
		for _, want := range []contentInOne{v.Written, v.Rewritten, v.Earlier} {
			digest, err := hex.DecodeString(want.Digest)
			if err != nil {
				t.Fatal(err)
			}
			got, err := OpenContent(headers, v.Key, v.Size, [32]byte(digest))
			if diff := cmp.Diff(want.Content, got); diff != "" || err != nil {
				t.Errorf("%s: %v, content (-want +got):\n%s", v.Comment, err, diff)
			}
		}
		if got, err := OpenContent(headers, v.Key, v.Size, [32]byte{}); !errors.Is(err, ErrNotAuthentic) || !cmp.Equal(got, written) {
			t.Errorf("%s: another digest: %v, %v", v.Comment, got, err)
		}
	}
}

// FuzzContent checks that a store which decodes encoded words, or encodes text in
// its own way, changes neither content nor digest, and that another value does.
func FuzzContent(f *testing.F) {
	f.Add("grün", "image/jpeg", "x")
	f.Add("=?utf-8?q?user?=", "ä", " y ")
	f.Fuzz(func(t *testing.T, meta, contentType, other string) {
		if !utf8.ValidString(meta) || strings.ContainsAny(meta, "\r\n") {
			t.Skip()
		}
		written := map[string][]string{"X-Amz-Meta-A": {RewrittenValue("x-amz-meta-a", meta)}, "Content-Type": {contentType}}
		c := NewContent(written, "k", 1)
		stored := map[string][]string{"x-amz-meta-a": {" " + c["x-amz-meta-a"]}, "content-type": {contentType + "\t"}, "etag": {"e"}}
		if got, err := OpenContent(stored, "k", 1, c.Digest()); err != nil || !cmp.Equal(got, c) {
			t.Errorf("%v, content %q, want %q", err, got, c)
		}
		plain := RewrittenValue("x-amz-meta-a", decodeWords(c["x-amz-meta-a"]))
		if v := c["x-amz-meta-a"]; !isASCII(meta) && plain != v {
			t.Errorf("%q decoded and rewritten is %q", v, plain)
		}
		stored["content-type"] = []string{contentType + "; charset=x"}
		if got, err := OpenContent(stored, "k", 1, c.Digest()); err == nil {
			t.Errorf("%q has the digest of %q", got, c)
		}
		if InContent("X-Amz-Meta-"+other, "k", 1) != (strings.ToLower("X-Amz-Meta-"+other) != MetadataKey) {
			t.Errorf("user metadata %q", other)
		}
	})
}
