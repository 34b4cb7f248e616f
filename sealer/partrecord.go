package sealer

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Upload identifies one multipart upload. Its part records are bound to it.
type Upload struct {
	Binding  Binding
	UploadID string // of the upstream
}

// PartRecord describes one attempt to upload a part. The gateways keep it until
// the upload completes (section 15.2).
type PartRecord struct {
	Size      int64      // plaintext bytes
	Nonce     [16]byte   // of the attempt
	ETag      string     // from the upstream, without quotes, or random if Staged; 1 to 64 bytes
	Staged    bool       // the part is in the state bucket, not in the upload
	Tagged    bool       // clients identify the attempt by its Tag, not by the ETag
	Sent      bool       // the client sent the checksum that the object's default checksum is computed from
	Checksums []Checksum // of the plaintext, in ascending order of algorithm, at most 2
}

const (
	maxPartETag   = 64
	maxPartSums   = 2
	maxPartRecord = 185 // sealed bytes; at most 247 characters of text

	partStaged = 1 // flags
	partTagged = 2
	partSent   = 4
)

// Tag returns the part ETag of an attempt, without the suffix that clients see
// (section 15.3): 32 hexadecimal digits. The upstream cannot know it.
func (r *PartRecord) Tag() string {
	sum := sha256.Sum256(info("part tag").bytes(r.Nonce[:]))
	return hex.EncodeToString(sum[:16])
}

// SealPartRecord seals the record of a part and returns it in base64url. The
// text has at most 247 characters, so it fits into the name of an object and,
// after the part number, into a file name. It returns ErrParams, or ErrTooLarge
// if two checksums and the ETag do not fit.
func SealPartRecord(root Root, u Upload, number int, r PartRecord) (string, error) {
	if root.Key.isZero() || number < 1 || number > MaxParts {
		return "", fmt.Errorf("sealing part record: %w", ErrParams)
	}
	plain, err := r.encode()
	if err != nil {
		return "", fmt.Errorf("sealing part record: %w", err)
	}
	if gcmNonceSize+len(plain)+tagSize > maxPartRecord {
		return "", fmt.Errorf("sealing part record: %w: %d bytes", ErrTooLarge, len(plain))
	}
	return sealPartText(root, u, number, plain), nil
}

func sealPartText(root Root, u Upload, number int, plain []byte) string {
	k := partRecordKey(&root, u)
	defer k.Wipe()
	nonce := make([]byte, gcmNonceSize)
	rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(gcm(&k).Seal(nonce, nonce, plain, partRecordAAD(number)))
}

// encode returns the plaintext of the record.
func (r *PartRecord) encode() (encoder, error) {
	sums, err := sortChecksums(r.Checksums)
	if err != nil || len(sums) > maxPartSums || !r.valid() {
		return nil, cmp.Or(err, ErrParams)
	}
	flags := uint8(0)
	if r.Staged {
		flags |= partStaged
	}
	if r.Tagged {
		flags |= partTagged
	}
	if r.Sent {
		flags |= partSent
	}
	e := encoder(nil).u64(uint64(r.Size)).bytes(r.Nonce[:]).u8(flags)
	return e.u8(uint8(len(r.ETag))).bytes([]byte(r.ETag)).checksums(sums), nil
}

func (r *PartRecord) valid() bool {
	return r.Size >= 0 && r.Size <= MaxSize && len(r.ETag) >= 1 && len(r.ETag) <= maxPartETag
}

// OpenPartRecord opens the result of SealPartRecord for the same upload and
// part number. It returns ErrMalformed or ErrNotAuthentic.
func OpenPartRecord(root Root, u Upload, number int, text string) (*PartRecord, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	// The decoder ignores line ends, but a record has only one valid text.
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
	flags := d.u8()
	r.Staged, r.Tagged, r.Sent = flags&partStaged != 0, flags&partTagged != 0, flags&partSent != 0
	r.ETag = string(d.take(int(d.u8())))
	r.Checksums = d.checksums()
	if flags&^(partStaged|partTagged|partSent) != 0 || len(r.Checksums) > maxPartSums || !r.valid() {
		d.fail("flags %#x, %d bytes, ETag of %d, %d checksums", flags, r.Size, len(r.ETag), len(r.Checksums))
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("opening part record: %w", err)
	}
	return r, nil
}

// partRecordKey returns the key that seals the records of one upload. Each
// record has a random nonce.
func partRecordKey(root *Root, u Upload) Key {
	i := info("upload").bytes(root.ID[:]).lp(u.Binding.Bucket).lp(u.Binding.Key).lp(u.UploadID)
	return Key(derive(root.Key[:], nil, i, len(Key{})))
}

func partRecordAAD(number int) []byte { return info("upload part").u32(uint32(number)) }
