package sealer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/sio"
)

var update = flag.Bool("update", false, "add new test vectors, and write the example in docs/FORMAT.md")

const vectorDir = "testdata/vectors"

// vector is one file of section 12 of docs/FORMAT.md.
type vector struct {
	Comment   string            `json:"comment"`
	Expect    string            `json:"expect"`
	Step      string            `json:"step,omitempty"`
	Header    string            `json:"header"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	Bucket    string            `json:"bucket"`
	Key       string            `json:"key"`
	DataKey   hexBytes          `json:"data_key,omitempty"`
	RootID    hexBytes          `json:"root_id"`
	RootKey   hexBytes          `json:"root_key"`
	FactsOnly bool              `json:"facts_only,omitempty"`
	AnyLength bool              `json:"any_length,omitempty"`
	Streams   []vectorStream    `json:"streams,omitempty"`
	Stored    []vectorPiece     `json:"stored,omitempty"`
	Range     []int64           `json:"range,omitempty"`
	SHA256    hexBytes          `json:"sha256,omitempty"`
	Announced string            `json:"announced,omitempty"`
	Checksums map[string]string `json:"checksums,omitempty"`
}

type vectorStream struct {
	Key     hexBytes `json:"key"`
	Nonce   hexBytes `json:"nonce"`
	Size    int64    `json:"size"`
	Version int      `json:"version,omitempty"`
	Cipher  Cipher   `json:"cipher,omitempty"`
}

type vectorPiece struct {
	Hex    hexBytes `json:"hex,omitempty"`
	Stream int      `json:"stream,omitempty"`
	From   int64    `json:"from,omitempty"`
	To     int64    `json:"to,omitempty"`
}

type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// expectations are the values of "expect".
var expectations = map[string]error{
	"ok":            nil,
	"not sealed":    ErrNotSealed,
	"malformed":     ErrMalformed,
	"wrong key":     ErrWrongKey,
	"not authentic": ErrNotAuthentic,
	"unknown root":  ErrUnknownRoot,
}

func TestVectors(t *testing.T) {
	t.Parallel()
	if *update {
		writeVectors(t, vectorDir)
	}
	runVectors(t, vectorDir)
}

// runVectors runs the vectors of a folder.
func runVectors(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 255 {
		t.Fatalf("%d vectors, want at least 255", len(files))
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			d := json.NewDecoder(bytes.NewReader(b))
			d.DisallowUnknownFields()
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			v.run(t)
		})
	}
}

// outcome is the result of running a vector.
type outcome struct {
	step      string // the one that failed
	plaintext []byte
	announced string
	checksums map[string]string
}

func (v *vector) run(t *testing.T) {
	t.Helper()
	want, ok := expectations[v.Expect]
	if !ok {
		t.Fatalf("unknown expectation %q", v.Expect)
	}
	stored, err := v.build()
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.read(stored)
	if !errors.Is(err, want) || got.step != v.Step {
		t.Fatalf("step %q gave %v; want step %q to give %v", got.step, err, v.Step, want)
	}
	if err != nil {
		return
	}
	if sum := sha256.Sum256(got.plaintext); !v.FactsOnly && !bytes.Equal(sum[:], v.SHA256) {
		t.Errorf("plaintext of %d bytes has digest %x, want %x", len(got.plaintext), sum, v.SHA256)
	}
	if v.Announced != got.announced {
		t.Errorf("announced %q, want %q", got.announced, v.Announced)
	}
	if diff := cmp.Diff(v.Checksums, got.checksums); diff != "" {
		t.Errorf("checksums (-want +got):\n%s", diff)
	}
}

// build assembles the upstream object from its pieces.
func (v *vector) build() ([]byte, error) {
	streams := make([][]byte, len(v.Streams))
	for i, s := range v.Streams {
		config := sio.Config{
			MinVersion: byte(s.Version), MaxVersion: byte(s.Version),
			CipherSuites: []byte{byte(s.Cipher)}, Key: s.Key, Nonce: (*[12]byte)(s.Nonce),
		}
		if s.Version == 0 {
			config.MinVersion, config.MaxVersion = sio.Version20, sio.Version20
		}
		var sealed bytes.Buffer
		if _, err := sio.Encrypt(&sealed, bytes.NewReader(pattern(s.Size)), config); err != nil {
			return nil, err
		}
		streams[i] = sealed.Bytes()
	}
	var stored []byte
	for _, p := range v.Stored {
		if p.To == 0 {
			stored = append(stored, p.Hex...)
			continue
		}
		s := streams[p.Stream]
		if p.From < 0 || p.From > p.To || p.To > int64(len(s)) {
			return nil, fmt.Errorf("bytes %d to %d of a stream of %d", p.From, p.To, len(s))
		}
		stored = append(stored, s[p.From:p.To]...)
	}
	return stored, nil
}

// pattern is the plaintext of every stream of the vectors.
func pattern(size int64) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// read follows section 10, with the functions of this package.
func (v *vector) read(stored []byte) (o outcome, err error) {
	b := Binding{Bucket: v.Bucket, Key: v.Key}
	o.step = "parse"
	p, err := v.parse()
	if err != nil {
		return o, err
	}
	var k *ObjectKey
	if !v.FactsOnly {
		o.step = "open"
		if _, k, err = p.Open(b, Key(v.DataKey)); err != nil {
			return o, err
		}
	}
	o.step = "facts"
	h, facts, err := p.OpenFacts(b, Root{ID: RootID(v.RootID), Key: Key(v.RootKey)})
	if err != nil {
		return o, err
	}
	trailer, step, err := readTrailer(h, facts, k, stored)
	if err != nil {
		o.step = step
		return o, err
	}
	o.step = "length"
	if !v.AnyLength && h.StoredSize(trailer) != int64(len(stored)) {
		return o, ErrNotAuthentic
	}
	if !v.FactsOnly {
		o.step = "body"
		if o.plaintext, err = v.readBody(h, k, trailer, stored); err != nil {
			return o, err
		}
	}
	o.step = ""
	o.announced = facts.Announced.text()
	cs := facts.Checksums
	if trailer != nil {
		cs = append(cs, trailer.Checksums...)
	}
	o.checksums = checksumMap(cs)
	return o, nil
}

// parse parses the header, in one value or in several.
func (v *vector) parse() (*Parsed, error) {
	if v.Metadata == nil {
		return Parse(v.Header)
	}
	headers := map[string][]string{}
	for name, value := range v.Metadata {
		headers[name] = []string{value}
	}
	return ParseHeader(headers)
}

func readTrailer(h *Header, facts *Facts, k *ObjectKey, stored []byte) (_ *Trailer, step string, _ error) {
	key, ok := facts.TrailerKey()
	if ok != h.Trailer {
		return nil, "footer", fmt.Errorf("trailer key %t, trailer %t", ok, h.Trailer)
	}
	if !ok {
		return nil, "", nil
	}
	if k != nil && k.TrailerKey() != key {
		return nil, "footer", fmt.Errorf("trailer key in the facts is another one")
	}
	f, err := ParseFooter(stored)
	if err != nil {
		return nil, "footer", err
	}
	tail := stored[max(0, int64(len(stored))-f.Size()):]
	t, err := facts.OpenTrailer(h, tail)
	return t, "trailer", err
}

func (v *vector) readBody(h *Header, k *ObjectKey, trailer *Trailer, stored []byte) ([]byte, error) {
	size := h.Size
	if h.Multipart {
		size = trailer.Size
	}
	offset, length := int64(0), size
	if v.Range != nil {
		offset, length = v.Range[0], v.Range[1]
	}
	if h.Multipart {
		extents, err := trailer.Parts.Locate(offset, length)
		if err != nil || len(extents) == 0 {
			return nil, err
		}
		return io.ReadAll(k.OpenParts(bytes.NewReader(stored[min(extents[0].Offset, int64(len(stored))):]), extents))
	}
	e, err := Locate(size, offset, length)
	if err != nil {
		return nil, err
	}
	r, err := k.OpenBody(bytes.NewReader(stored[min(e.Offset, int64(len(stored))):]), e)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// text returns the checksum as in S3, with its type if that is COMPOSITE.
func (a Announcement) text() string {
	switch {
	case a.Algorithm == 0:
		return ""
	case a.Composite:
		return a.Algorithm.String() + "/COMPOSITE"
	default:
		return a.Algorithm.String()
	}
}

func checksumMap(cs []Checksum) map[string]string {
	var m map[string]string
	for _, c := range cs {
		if m == nil {
			m = make(map[string]string)
		}
		m[Announcement{c.Algorithm, c.Composite}.text()] = hex.EncodeToString(c.Digest)
	}
	return m
}
