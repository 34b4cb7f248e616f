package sealer

// sealPartTable seals a part table as the gateway does: with a header's fields
// and the trailer key alone.
func sealPartTable(k *ObjectKey, cs []Checksum, t *PartTable) ([]byte, error) {
	h := Header{ObjectID: k.id, Trailer: k.trailer, Multipart: k.multipart}
	if k.wiped() {
		return h.SealPartTable(Key{}, cs, t)
	}
	return h.SealPartTable(k.TrailerKey(), cs, t)
}

// sealTrailerOf seals any bytes as a trailer, also such as no writer makes.
func sealTrailerOf(k *ObjectKey, plaintext []byte, parts int) []byte {
	key := k.TrailerKey()
	return sealTrailer(&key, k.flags(), k.id, plaintext, parts)
}
