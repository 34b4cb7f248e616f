package s3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

const formType = "multipart/form-data; boundary=b"

// formBody returns a form with the given name and value pairs and a file.
func formBody(file string, pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString("--b\r\nContent-Disposition: form-data; name=\"" + pairs[i] + "\"\r\n\r\n" + pairs[i+1] + "\r\n")
	}
	b.WriteString("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n\r\n" + file + "\r\n--b--\r\n")
	return b.String()
}

func TestReadForm(t *testing.T) {
	t.Parallel()
	files := []string{"", "x", "a\r\n--b", "\r\n--bb\r\n--\r\n", strings.Repeat("\r\n--", 100_000)}
	for _, content := range files {
		body := strings.Replace(formBody("FILE", "KEY", "a/${filename}", "Acl", " private "), "FILE", content, 1)
		if content == files[2] {
			body = strings.Replace(body, content, content+"x", 1) // "x" alone is the boundary
			content += "x"
		}
		for _, r := range []io.Reader{strings.NewReader(body), iotest.OneByteReader(strings.NewReader(body)), iotest.DataErrReader(strings.NewReader(body))} {
			f, err := ReadForm(r, formType)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"key": "a/f.txt", "acl": " private "}, f.Fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			got, err := io.ReadAll(f.File)
			if err != nil || string(got) != content {
				t.Errorf("file %.40q, %v; want %.40q", got, err, content)
			}
		}
	}
}

func TestReadFormRefusals(t *testing.T) {
	t.Parallel()
	full := strings.Repeat("v", maxFormFields-len("key")-1-len("a"))
	broken := errors.New("broken")
	tests := map[string]struct {
		body io.Reader
		kind string
		want error
	}{
		"fields up to the bound": {strings.NewReader(formBody("x", "key", "k", "a", full)), formType, nil},
		"one byte more":          {strings.NewReader(formBody("x", "key", "k", "a", full+"v")), formType, errFormHead},
		"endless field":          {io.MultiReader(strings.NewReader("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n"), zeros{}), formType, errFormHead},
		"endless part header":    {io.MultiReader(strings.NewReader("--b\r\nContent-Disposition: form-data; name=a"), zeros{}), formType, errFormHead},
		"endless preamble":       {zeros{}, formType, ErrMalformedPOSTRequest},
		"a field without end":    {strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n"), formType, ErrMalformedPOSTRequest},
		"no file":                {strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b--\r\n"), formType, ErrInvalidArgument},
		"no key":                 {strings.NewReader(formBody("x")), formType, ErrInvalidArgument},
		"not UTF-8":              {strings.NewReader(formBody("x", "key", "k", "a", "\xff")), formType, ErrInvalidArgument},
		"key twice":              {strings.NewReader(formBody("x", "key", "k", "Key", "k")), formType, ErrInvalidArgument},
		"empty":                  {strings.NewReader(""), formType, ErrMalformedPOSTRequest},
		"ends in a field":        {strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk"), formType, ErrMalformedPOSTRequest},
		"part without name":      {strings.NewReader("--b\r\nContent-Disposition: form-data\r\n\r\nk\r\n--b--\r\n"), formType, ErrMalformedPOSTRequest},
		"part of another kind":   {strings.NewReader("--b\r\nContent-Disposition: attachment; name=\"key\"\r\n\r\nk\r\n--b--\r\n"), formType, ErrMalformedPOSTRequest},
		"no boundary":            {strings.NewReader(""), "multipart/form-data", ErrMalformedPOSTRequest},
		"long boundary":          {strings.NewReader(""), "multipart/form-data; boundary=" + strings.Repeat("b", 71), ErrMalformedPOSTRequest},
		"body breaks":            {io.MultiReader(strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk"), iotest.ErrReader(broken)), formType, broken},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadForm(tt.body, tt.kind); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	cut := formBody("content", "key", "k")
	for what, tt := range map[string]struct {
		end  io.Reader
		want error
	}{"ends": {strings.NewReader(""), ErrMalformedPOSTRequest}, "breaks": {iotest.ErrReader(broken), broken}} {
		f, err := ReadForm(io.MultiReader(strings.NewReader(cut[:len(cut)-8]), tt.end), formType)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(f.File); !errors.Is(err, tt.want) {
			t.Errorf("file that %s: %v, want %v", what, err, tt.want)
		}
	}
}

// zeros is a reader that never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestFormHeader(t *testing.T) {
	t.Parallel()
	f := &Form{Fields: map[string]string{
		"key": "k", "policy": "p", "bucket": "b", "x-amz-signature": "s", "x-amz-credential": "c", "x-amz-date": "d", "utf8": "✓",
		"acl": "private", "content-type": "image/png", "expires": "", "content-md5": "m", "x-amz-meta-a": "", "host": "h", "if-match": "e",
		"tagging": "<Tagging><TagSet><Tag><Key>b</Key><Value> </Value></Tag><Tag><Key>a</Key><Value/></Tag></TagSet></Tagging>",
	}}
	h, err := f.Header()
	want := http.Header{
		"X-Amz-Acl": {"private"}, "Content-Type": {"image/png"}, "Content-Md5": {"m"}, "X-Amz-Meta-A": {""}, "X-Amz-Tagging": {"a=&b=%20"},
	}
	if diff := cmp.Diff(want, h); diff != "" || err != nil {
		t.Errorf("error %v, headers (-want +got):\n%s", err, diff)
	}
	tag := "<Tag><Key>a</Key><Value>1</Value></Tag>"
	for _, tt := range []struct {
		name, value string
		want        error
	}{
		{"tagging", "<Tagging><TagSet>" + tag + tag + "</TagSet></Tagging>", ErrInvalidTag},
		{"tagging", "<Tagging></Tagging>", ErrMalformedXML},
		{"tagging", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", ErrMalformedXML},
		{"tagging", "<Tags><TagSet>" + tag + "</TagSet></Tags>", ErrMalformedXML},
		{"x-amz-tagging", "a=1", nil},
		{"x-amz-copy-source", "b/k", ErrNotImplemented},
		{"x-amz-copy-source-range", "bytes=0-1", ErrNotImplemented},
		{"x-amz-content-sha256", "x", ErrNotImplemented},
		{"x-amz-meta-a\r\nb", "x", ErrInvalidArgument},
		{"content-type", "a\nb", ErrInvalidArgument},
	} {
		f := &Form{Fields: map[string]string{"key": "k", tt.name: tt.value}}
		if _, err := f.Header(); !errors.Is(err, tt.want) {
			t.Errorf("%s %q: got %v, want %v", tt.name, tt.value, err, tt.want)
		}
	}
	both := &Form{Fields: map[string]string{"acl": "private", HeaderACL: "public-read"}}
	if _, err := both.Header(); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("acl under two names: %v", err)
	}
}

// FuzzReadForm checks that for any body the fields stay within their limits,
// and that every resulting header can be sent.
func FuzzReadForm(f *testing.F) {
	f.Add([]byte(formBody("content", "key", "${filename}", "tagging", "<Tagging><TagSet/></Tagging>")), "b")
	f.Add([]byte("--b\nContent-Disposition: form-data; name=file\n\nx\n--b--"), "b")
	f.Add([]byte(formBody("content", "key", "k", "x-amz-meta-a", "b")), "b")
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		form, err := ReadForm(bytes.NewReader(body), `multipart/form-data; boundary="`+boundary+`"`)
		if err != nil {
			return
		}
		size := 0
		for name, value := range form.Fields {
			if name != strings.ToLower(name) {
				t.Errorf("name %q", name)
			}
			if name != "key" {
				size += len(name) + len(value)
			}
		}
		if size > maxFormFields || CheckKey(form.Fields["key"]) != nil {
			t.Errorf("%d bytes of fields, key %q", size, form.Fields["key"])
		}
		if content, err := io.ReadAll(form.File); err == nil && !bytes.Contains(body, content) {
			t.Errorf("file %q is not of the body", content)
		}
		h, err := form.Header()
		if err != nil {
			return
		}
		for name, values := range h {
			if !isHeaderName(name) || !isHeaderValue(values[0]) {
				t.Errorf("header %q: %q", name, values[0])
			}
		}
	})
}
