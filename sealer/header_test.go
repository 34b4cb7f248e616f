package sealer

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHeaderBudget keeps the header of a typical object under 600 characters,
// because S3 limits all user metadata to 2 KB.
func TestHeaderBudget(t *testing.T) {
	t.Parallel()
	p := params(1 << 40)
	p.KeyName, p.SealedDataKey = "my-kes-key", random(124)
	p.Facts.Checksums = []Checksum{digest(ChecksumSHA256)}
	for trailer, want := range map[bool]int{false: 518, true: 563} {
		p.Trailer = trailer
		if n := len(seal(t, p, AES256GCM).header.Encode()); n != want || n >= 600 {
			t.Errorf("trailer %t: header of %d characters, want %d", trailer, n, want)
		}
	}
}

// TestLargestHeader checks the limit stated in docs/FORMAT.md.
func TestLargestHeader(t *testing.T) {
	t.Parallel()
	p := params(MaxSize)
	p.Trailer = true
	p.KeyName = strings.Repeat("k", maxKeyName)
	p.SealedDataKey, p.Context = random(maxSealedDataKey), random(maxContext)
	for a := ChecksumCRC32; a <= ChecksumXXHASH128; a++ {
		p.Facts.Checksums = append(p.Facts.Checksums, digest(a))
	}
	o := seal(t, p, AES256GCM)
	value := o.header.Encode()
	if len(value) != 3443 || maxHeader != 2582 {
		t.Errorf("%d characters of %d bytes", len(value), maxHeader)
	}
	h, err := decodeHeader(value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(o.header, h); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

func TestSealRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		edit func(*SealParams)
		want error
	}{
		"size negative":         {func(p *SealParams) { p.Size = -1 }, ErrParams},
		"announced, no trailer": {func(p *SealParams) { p.Facts.Announced.Algorithm = ChecksumMD5 }, ErrParams},
		"announced 11":          {func(p *SealParams) { p.Trailer, p.Facts.Announced.Algorithm = true, 11 }, ErrParams},
		"announced type alone":  {func(p *SealParams) { p.Trailer, p.Facts.Announced.Composite = true, true }, ErrParams},
		"announced and there": {func(p *SealParams) {
			p.Trailer, p.Facts.Announced.Algorithm = true, ChecksumMD5
			p.Facts.Checksums = []Checksum{digest(ChecksumMD5)}
		}, ErrParams},
		"size over limit":         {func(p *SealParams) { p.Size = MaxSize + 1 }, ErrTooLarge},
		"zero data key":           {func(p *SealParams) { p.DataKey = Key{} }, ErrParams},
		"zero root key":           {func(p *SealParams) { p.Root.Key = Key{} }, ErrParams},
		"no scheme":               {func(p *SealParams) { p.Scheme = 0 }, ErrParams},
		"no key name":             {func(p *SealParams) { p.KeyName = "" }, ErrParams},
		"key name":                {func(p *SealParams) { p.KeyName = "a b" }, ErrParams},
		"no sealed data key":      {func(p *SealParams) { p.SealedDataKey = nil }, ErrParams},
		"long sealed data key":    {func(p *SealParams) { p.SealedDataKey = make([]byte, 1025) }, ErrTooLarge},
		"long context":            {func(p *SealParams) { p.Context = make([]byte, 1025) }, ErrTooLarge},
		"context with SSE-S3":     {func(p *SealParams) { p.Scheme, p.Context = SSES3, []byte("{}") }, ErrParams},
		"context with shared key": {func(p *SealParams) { p.Shared, p.Context = true, []byte("{}") }, ErrParams},
		"SSE-C with key name":     {func(p *SealParams) { p.Scheme = SSEC }, ErrParams},
		"checksum twice": {func(p *SealParams) {
			p.Facts.Checksums = []Checksum{digest(ChecksumMD5), digest(ChecksumMD5)}
		}, ErrParams},
		"digest cut": {func(p *SealParams) {
			p.Facts.Checksums = []Checksum{{Algorithm: ChecksumMD5, Digest: make([]byte, 15)}}
		}, ErrParams},
		"unknown algorithm": {func(p *SealParams) { p.Facts.Checksums = []Checksum{{Algorithm: 11}} }, ErrParams},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := params(10)
			test.edit(&p)
			if h, k, err := Seal(p); !errors.Is(err, test.want) || h != nil || k != nil {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

func TestSealIsFresh(t *testing.T) {
	t.Parallel()
	p := params(10)
	a, b := seal(t, p, AES256GCM), seal(t, p, AES256GCM)
	if *a.key.key() == *b.key.key() || a.header.ObjectID == b.header.ObjectID || a.header.Nonce == b.header.Nonce ||
		a.header.FactsNonce == b.header.FactsNonce || a.header.Commitment == b.header.Commitment {
		t.Error("two objects share what must be random")
	}
	if a.header.Cipher != AES256GCM {
		t.Errorf("cipher %v", a.header.Cipher)
	}
	h, _, err := Seal(p)
	if err != nil || h.Cipher != preferredCipher() {
		t.Errorf("cipher %v, %v", h.Cipher, err)
	}
}

// TestSealSortsChecksums checks that the order of the caller's checksums does
// not matter, and that the caller's slice is not modified.
func TestSealSortsChecksums(t *testing.T) {
	t.Parallel()
	p := params(10)
	p.Facts.Checksums = []Checksum{digest(ChecksumXXHASH3), digest(ChecksumCRC32)}
	given := slices.Clone(p.Facts.Checksums)
	facts, err := seal(t, p, AES256GCM).header.openFacts(p.Binding, p.Root)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Checksum{given[1], given[0]}, facts.Checksums); diff != "" {
		t.Errorf("checksums (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(given, p.Facts.Checksums); diff != "" {
		t.Errorf("caller's checksums (-want +got):\n%s", diff)
	}
}

// TestHeaderBitFlips changes each bit of a header. No changed header opens both
// ways, and neither way returns a different result.
func TestHeaderBitFlips(t *testing.T) {
	t.Parallel()
	p := params(100)
	p.Context = []byte(`{"a":"b"}`)
	p.Trailer = true
	o := seal(t, p, AES256GCM)
	raw := []byte(o.header.encodeToFactsNonce().u16(uint16(len(o.header.SealedFacts))).bytes(o.header.SealedFacts))
	for i := range len(raw) * 8 {
		b := slices.Clone(raw)
		b[i/8] ^= 1 << (i % 8)
		h, err := parseHeader(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("bit %d: %v", i, err)
			}
			continue
		}
		if _, err := h.openFacts(p.Binding, p.Root); !errors.Is(err, ErrNotAuthentic) && !errors.Is(err, ErrUnknownRoot) {
			t.Fatalf("bit %d: facts open: %v", i, err)
		}
		k, err := h.open(p.Binding, p.DataKey)
		if err == nil && (*k.key() != *o.key.key() || h.Size != o.header.Size) {
			t.Fatalf("bit %d: opens to another key", i)
		}
		if err == nil && i/8 < len(o.header.encodeToCommitment())+48 {
			t.Fatalf("bit %d: header opens", i)
		}
	}
}

func TestReseal(t *testing.T) {
	t.Parallel()
	p := params(100)
	p.Trailer = true
	p.Context = []byte(`{"a":"b"}`)
	o := seal(t, p, ChaCha20Poly1305, digest(ChecksumSHA1))
	q := ssec(7) // this size must be ignored
	q.Binding = Binding{Bucket: "archive", Key: "cat"}
	q.Facts.Checksums = []Checksum{digest(ChecksumMD5)}
	h, err := o.header.Reseal(o.key, q)
	if err != nil {
		t.Fatal(err)
	}
	if h, err = decodeHeader(h.Encode()); err != nil {
		t.Fatal(err)
	}
	if h.ObjectID != o.header.ObjectID || h.Size != 100 || h.Cipher != ChaCha20Poly1305 || !h.Trailer || h.Multipart ||
		h.Scheme != SSEC || h.Nonce == o.header.Nonce || h.FactsNonce == o.header.FactsNonce {
		t.Errorf("resealed header %+v", h)
	}
	k, err := h.open(q.Binding, q.DataKey)
	if err != nil || *k.key() != *o.key.key() {
		t.Fatalf("resealed header opens to another key, %v", err)
	}
	facts, err := h.openFacts(q.Binding, q.Root)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := facts.TrailerKey()
	if !ok || !cmp.Equal(facts.Checksums, q.Facts.Checksums) || facts.Headers != q.Facts.Headers {
		t.Errorf("facts %+v", facts)
	}
	if _, err := OpenTrailer(h, key, o.trailer); err != nil {
		t.Errorf("trailer under the new header: %v", err)
	}
	if _, err := h.open(p.Binding, p.DataKey); !errors.Is(err, ErrWrongKey) {
		t.Errorf("opens under the old name: %v", err)
	}
}

func TestResealRefuses(t *testing.T) {
	t.Parallel()
	p := params(100)
	o, other := seal(t, p, AES256GCM), seal(t, p, AES256GCM)
	if _, err := o.header.Reseal(other.key, p); !errors.Is(err, ErrParams) {
		t.Errorf("key of another object: %v", err)
	}
	forged := *o.header
	forged.Size = 99
	if _, err := forged.Reseal(o.key, p); !errors.Is(err, ErrParams) {
		t.Errorf("changed header: %v", err)
	}
	p.DataKey = Key{}
	if _, err := o.header.Reseal(o.key, p); !errors.Is(err, ErrParams) {
		t.Errorf("zero data key: %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for s, want := range map[Scheme]string{SSES3: "SSE-S3", SSEKMS: "SSE-KMS", SSEC: "SSE-C", 9: "Scheme(9)"} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for c, want := range map[Cipher]string{AES256GCM: "AES-256-GCM", ChaCha20Poly1305: "ChaCha20-Poly1305", 2: "Cipher(2)"} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := (ID{1}).String() + " " + (RootID{2}).String(); got != "01000000000000000000000000000000 0200000000000000" {
		t.Errorf("IDs %q", got)
	}
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	names := []string{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"}
	sizes := []int{4, 4, 8, 20, 32, 64, 16, 8, 8, 16}
	for i, name := range names {
		a, ok := ParseAlgorithm(name)
		if !ok || int(a) != i+1 || a.String() != name || a.Size() != sizes[i] {
			t.Errorf("%s is %d, %v, %d bytes", name, a, a, a.Size())
		}
	}
	for _, name := range []string{"", "crc32", "SHA-256", "CRC64"} {
		if a, ok := ParseAlgorithm(name); ok {
			t.Errorf("%q is %v", name, a)
		}
	}
	if a := Algorithm(11); a.Size() != 0 || a.String() != "Algorithm(11)" {
		t.Errorf("%v of %d bytes", a, a.Size())
	}
}
