package sealer

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
