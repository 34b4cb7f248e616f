package sealer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const partRecordDir = "testdata/partrecords"

// partRecordVector is one file of testdata/partrecords (section 12 of
// docs/FORMAT.md).
type partRecordVector struct {
	Comment  string   `json:"comment"`
	Expect   string   `json:"expect"`
	RootID   hexBytes `json:"root_id"`
	RootKey  hexBytes `json:"root_key"`
	Bucket   string   `json:"bucket"`
	Key      string   `json:"key"`
	UploadID string   `json:"upload_id"`
	Number   int      `json:"number"`
	Text     string   `json:"text"`

	Size      int64             `json:"size,omitempty"`
	Nonce     hexBytes          `json:"nonce,omitempty"`
	ETag      string            `json:"etag,omitempty"`
	Staged    bool              `json:"staged,omitempty"`
	Sent      bool              `json:"sent,omitempty"`
	Checksums map[string]string `json:"checksums,omitempty"`
	PartETag  string            `json:"part_etag,omitempty"`
}

func TestPartRecordVectors(t *testing.T) {
	t.Parallel()
	if *update {
		writePartRecordVectors(t, partRecordDir)
	}
	runPartRecordVectors(t, partRecordDir)
}

// runPartRecordVectors runs the vectors of a folder.
func runPartRecordVectors(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) < 13 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v partRecordVector
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			root := Root{ID: [8]byte(v.RootID), Key: Key(v.RootKey)}
			u := Upload{Binding: Binding{Bucket: v.Bucket, Key: v.Key}, UploadID: v.UploadID}
			r, err := OpenPartRecord(root, u, v.Number, v.Text)
			if !errors.Is(err, expectations[v.Expect]) {
				t.Fatalf("%v, want %s", err, v.Expect)
			}
			if err != nil {
				return
			}
			got := v
			got.describe(r)
			if diff := cmp.Diff(v, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// describe sets the contents of the record.
func (v *partRecordVector) describe(r *PartRecord) {
	v.Size, v.Nonce, v.ETag, v.Staged, v.Sent, v.Checksums = r.Size, r.Nonce[:], r.ETag, r.Staged, r.Sent, nil
	for _, sum := range r.Checksums {
		if v.Checksums == nil {
			v.Checksums = map[string]string{}
		}
		digest, _ := hexBytes(sum.Digest).MarshalText()
		v.Checksums[sum.Algorithm.String()] = string(digest)
	}
	v.PartETag = r.ETag
	if r.Tagged {
		v.PartETag = r.Tag()
	}
	if !strings.Contains(v.PartETag, "-") {
		v.PartETag += "-1"
	}
}

// writePartRecordVectors writes the vectors that dir does not have yet.
func writePartRecordVectors(t *testing.T, dir string) {
	t.Helper()
	root, u := testUploadRoot(), testUpload()
	u.UploadID = "store-id" + "-ssegw-" + strings.Repeat("0123456789abcdef", 2)
	const number = 7
	write := func(name, expect, comment, text string, r *PartRecord) {
		v := partRecordVector{
			Comment: comment, Expect: expect, RootID: root.ID[:], RootKey: root.Key[:], Bucket: u.Binding.Bucket, Key: u.Binding.Key,
			UploadID: u.UploadID, Number: number, Text: text,
		}
		if r != nil {
			v.describe(r)
		}
		writeVector(t, dir, name, v)
	}
	seal := func(number int, r PartRecord) string {
		text, err := SealPartRecord(root, u, number, r)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	crc64 := Checksum{Algorithm: ChecksumCRC64NVME, Digest: []byte{1, 2, 3, 4, 5, 6, 7, 8}}
	sha1 := Checksum{Algorithm: ChecksumSHA1, Digest: []byte("twenty bytes of SHA1")}
	good := PartRecord{Size: 5 << 20, Nonce: NewPartNonce(), ETag: "0123456789abcdef0123456789abcdef", Tagged: true, Checksums: []Checksum{crc64}}
	for _, c := range []struct {
		name, comment string
		change        func(*PartRecord)
	}{
		{"ok", "the part ETag is the gateway's own", func(*PartRecord) {}},
		{"ok-staged", "the part waits in the state bucket", func(r *PartRecord) { r.Staged = true }},
		{"ok-two-sums", "a checksum of the client's beside the one of the object's algorithm", func(r *PartRecord) { r.Checksums = []Checksum{crc64, sha1} }},
		{"ok-untagged", "a record of an earlier version: the part ETag is the upstream's", func(r *PartRecord) { r.Tagged = false }},
		{"ok-untagged-mpu", "an upstream's ETag with a hyphen", func(r *PartRecord) { r.Tagged, r.ETag = false, "abc-1" }},
	} {
		r := good
		c.change(&r)
		write(c.name, "ok", c.comment, seal(number, r), &r)
	}
	for _, c := range []struct {
		name, comment string
		change        func(plain encoder) encoder
	}{
		{"flags-unknown", "a flag that is not known", func(e encoder) encoder { e[24] |= 8; return e }},
		{"cut", "the last byte is missing", func(e encoder) encoder { return e[:len(e)-1] }},
		{"trailing-byte", "a byte too many", func(e encoder) encoder { return e.u8(0) }},
		{"three-sums", "three checksums", func(e encoder) encoder {
			return e[:len(e)-11].checksums([]Checksum{{Algorithm: ChecksumCRC32, Digest: make([]byte, 4)}, crc64, sha1})
		}},
	} {
		plain, err := good.encode()
		if err != nil {
			t.Fatal(err)
		}
		write(c.name, "malformed", c.comment, sealPartText(root, u, number, c.change(plain)), nil)
	}
	text := seal(number, good)
	write("of-another-part", "not authentic", "the record of part 8", seal(8, good), nil)
	raw, _ := base64.RawURLEncoding.DecodeString(text)
	raw[len(raw)-1] ^= 1
	write("flipped", "not authentic", "the last bit is flipped", base64.RawURLEncoding.EncodeToString(raw), nil)
	write("padding", "malformed", "padded base64", text+"=", nil)
	sent := good
	sent.Sent = true
	write("ok-sent", "ok", "the client sent the checksum of the object's algorithm with the part", seal(number, sent), &sent)
}
