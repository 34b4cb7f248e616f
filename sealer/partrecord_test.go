package sealer

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testUpload() Upload {
	return Upload{Binding: Binding{Bucket: "bucket", Key: "a//key"}, UploadID: "upload-id"}
}

func testUploadRoot() Root {
	r := Root{ID: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	for i := range r.Key {
		r.Key[i] = byte(i + 1)
	}
	return r
}

var testPartRecords = map[string]PartRecord{
	"plain":   {Size: 5 << 20, Nonce: [16]byte{1, 2}, ETag: "0123456789abcdef0123456789abcdef"},
	"staged":  {Size: 1, Nonce: [16]byte{3}, ETag: "x", Staged: true},
	"empty":   {Size: 0, ETag: strings.Repeat("e", maxPartETag)},
	"largest": {Size: MaxSize, ETag: strings.Repeat("e", maxPartETag), Checksums: []Checksum{{Algorithm: ChecksumSHA512, Digest: make([]byte, 64)}}},
	"crc":     {Size: 17, ETag: "t", Checksums: []Checksum{{Algorithm: ChecksumCRC32, Digest: []byte{1, 2, 3, 4}}}},
	"tagged":  {Size: 17, Nonce: [16]byte{5}, ETag: "t", Tagged: true},
	"both":    {Size: 17, ETag: "t", Staged: true, Tagged: true},
	"sent":    {Size: 17, ETag: "t", Tagged: true, Sent: true, Checksums: []Checksum{{Algorithm: ChecksumCRC64NVME, Digest: make([]byte, 8)}}},
	"two sums": {Size: 17, ETag: "t", Checksums: []Checksum{
		{Algorithm: ChecksumCRC64NVME, Digest: []byte{1, 2, 3, 4, 5, 6, 7, 8}}, {Algorithm: ChecksumSHA1, Digest: make([]byte, 20)},
	}},
	"largest with two sums": {Size: MaxSize, ETag: strings.Repeat("e", 54), Checksums: []Checksum{
		{Algorithm: ChecksumCRC64NVME, Digest: make([]byte, 8)}, {Algorithm: ChecksumSHA512, Digest: make([]byte, 64)},
	}},
}

func TestPartRecord(t *testing.T) {
	t.Parallel()
	root, u := testUploadRoot(), testUpload()
	for name, r := range testPartRecords {
		t.Run(name, func(t *testing.T) {
			text, err := SealPartRecord(root, u, 7, r)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > 247 || strings.HasPrefix(name, "largest") && len(text) != 247 || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
				t.Errorf("%d characters: %s", len(text), text)
			}
			again, err := SealPartRecord(root, u, 7, r)
			if err != nil || again == text {
				t.Errorf("sealed twice alike (%v)", err)
			}
			got, err := OpenPartRecord(root, u, 7, text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&r, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPartRecordBinding opens a record in places where it does not belong.
func TestPartRecordBinding(t *testing.T) {
	t.Parallel()
	root, u := testUploadRoot(), testUpload()
	text, err := SealPartRecord(root, u, 7, testPartRecords["crc"])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]func(*Root, *Upload, *int){
		"number":    func(_ *Root, _ *Upload, n *int) { *n = 8 },
		"upload":    func(_ *Root, u *Upload, _ *int) { u.UploadID = "other" },
		"key":       func(_ *Root, u *Upload, _ *int) { u.Binding.Key = "a/key" },
		"bucket":    func(_ *Root, u *Upload, _ *int) { u.Binding.Bucket = "other" },
		"joined":    func(_ *Root, u *Upload, _ *int) { u.Binding = Binding{Bucket: "bucketa", Key: "//key"} },
		"key to ID": func(_ *Root, u *Upload, _ *int) { u.Binding.Key, u.UploadID = "a//keyu", "pload-id" },
		"root key":  func(r *Root, _ *Upload, _ *int) { r.Key[0]++ },
		"root ID":   func(r *Root, _ *Upload, _ *int) { r.ID[0]++ },
	} {
		r, u, n := root, u, 7
		c(&r, &u, &n)
		if _, err := OpenPartRecord(r, u, n, text); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPartRecordChanged changes each bit, and the length.
func TestPartRecordChanged(t *testing.T) {
	t.Parallel()
	root, u := testUploadRoot(), testUpload()
	text, err := SealPartRecord(root, u, 1, testPartRecords["crc"])
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(text)
	for i := range len(raw) * 8 {
		raw[i/8] ^= 1 << (i % 8)
		if _, err := OpenPartRecord(root, u, 1, base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, ErrNotAuthentic) {
			t.Fatalf("bit %d: %v", i, err)
		}
		raw[i/8] ^= 1 << (i % 8)
	}
	for n := range raw {
		if _, err := OpenPartRecord(root, u, 1, base64.RawURLEncoding.EncodeToString(raw[:n])); !errors.Is(err, ErrNotAuthentic) && !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	for _, bad := range []string{"", "=", text + "=", text + "\n", "\n" + text, text + "A", "+" + text[1:]} {
		if _, err := OpenPartRecord(root, u, 1, bad); err == nil {
			t.Errorf("%q was opened", bad)
		}
	}
}

func TestPartRecordParams(t *testing.T) {
	t.Parallel()
	good := testPartRecords["crc"]
	for name, c := range map[string]struct {
		change func(*Root, *int, *PartRecord)
	}{
		"root":        {func(r *Root, _ *int, _ *PartRecord) { r.Key = Key{} }},
		"number 0":    {func(_ *Root, n *int, _ *PartRecord) { *n = 0 }},
		"number":      {func(_ *Root, n *int, _ *PartRecord) { *n = MaxParts + 1 }},
		"size":        {func(_ *Root, _ *int, r *PartRecord) { r.Size = -1 }},
		"large":       {func(_ *Root, _ *int, r *PartRecord) { r.Size = MaxSize + 1 }},
		"no ETag":     {func(_ *Root, _ *int, r *PartRecord) { r.ETag = "" }},
		"long ETag":   {func(_ *Root, _ *int, r *PartRecord) { r.ETag = strings.Repeat("e", maxPartETag+1) }},
		"no digest":   {func(_ *Root, _ *int, r *PartRecord) { r.Checksums = []Checksum{{Algorithm: ChecksumCRC32}} }},
		"no such sum": {func(_ *Root, _ *int, r *PartRecord) { r.Checksums = []Checksum{{Algorithm: 99, Digest: []byte{1}}} }},
		"three sums": {func(_ *Root, _ *int, r *PartRecord) {
			r.Checksums = []Checksum{
				{Algorithm: ChecksumCRC32, Digest: make([]byte, 4)}, {Algorithm: ChecksumCRC32C, Digest: make([]byte, 4)},
				{Algorithm: ChecksumSHA1, Digest: make([]byte, 20)},
			}
		}},
	} {
		root, n, r := testUploadRoot(), 1, good
		c.change(&root, &n, &r)
		if _, err := SealPartRecord(root, testUpload(), n, r); !errors.Is(err, ErrParams) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenPartRecord(Root{}, testUpload(), 1, strings.Repeat("A", 80)); !errors.Is(err, ErrParams) {
		t.Errorf("no root: %v", err)
	}
	long := PartRecord{ETag: strings.Repeat("e", 55), Checksums: testPartRecords["largest with two sums"].Checksums}
	if _, err := SealPartRecord(testUploadRoot(), testUpload(), 1, long); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too long for a name: %v", err)
	}
}

// TestPartTag checks that the tag of an attempt depends only on its nonce.
func TestPartTag(t *testing.T) {
	a, b := PartRecord{Nonce: [16]byte{1}, ETag: "a"}, PartRecord{Nonce: [16]byte{2}, ETag: "a"}
	if a.Tag() == b.Tag() || len(a.Tag()) != 32 || strings.Contains(a.Tag(), "01000000") {
		t.Errorf("%s, %s", a.Tag(), b.Tag())
	}
	if b.ETag = "b"; b.Tag() != (&PartRecord{Nonce: [16]byte{2}}).Tag() {
		t.Error("the tag depends on what the store says")
	}
}

func FuzzOpenPartRecord(f *testing.F) {
	root, u := testUploadRoot(), testUpload()
	for _, r := range testPartRecords {
		text, err := SealPartRecord(root, u, 3, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := OpenPartRecord(root, u, 3, text)
		if err != nil {
			if r != nil {
				t.Error("a record and an error")
			}
			return
		}
		if r.Size < 0 || r.Size > MaxSize || len(r.ETag) < 1 || len(r.ETag) > maxPartETag {
			t.Errorf("%+v", r)
		}
	})
}
