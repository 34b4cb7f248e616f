package sealer

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
)

// Upload names one multipart upload and what its records are bound to.
type Upload struct {
	Binding  Binding
	UploadID string // the upstream's
}

// PartRecord is what the gateways keep of one attempt to upload a part until its upload
// completes (section 15.2).
type PartRecord struct {
	Size     int64     // plaintext bytes
	Nonce    [16]byte  // of the attempt
	ETag     string    // upstream's without quotes, or a random one if Staged; 1 to 64 bytes
	Staged   bool      // the part waits in the state bucket instead of upstream
	Checksum *Checksum // of the part's plaintext, or nil
}

const maxPartETag = 64

// SealPartRecord seals the record of a part as text in base64url: at most 247 characters, so
// that it fits the name of an object and, with the part number before it, of a file. It returns ErrParams.
func SealPartRecord(root Root, u Upload, number int, r PartRecord) (string, error) {
	if root.Key.isZero() || number < 1 || number > MaxParts || r.Size < 0 || r.Size > MaxSize ||
		len(r.ETag) < 1 || len(r.ETag) > maxPartETag {
		return "", fmt.Errorf("sealing part record: %w", ErrParams)
	}
	e := encoder(nil).u64(uint64(r.Size)).bytes(r.Nonce[:]).flag(r.Staged)
	e = e.u8(uint8(len(r.ETag))).bytes([]byte(r.ETag))
	var sums []Checksum
	if r.Checksum != nil {
		sums = []Checksum{*r.Checksum}
	}
	sums, err := sortChecksums(sums)
	if err != nil {
		return "", fmt.Errorf("sealing part record: %w", err)
	}
	e = e.checksums(sums)
	k := partRecordKey(&root, u)
	defer k.Wipe()
	nonce := make([]byte, gcmNonceSize)
	rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(gcm(&k).Seal(nonce, nonce, e, partRecordAAD(number))), nil
}

// OpenPartRecord opens what SealPartRecord returned for the same upload and part number. It
// returns ErrMalformed or ErrNotAuthentic.
func OpenPartRecord(root Root, u Upload, number int, text string) (*PartRecord, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	// The decoder skips line ends, and there is one text for one record.
	if err != nil || len(sealed) < gcmNonceSize || strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("opening part record: %w", ErrMalformed)
	}
	if root.Key.isZero() {
		return nil, fmt.Errorf("opening part record: %w: all-zero root key", ErrParams)
	}
	k := partRecordKey(&root, u)
	defer k.Wipe()
	plain, err := gcm(&k).Open(nil, sealed[:gcmNonceSize], sealed[gcmNonceSize:], partRecordAAD(number))
	if err != nil {
		return nil, fmt.Errorf("opening part record: %w", ErrNotAuthentic)
	}
	d := decoder{rest: plain}
	r := &PartRecord{Size: int64(d.u64())}
	d.fill(r.Nonce[:])
	r.Staged = d.flag()
	r.ETag = string(d.take(int(d.u8())))
	switch sums := d.checksums(); {
	case len(sums) > 1:
		d.fail("%d checksums", len(sums))
	case len(sums) == 1:
		r.Checksum = &sums[0]
	}
	if r.Size < 0 || r.Size > MaxSize || len(r.ETag) < 1 || len(r.ETag) > maxPartETag {
		d.fail("part of %d bytes, ETag of %d", r.Size, len(r.ETag))
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("opening part record: %w", err)
	}
	return r, nil
}

// partRecordKey seals the records of one upload. Each has a random nonce.
func partRecordKey(root *Root, u Upload) Key {
	i := info("upload").bytes(root.ID[:]).lp(u.Binding.Bucket).lp(u.Binding.Key).lp(u.UploadID)
	return Key(derive(root.Key[:], nil, i, len(Key{})))
}

func partRecordAAD(number int) []byte { return info("upload part").u32(uint32(number)) }
