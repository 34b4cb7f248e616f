package sealer

import "testing"

// sealPartTable seals a part table like the gateway, with only the fields of a
// header and the trailer key.
func sealPartTable(k *ObjectKey, cs []Checksum, t *PartTable) ([]byte, error) {
	h := Header{ObjectID: k.id, Trailer: k.trailer, Multipart: k.multipart}
	if k.wiped() {
		return h.SealPartTable(Key{}, cs, t)
	}
	return h.SealPartTable(k.TrailerKey(), cs, t)
}

// sealTrailerOf seals arbitrary bytes as a trailer, even if no writer would.
func sealTrailerOf(k *ObjectKey, plaintext []byte, parts int) []byte {
	key := k.TrailerKey()
	return sealTrailer(&key, k.flags(), k.id, plaintext, parts)
}

// TestTrailerGuess: the guess holds the trailer of an object whose parts have
// digests of 32 bytes, and of a thousand parts without digests.
func TestTrailerGuess(t *testing.T) {
	size := func(parts int, a Algorithm) int64 {
		table := &PartTable{Algorithm: a, Parts: make([]Part, parts)}
		for i := range table.Parts {
			table.Parts[i].Digest = make([]byte, a.Size())
		}
		trailer := Trailer{Parts: table, Checksums: []Checksum{{Algorithm: ChecksumSHA256, Digest: make([]byte, 32)}}}
		return int64(gcmNonceSize + len(trailer.encode()) + tagSize + FooterSize)
	}
	for _, parts := range [...]int{1, 2, 1000, MaxParts} {
		if got, want := TrailerGuess(parts), size(parts, ChecksumSHA256); got < want {
			t.Errorf("%d bytes for %d parts, which need %d", got, parts, want)
		}
	}
	if got, want := TrailerGuess(-1), size(1000, 0); got < want {
		t.Errorf("%d bytes for unknown parts, but a thousand need %d", got, want)
	}
}
