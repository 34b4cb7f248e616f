package sealer

// headerEdits are headers with one field changed.
func (g *generator) headerEdits() {
	p := params(100)
	p.Context = []byte(`{"department":"finance"}`)
	o, other := seal(g.t, p, AES256GCM), seal(g.t, p, AES256GCM)
	wrong := func(name, comment string, edit func(*Header)) {
		g.add(name, "wrong key", "open", comment, o.edited(edit))
	}
	wrong("open-nonce-flipped", "a bit of the nonce", func(h *Header) { h.Nonce[31] ^= 1 })
	wrong("open-commitment-flipped", "a bit of the commitment", func(h *Header) { h.Commitment[0] ^= 0x80 })
	wrong("open-scheme-changed", "SSE-KMS shown as SSE-S3", func(h *Header) { h.Scheme, h.Context = SSES3, nil })
	wrong("open-presented-as-sse-c", "SSE-KMS shown as SSE-C", func(h *Header) {
		h.Scheme, h.Context, h.KeyName, h.SealedDataKey = SSEC, nil, "", nil
	})
	edit := func(name, comment string, edit func(*Header)) {
		g.add(name, "not authentic", "open", comment, o.edited(edit))
	}
	edit("open-object-id-flipped", "a bit of the object ID", func(h *Header) { h.ObjectID[0] ^= 1 })
	edit("open-size-smaller", "size 99 instead of 100", func(h *Header) { h.Size = 99 })
	edit("open-size-zero", "size 0 instead of 100", func(h *Header) { h.Size = 0 })
	edit("open-trailer-flag-set", "trailer flag set", func(h *Header) { h.Trailer = true })
	edit("open-multipart-flag-set", "shown as multipart", func(h *Header) { h.Trailer, h.Multipart, h.Size = true, true, -1 })
	edit("open-shared-flag-set", "shared flag set, context removed", func(h *Header) { h.Shared, h.Context = true, nil })
	edit("open-cipher-changed", "the other cipher", func(h *Header) { h.Cipher = ChaCha20Poly1305 })
	edit("open-key-name-changed", "another key name", func(h *Header) { h.KeyName = "my-kez" })
	edit("open-sealed-data-key-changed", "a bit of the sealed data key", func(h *Header) { h.SealedDataKey[0] ^= 1 })
	edit("open-context-changed", "another context", func(h *Header) { h.Context = []byte(`{"department":"finances"}`) })
	edit("open-context-removed", "no context", func(h *Header) { h.Context = nil })
	edit("open-sealed-object-key-flipped", "a bit of the sealed object key", func(h *Header) { h.SealedObjectKey[0] ^= 1 })
	edit("open-sealed-object-key-tag", "a bit of its tag", func(h *Header) { h.SealedObjectKey[47] ^= 1 })
	edit("open-sealed-object-key-of-other", "the sealed object key of another object", func(h *Header) {
		h.SealedObjectKey = other.header.SealedObjectKey
	})
}

// factsEdits are headers whose facts do not open. With facts_only the change
// would also make the object key fail; here the facts alone must detect it.
func (g *generator) factsEdits() {
	p := params(100)
	o, other := seal(g.t, p, AES256GCM), seal(g.t, p, AES256GCM)
	add := func(name, expect, comment string, edit func(*Header)) {
		g.add(name, expect, "facts", comment, o.edited(edit))
	}
	add("facts-root-id-changed", "unknown root", "another root ID in the header", func(h *Header) { h.RootID[0] ^= 1 })
	add("facts-nonce-flipped", "not authentic", "a bit of the facts nonce", func(h *Header) { h.FactsNonce[0] ^= 1 })
	add("facts-flipped", "not authentic", "a bit of the sealed facts", func(h *Header) { h.SealedFacts[0] ^= 1 })
	add("facts-tag-flipped", "not authentic", "a bit of their tag", func(h *Header) { h.SealedFacts[len(h.SealedFacts)-1] ^= 1 })
	add("facts-of-other", "not authentic", "facts of another object of the same name and keys", func(h *Header) {
		h.FactsNonce, h.SealedFacts = other.header.FactsNonce, other.header.SealedFacts
	})
	root := NewKey()
	v := o.failing()
	v.RootKey = root[:]
	g.add("facts-wrong-root-key", "not authentic", "facts", "another root key of the same ID", v)
	zero := Root{ID: o.header.RootID}
	v = o.edited(func(h *Header) {
		key := factsKey(&zero, h.ObjectID, h.FactsNonce)
		h.SealedFacts = sealOnce(&key, p.Facts.encode(), h.factsAAD(p.Binding))
	})
	v.RootKey = zero.Key[:]
	g.add("facts-zero-root-key", "unknown root", "facts", "facts that were sealed under a root key of zeros", v)

	only := func(name, comment string, v vector) {
		v.FactsOnly, v.DataKey = true, nil
		g.add(name, "not authentic", "facts", comment, v)
	}
	only("facts-size-changed", "another size", o.edited(func(h *Header) { h.Size = 99 }))
	only("facts-object-key-changed", "a bit of the sealed object key", o.edited(func(h *Header) { h.SealedObjectKey[0] ^= 1 }))
	only("facts-scheme-changed", "another scheme", o.edited(func(h *Header) { h.Scheme = SSES3 }))
	v = o.failing()
	v.Bucket = "videos"
	only("facts-wrong-bucket", "object of another bucket", v)
	v = o.failing()
	v.Bucket, v.Key = "photos2", "024/cat.jpg"
	only("facts-shifted-names", "bucket and key are not simply joined", v)
}

// factsContents are facts that are sealed correctly but violate section 6.
func (g *generator) factsContents() {
	p := params(100)
	add := func(name, comment string, trailer bool, contents ...[]byte) {
		p.Trailer = trailer
		o := seal(g.t, p, AES256GCM)
		plaintext := encoder(nil).bytes(o.params.Facts.Headers[:])
		for _, c := range contents {
			plaintext = plaintext.bytes(c)
		}
		g.add(name, "malformed", "facts", comment, o.edited(func(h *Header) {
			key := factsKey(&o.params.Root, h.ObjectID, h.FactsNonce)
			h.SealedFacts = sealOnce(&key, plaintext, h.factsAAD(o.params.Binding))
		}))
	}
	crc32 := append([]byte{byte(ChecksumCRC32), 0}, random(4)...)
	crc32c := append([]byte{byte(ChecksumCRC32C), 0}, random(4)...)
	add("facts-checksum-twice", "the same algorithm twice", false, []byte{2}, crc32, crc32)
	add("facts-checksums-descending", "CRC32C before CRC32", false, []byte{2}, crc32c, crc32)
	add("facts-algorithm-0", "algorithm 0", false, []byte{1, 0, 0})
	add("facts-algorithm-11", "algorithm 11", false, []byte{1, 11, 0}, random(4))
	add("facts-type-2", "checksum type 2", false, []byte{1, byte(ChecksumCRC32), 2}, random(4))
	add("facts-digest-cut", "digest of three bytes", false, []byte{1}, crc32[:5])
	add("facts-checksum-missing", "two announced, one there", false, []byte{2}, crc32)
	add("facts-trailing-byte", "a byte follows", false, []byte{1}, crc32, []byte{0})
	add("facts-trailer-key-missing", "no trailer key though there is a trailer", true, []byte{1}, crc32)
	add("facts-trailer-key-short", "trailer key of 31 bytes", true, []byte{1}, crc32, random(31))
	add("facts-trailer-key-unexpected", "trailer key though there is no trailer", false, []byte{1}, crc32, random(32), []byte{0, 0})
	announce := func(name, comment string, announced ...byte) {
		add(name, comment, true, []byte{1}, crc32, random(32), announced)
	}
	announce("facts-announcement-missing", "no announcement though there is a trailer")
	announce("facts-announcement-cut", "no type of the announced checksum", byte(ChecksumCRC64NVME))
	announce("facts-announcement-long", "a byte follows the announcement", byte(ChecksumCRC64NVME), 0, 0)
	announce("facts-announced-algorithm-11", "algorithm 11 announced", 11, 0)
	announce("facts-announced-type-2", "type 2 announced", byte(ChecksumCRC32C), 2)
	announce("facts-announced-type-of-nothing", "a type announced without an algorithm", 0, 1)
	announce("facts-announced-twice", "announced though the facts have it", byte(ChecksumCRC32), 0)
}
