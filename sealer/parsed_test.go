package sealer

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A parsed header becomes a Header only through a key that opens it.
func TestParsed(t *testing.T) {
	t.Parallel()
	o := seal(t, params(10), AES256GCM)
	p, err := Parse(o.header.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(o.header.KeyHint(), p.KeyHint); diff != "" {
		t.Errorf("hint (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff((*Claims)(o.header), p.Claims()); diff != "" || p.Claims().StoredSize() != o.header.StoredSize(nil) {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	p.KeyName, p.RootID = "another", RootID{} // hints only
	h, k, err := p.Open(o.params.Binding, o.params.DataKey)
	if diff := cmp.Diff(o.header, h); diff != "" || err != nil || *k.key() != *o.key.key() {
		t.Errorf("Open: %v, header (-want +got):\n%s", err, diff)
	}
	h, facts, err := p.OpenFacts(o.params.Binding, o.params.Root)
	if diff := cmp.Diff(o.header, h); diff != "" || err != nil || facts.Headers != o.params.Facts.Headers {
		t.Errorf("OpenFacts: %v, header (-want +got):\n%s", err, diff)
	}
	h.Size = 11
	if p.Claims().Size != 10 {
		t.Error("a change of the opened header changed the parsed one")
	}

	other := Binding{Bucket: "photos", Key: "other"}
	if h, k, err := p.Open(other, o.params.DataKey); !errors.Is(err, ErrWrongKey) || h != nil || k != nil {
		t.Errorf("Open under another name: %v, %v", h, err)
	}
	if h, facts, err := p.OpenFacts(other, o.params.Root); !errors.Is(err, ErrNotAuthentic) || h != nil || facts != nil {
		t.Errorf("OpenFacts under another name: %v, %v", h, err)
	}
	if p, err := Parse(""); !errors.Is(err, ErrNotSealed) || p != nil {
		t.Errorf("Parse of nothing: %v, %v", p, err)
	}
}

// EncodedSize is never too low, and not much too high.
func TestEncodedSize(t *testing.T) {
	t.Parallel()
	for a := range Algorithm(len(algorithms)) {
		for name, p := range map[string]SealParams{"SSE-KMS": params(10), "SSE-C": ssec(10)} {
			p.Trailer = true
			if a != 0 {
				p.Facts.Checksums = []Checksum{digest(a)}
			}
			if p.Scheme == SSEKMS {
				p.SealedDataKey, p.Context = random(124), []byte(`{"a":"b"}`)
			}
			n := len(seal(t, p, AES256GCM).header.Encode())
			if limit := EncodedSize(p.Scheme, p.KeyName, p.Context); n > limit || n < limit-100 {
				t.Errorf("%s, %v: %d characters, limit %d", name, a, n, limit)
			}
		}
	}
}
