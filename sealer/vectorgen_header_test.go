package sealer

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

func (g *generator) good() {
	p := params(100)
	p.Scheme = SSES3
	p.Facts.Checksums = []Checksum{digest(ChecksumCRC64NVME)}
	g.add("ok-sse-s3", "ok", "", "SSE-S3, one checksum in the facts", seal(g.t, p, AES256GCM).vector())
	p = params(100)
	p.Context = []byte(`{"department":"finance"}`)
	g.add("ok-sse-kms-context", "ok", "", "SSE-KMS with a context", seal(g.t, p, AES256GCM).vector())
	g.add("ok-sse-c", "ok", "", "SSE-C", seal(g.t, ssec(100), AES256GCM).vector())
	p = params(100)
	p.Shared = true
	g.add("ok-shared-data-key", "ok", "", "data key shared by the bucket", seal(g.t, p, AES256GCM).vector())
	g.add("ok-chacha20", "ok", "", "body under ChaCha20-Poly1305", seal(g.t, params(70000), ChaCha20Poly1305).vector())
	g.add("ok-empty", "ok", "", "no plaintext: no bytes upstream", seal(g.t, params(0), AES256GCM).vector())
	g.add("ok-one-byte", "ok", "", "one byte", seal(g.t, params(1), AES256GCM).vector())
	g.add("ok-one-package", "ok", "", "exactly one full package, which is final", seal(g.t, params(PackageSize), AES256GCM).vector())
	g.add("ok-one-package-and-a-byte", "ok", "", "a final package of one byte", seal(g.t, params(PackageSize+1), AES256GCM).vector())
	g.add("ok-three-packages", "ok", "", "three full packages", seal(g.t, params(3*PackageSize), AES256GCM).vector())

	o := seal(g.t, params(200000), AES256GCM)
	part := func(name string, offset, length int64) {
		v := o.vector()
		v.reads(offset, length, o.plaintext())
		g.add(name, "ok", "", "range of 200,000 bytes", v)
	}
	part("ok-range-inside-package", 70000, 100)
	part("ok-range-across-packages", 65000, 70000)
	part("ok-range-last-byte", 199999, 1)
	part("ok-range-nothing", 1000, 0)

	p = params(100)
	p.Trailer = true
	g.add("ok-trailer", "ok", "", "checksum in the trailer", seal(g.t, p, AES256GCM, digest(ChecksumSHA256)).vector())
	p.Facts.Checksums = []Checksum{digest(ChecksumMD5)}
	v := seal(g.t, p, AES256GCM, digest(ChecksumSHA512), digest(ChecksumSHA256)).vector()
	g.add("ok-trailer-two-checksums", "ok", "", "one checksum in the facts, two in the trailer", v)
	v.FactsOnly, v.DataKey, v.SHA256 = true, nil, nil
	g.add("ok-facts-only", "ok", "", "facts and trailer open without a data key", v)
	p = params(0)
	p.Trailer = true
	g.add("ok-empty-trailer", "ok", "", "no plaintext, but a trailer", seal(g.t, p, AES256GCM).vector())
	p = params(10)
	for a := ChecksumCRC32; a <= ChecksumXXHASH128; a++ {
		p.Facts.Checksums = append(p.Facts.Checksums, digest(a))
	}
	g.add("ok-all-checksums", "ok", "", "a checksum of each algorithm in the facts", seal(g.t, p, AES256GCM).vector())
}

func (g *generator) goodMultipart() {
	g.add("ok-multipart", "ok", "", "three parts with gaps in their numbers", sealParts(g.t, 70000, 65536, 5).vector())
	g.add("ok-multipart-empty-part", "ok", "", "the only part is empty", sealParts(g.t, 0).vector())
	o := sealParts(g.t, 70000, 0, 100, 66000)
	v := o.vector()
	v.reads(69990, 120, o.plaintext())
	g.add("ok-multipart-range", "ok", "", "range over four parts, one of them empty", v)
	v.reads(70050, 10, o.plaintext())
	g.add("ok-multipart-range-inside-part", "ok", "", "range inside one part", v)
}

// encodings are values that are not the canonical base64url of a header.
func (g *generator) encodings() {
	o := seal(g.t, ssec(0), AES256GCM) // 220 bytes, so the last character has four loose bits
	value := o.header.Encode()
	if len(value)%4 != 2 || !strings.ContainsAny(value, "-_") {
		g.t.Fatal("header does not show all that the vectors are about: choose another seed")
	}
	add := func(name, comment, header string) {
		v := o.under(o.header)
		v.Header = header
		expect := "malformed"
		if header == "" {
			expect = "not sealed"
		}
		g.add(name, expect, "parse", comment, v)
	}
	add("encoding-empty", "no header", "")
	add("encoding-padding", "padding", value+strings.Repeat("=", 4-len(value)%4))
	add("encoding-newline", "a line end, which some decoders skip", value[:76]+"\n"+value[76:])
	add("encoding-space", "a space at the end", value+" ")
	add("encoding-standard-alphabet", "base64 instead of base64url", strings.NewReplacer("-", "+", "_", "/").Replace(value))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, value[len(value)-1])
	add("encoding-loose-bits", "an unused bit of the last character is set", value[:len(value)-1]+alphabet[last|1:last|1+1])
	add("encoding-cut-character", "last character missing", value[:len(value)-1])
	raw, _ := base64.RawURLEncoding.DecodeString(value)
	bytes := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	add("header-one-byte", "nothing but a version", bytes(raw[:1]))
	add("header-cut", "ends inside the sealed object key", bytes(raw[:len(raw)-100]))
	add("header-cut-last-byte", "ends inside the sealed facts", bytes(raw[:len(raw)-1]))
	add("header-trailing-byte", "a byte follows the sealed facts", bytes(append(raw, 0)))
	add("header-too-long", "longer than any header", bytes(make([]byte, maxHeader+1)))
}

// headerFields are values that section 3.1 forbids in fields of fixed length.
func (g *generator) headerFields() {
	p := params(100)
	o := seal(g.t, p, AES256GCM)
	raw, _ := base64.RawURLEncoding.DecodeString(o.header.Encode())
	add := func(name, comment string, edit func([]byte)) {
		b := append([]byte(nil), raw...)
		edit(b)
		v := o.failing()
		v.Header = base64.RawURLEncoding.EncodeToString(b)
		g.add(name, "malformed", "parse", comment, v)
	}
	const size = 4 + 16 + 32
	add("header-version-0", "version 0", func(b []byte) { b[0] = 0 })
	add("header-version-2", "version 2", func(b []byte) { b[0] = 2 })
	add("header-scheme-0", "scheme 0", func(b []byte) { b[1] = 0 })
	add("header-scheme-4", "scheme 4", func(b []byte) { b[1] = 4 })
	add("header-flags-unknown", "flag 8", func(b []byte) { b[2] |= 8 })
	add("header-multipart-without-trailer", "multipart flag alone", func(b []byte) {
		b[2] = flagMultipart
		binary.BigEndian.PutUint64(b[size:], unknownSize)
	})
	add("header-cipher-2", "cipher 2", func(b []byte) { b[3] = 2 })
	add("header-size-over-limit", "2^48 + 1 bytes", func(b []byte) { binary.BigEndian.PutUint64(b[size:], MaxSize+1) })
	add("header-size-negative", "highest bit of the size", func(b []byte) { b[size] = 0x80 })
	add("header-size-unknown", "all ones without multipart", func(b []byte) { binary.BigEndian.PutUint64(b[size:], unknownSize) })
	add("header-size-multipart", "a size with multipart", func(b []byte) { b[2] = flagTrailer | flagMultipart })
}

// keyFields are values that section 3.1 forbids in fields of variable length.
func (g *generator) keyFields() {
	kms, client := seal(g.t, params(100), AES256GCM), seal(g.t, ssec(100), AES256GCM)
	add := func(name, comment string, o *object, edit func(*Header)) {
		g.add(name, "malformed", "parse", comment, o.edited(edit))
	}
	add("header-key-name-empty", "no key name with SSE-KMS", kms, func(h *Header) { h.KeyName = "" })
	add("header-key-name-long", "key name of 81 bytes", kms, func(h *Header) { h.KeyName = strings.Repeat("k", 81) })
	add("header-key-name-slash", "a slash in the key name", kms, func(h *Header) { h.KeyName = "my/key" })
	add("header-key-name-nul", "a zero byte in the key name", kms, func(h *Header) { h.KeyName = "my\x00key" })
	add("header-sealed-data-key-empty", "no sealed data key with SSE-KMS", kms, func(h *Header) { h.SealedDataKey = nil })
	add("header-sealed-data-key-long", "sealed data key of 1,025 bytes", kms, func(h *Header) { h.SealedDataKey = make([]byte, 1025) })
	add("header-context-long", "context of 1,025 bytes", kms, func(h *Header) { h.Context = make([]byte, 1025) })
	add("header-context-sse-s3", "context with SSE-S3", kms, func(h *Header) { h.Scheme, h.Context = SSES3, []byte(`{"a":"b"}`) })
	add("header-context-shared", "context with a shared data key", kms, func(h *Header) { h.Shared, h.Context = true, []byte(`{"a":"b"}`) })
	add("header-context-sse-c", "context with SSE-C", client, func(h *Header) { h.Context = []byte(`{"a":"b"}`) })
	add("header-sse-c-key-name", "key name with SSE-C", client, func(h *Header) { h.KeyName = "my-key" })
	add("header-sse-c-sealed-data-key", "sealed data key with SSE-C", client, func(h *Header) { h.SealedDataKey = make([]byte, 40) })
	add("header-sse-c-shared", "shared data key with SSE-C", client, func(h *Header) { h.Shared = true })
	add("header-facts-short", "sealed facts of 48 bytes", kms, func(h *Header) { h.SealedFacts = make([]byte, 48) })
	add("header-facts-long", "sealed facts of 284 bytes", kms, func(h *Header) { h.SealedFacts = make([]byte, 284) })
}

// bindings are headers that belong to another key or name.
func (g *generator) bindings() {
	o := seal(g.t, params(100), AES256GCM)
	add := func(name, comment string, edit func(*vector)) {
		v := o.failing()
		edit(&v)
		g.add(name, "wrong key", "open", comment, v)
	}
	other := NewKey()
	add("open-wrong-data-key", "another data key", func(v *vector) { v.DataKey = other[:] })
	add("open-zero-data-key", "a header that was sealed under a data key of zeros", func(v *vector) {
		h := *o.header
		secrets := deriveObjectSecrets(&Key{}, h.Nonce, h.Scheme, o.params.Binding)
		h.Commitment = secrets.commitment
		h.SealedObjectKey = [48]byte(sealOnce(&secrets.sealing, o.key.key()[:], h.encodeToCommitment()))
		v.Header, v.DataKey = h.Encode(), make([]byte, 32)
	})
	add("open-wrong-bucket", "object of another bucket", func(v *vector) { v.Bucket = "videos" })
	add("open-wrong-key", "object of another name", func(v *vector) { v.Key = "2024/dog.jpg" })
	add("open-double-slash", "a//b is not a/b", func(v *vector) { v.Key = "2024//cat.jpg" })
	add("open-shifted-slash", "the slash between bucket and key is not part of the binding", func(v *vector) {
		v.Bucket, v.Key = "photos/2024", "cat.jpg"
	})
	add("open-empty-names", "no names", func(v *vector) { v.Bucket, v.Key = "", "" })
	client := seal(g.t, ssec(100), AES256GCM)
	v := client.failing()
	v.DataKey = other[:]
	g.add("open-wrong-client-key", "wrong key", "open", "SSE-C with another key", v)
}
