package rescue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssegw/sealer"
)

var name = sealer.Binding{Bucket: "photos", Key: "2024/cat.jpg"}

// sealed is a stored object and what opens it.
type sealed struct {
	plain, stored []byte
	header        string
	key           sealer.Key
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func params(key sealer.Key) sealer.SealParams {
	return sealer.SealParams{
		Scheme: sealer.SSEC, Binding: name, DataKey: key,
		Root: sealer.Root{ID: sealer.RootID{1}, Key: sealer.NewKey()},
	}
}

// single seals a single PUT.
func single(t *testing.T, size int, trailer bool) sealed {
	t.Helper()
	s := sealed{plain: pattern(size), key: sealer.NewKey()}
	p := params(s.key)
	p.Size, p.Trailer = int64(size), trailer
	h, k, err := sealer.Seal(p)
	if err != nil {
		t.Fatal(err)
	}
	body := must(k.SealBody(bytes.NewReader(s.plain), p.Size))(t)
	s.header, s.stored = h.Encode(), must(io.ReadAll(body))(t)
	if trailer {
		s.stored = append(s.stored, must(k.SealTrailer(nil, p.Size))(t)...)
	}
	return s
}

// multipart seals an object with parts of these sizes.
func multipart(t *testing.T, sizes ...int) sealed {
	t.Helper()
	s := sealed{key: sealer.NewKey()}
	p := params(s.key)
	p.Multipart = true
	h, k, err := sealer.Seal(p)
	if err != nil {
		t.Fatal(err)
	}
	table := &sealer.PartTable{}
	for i, size := range sizes {
		part := sealer.Part{Number: 2*i + 1, Size: int64(size), Nonce: sealer.NewPartNonce()}
		body := must(k.SealPart(part.Number, part.Nonce, bytes.NewReader(pattern(size)), part.Size))(t)
		s.stored = append(s.stored, must(io.ReadAll(body))(t)...)
		s.plain = append(s.plain, pattern(size)...)
		table.Parts = append(table.Parts, part)
	}
	s.header = h.Encode()
	s.stored = append(s.stored, must(h.SealPartTable(k.TrailerKey(), nil, table))(t)...)
	return s
}

// open opens a sealed object from a file.
func (s sealed) open(t *testing.T, w io.Writer) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stored")
	if err := os.WriteFile(path, s.stored, 0o600); err != nil {
		t.Fatal(err)
	}
	f := must(os.Open(path))(t)
	defer f.Close()
	o := Object{Name: name, Header: must(sealer.Parse(s.header))(t), Stored: must(FromFile(f))(t)}
	_, size, err := o.Open(t.Context(), s.key, w)
	if err == nil && size != int64(len(s.plain)) {
		t.Errorf("size %d of %d bytes", size, len(s.plain))
	}
	return err
}

func objects(t *testing.T) map[string]sealed {
	t.Helper()
	return map[string]sealed{
		"empty": single(t, 0, false), "empty with a trailer": single(t, 0, true),
		"small": single(t, 12, false), "small with a trailer": single(t, 12, true),
		"packages": single(t, 200000, false), "packages with a trailer": single(t, 131072, true),
		"parts": multipart(t, 65536, 0, 70000, 1), "empty part": multipart(t, 0),
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for what, s := range objects(t) {
		var got bytes.Buffer
		if err := s.open(t, &got); err != nil || !bytes.Equal(got.Bytes(), s.plain) {
			t.Errorf("%s: %d of %d bytes, %v", what, got.Len(), len(s.plain), err)
		}
	}
}

// TestOpenTampered changes, cuts and extends stored objects at many places.
// Opening must fail, and what it has written must be a prefix of the plaintext.
func TestOpenTampered(t *testing.T) {
	t.Parallel()
	for what, s := range objects(t) {
		refused := func(how string, stored []byte) {
			t.Helper()
			bad := s
			bad.stored = stored
			var got bytes.Buffer
			err := bad.open(t, &got)
			if !errors.Is(err, sealer.ErrNotAuthentic) && !errors.Is(err, sealer.ErrMalformed) {
				t.Errorf("%s, %s: error %v", what, how, err)
			}
			if !bytes.HasPrefix(s.plain, got.Bytes()) {
				t.Errorf("%s, %s: wrote something else", what, how)
			}
		}
		refused("extended", append(bytes.Clone(s.stored), 0))
		n := len(s.stored)
		for _, at := range []int{0, 5, 40, 65568, 65569, n - 200, n - 100, n - 24, n - 10, n - 1} {
			if at < 0 || at >= n {
				continue
			}
			refused(fmt.Sprintf("cut at %d", at), s.stored[:at])
			flipped := bytes.Clone(s.stored)
			flipped[at] ^= 1
			refused(fmt.Sprintf("changed at %d", at), flipped)
		}
	}
}

func TestOpenWrongKey(t *testing.T) {
	t.Parallel()
	s := single(t, 12, false)
	s.key = sealer.NewKey()
	if err := s.open(t, io.Discard); !errors.Is(err, sealer.ErrWrongKey) {
		t.Error(err)
	}
}

// TestOpenInterrupted checks that a file is not read on after the context ends.
func TestOpenInterrupted(t *testing.T) {
	t.Parallel()
	s := single(t, 1<<20, false)
	path := filepath.Join(t.TempDir(), "stored")
	if err := os.WriteFile(path, s.stored, 0o600); err != nil {
		t.Fatal(err)
	}
	f := must(os.Open(path))(t)
	defer f.Close()
	o := Object{Name: name, Header: must(sealer.Parse(s.header))(t), Stored: must(FromFile(f))(t)}
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err := o.Open(ctx, s.key, writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }))
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestFromFile(t *testing.T) {
	t.Parallel()
	f := must(os.Open(t.TempDir()))(t)
	defer f.Close()
	if _, err := FromFile(f); err == nil {
		t.Error("a folder is taken")
	}
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	k := sealer.NewKey()
	text := string(FormatKey(k))
	for _, good := range []string{string(k[:]), text, strings.TrimSpace(text), strings.TrimRight(text, "=\n"), " " + text + "\r\n"} {
		if got, err := ParseKey([]byte(good)); err != nil || got != k {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", text[1:], text + text, string(k[:31]), string(k[:]) + "\n", strings.Repeat("0", 64), "not base64 at all"} {
		if _, err := ParseKey([]byte(bad)); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	first, second := "X-Amz-Meta-Ssegw", "X-Amz-Meta-Ssegw-2"
	for _, tt := range []struct {
		texts []string
		want  http.Header
	}{
		{nil, http.Header{}},
		{[]string{"abc"}, http.Header{first: {"abc"}}},
		{[]string{"2.2.ab", "c"}, http.Header{first: {"2.2.ab"}, second: {"c"}}},
		{[]string{"X-Amz-Meta-Ssegw-2: c ", " x-amz-meta-ssegw: 2.2.ab"}, http.Header{first: {"2.2.ab"}, second: {"c"}}},
		{[]string{"ssegw-2=c", "ssegw=2.2.ab"}, http.Header{first: {"2.2.ab"}, second: {"c"}}},
	} {
		if got := Metadata(tt.texts); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%q: %v", tt.texts, got)
		}
	}
}
