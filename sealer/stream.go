package sealer

import (
	"errors"
	"fmt"
	"io"

	"github.com/minio/sio"
)

// SealBody returns a reader of the sealed body of a single PUT:
// SealedSize(size) bytes. It gives out the final package only after src gave
// exactly size bytes and then io.EOF, so a source that verifies at its end has
// verified before the body is complete. A source that ends early or goes on
// yields ErrSize; its own errors are wrapped. Errors stay: nothing is read
// after one.
//
// The size MUST be the one that was sealed into the header (ErrSize otherwise).
// Calling SealBody again for one key is for sending the same plaintext again,
// nothing else. Reads of at least PackageSize+PackageOverhead bytes seal
// straight into the caller's buffer.
func (k *ObjectKey) SealBody(src io.Reader, size int64) (io.Reader, error) {
	if err := k.checkSingle(); err != nil {
		return nil, fmt.Errorf("sealing body: %w", err)
	}
	if size != k.size {
		return nil, fmt.Errorf("sealing body: %w: %d bytes, header says %d", ErrSize, size, k.size)
	}
	key := k.bodyKey()
	defer key.Wipe()
	return newSealReader(src, size, &key, k.cipher)
}

// SealPart returns a reader of one sealed part of a multipart object, as
// [ObjectKey.SealBody] does of a body. The number is the client's, 1 to
// MaxParts; the nonce is of [NewPartNonce] and never used twice. It returns
// ErrTooLarge for a size over MaxSize.
func (k *ObjectKey) SealPart(number int, nonce [16]byte, src io.Reader, size int64) (io.Reader, error) {
	if err := k.checkPart(number, size); err != nil {
		return nil, fmt.Errorf("sealing part: %w", err)
	}
	key := k.partKey(number, nonce)
	defer key.Wipe()
	return newSealReader(src, size, &key, k.cipher)
}

// OpenBody returns a reader of the e.Length plaintext bytes of the extent e,
// which [Locate] returned for the size of the header. It reads e.Sealed bytes
// of src, never more. After all plaintext it returns io.EOF; where a sealed
// byte is missing, changed, or out of place it returns ErrNotAuthentic, never a
// clean end. Errors of src are wrapped. Errors stay.
//
// Plaintext is given out package by package, each after it was authenticated: a
// caller that passes bytes on before the end MUST break the connection when an
// error follows. Reads of at least PackageSize bytes open straight into the
// caller's buffer.
func (k *ObjectKey) OpenBody(src io.Reader, e Extent) (io.Reader, error) {
	if err := k.checkSingle(); err != nil {
		return nil, fmt.Errorf("opening body: %w", err)
	}
	key := k.bodyKey()
	defer key.Wipe()
	return newOpenReader(src, k.size, e, &key, k.cipher)
}

// OpenPart returns a reader of an extent inside one part of size plaintext
// bytes, as [ObjectKey.OpenBody] does. Number, nonce and size are those of the
// part table.
func (k *ObjectKey) OpenPart(number int, nonce [16]byte, src io.Reader, size int64, e Extent) (io.Reader, error) {
	if err := k.checkPart(number, size); err != nil {
		return nil, fmt.Errorf("opening part: %w", err)
	}
	key := k.partKey(number, nonce)
	defer key.Wipe()
	return newOpenReader(src, size, e, &key, k.cipher)
}

func (k *ObjectKey) checkSingle() error {
	if k.multipart || k.wiped() {
		return fmt.Errorf("%w: not the key of a single PUT", ErrParams)
	}
	return nil
}

func (k *ObjectKey) checkPart(number int, size int64) error {
	switch {
	case !k.multipart || k.wiped():
		return fmt.Errorf("%w: not the key of a multipart object", ErrParams)
	case number < 1 || number > MaxParts:
		return fmt.Errorf("%w: part number %d", ErrParams, number)
	case size > MaxSize:
		return fmt.Errorf("%w: part of %d bytes", ErrTooLarge, size)
	case size < 0:
		return fmt.Errorf("%w: part of %d bytes", ErrParams, size)
	}
	return nil
}

// dareConfig leaves nothing to the defaults of sio, which accept DARE 1.0 and
// both ciphers.
func dareConfig(key *Key, c Cipher, sequence uint32) sio.Config {
	return sio.Config{
		MinVersion:     sio.Version20,
		MaxVersion:     sio.Version20,
		CipherSuites:   []byte{byte(c)},
		Key:            key[:],
		SequenceNumber: sequence,
	}
}

// sealReader makes the errors of a sealing stream final: sio would go on after
// some of them, with a hole in the plaintext.
type sealReader struct {
	sealed io.Reader
	left   int64 // sealed bytes to come
	err    error
}

func newSealReader(src io.Reader, size int64, key *Key, c Cipher) (io.Reader, error) {
	exact := &exactReader{src: src, left: size}
	if size == 0 {
		return exact, nil // sio has no form for an empty stream
	}
	sealed, err := sio.EncryptReader(exact, dareConfig(key, c, 0))
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return &sealReader{sealed: sealed, left: SealedSize(size)}, nil
}

func (r *sealReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	n, err := r.sealed.Read(p)
	r.left -= int64(n)
	if err == io.EOF {
		recycle(r.sealed)
	}
	if err == io.EOF && r.left != 0 || r.left < 0 {
		err = fmt.Errorf("sealing: %w", ErrSize)
	}
	r.err = err
	return n, err
}

// recycle makes sio give its buffer back to its pool: it does so when it is
// read beyond the end, not always at it.
func recycle(stream io.Reader) {
	var one [1]byte
	_, _ = stream.Read(one[:]) // there is nothing left to come
}

// maxEmptyReads is how often a source may return neither bytes nor an error in
// a row.
const maxEmptyReads = 100

// exactReader passes on exactly left bytes of src. It returns io.EOF only when
// src returned io.EOF itself, right behind them. All its errors are wrapped, so
// that sio, which takes io.ErrUnexpectedEOF of its source for a clean end,
// never sees that value.
type exactReader struct {
	src   io.Reader
	left  int64
	probe [1]byte // for what should not be behind the last byte
	err   error
}

func (r *exactReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if r.left == 0 {
		p = r.probe[:]
	} else if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := readSome(r.src, p)
	switch {
	case int64(n) > r.left:
		r.err = fmt.Errorf("sealing: %w: source goes on", ErrSize)
		return 0, r.err
	case err == io.EOF && int64(n) < r.left:
		err = fmt.Errorf("sealing: %w: source ends %d bytes early", ErrSize, r.left-int64(n))
	case err != nil && err != io.EOF:
		err = fmt.Errorf("sealing: reading source: %w", err)
	}
	r.left -= int64(n)
	r.err = err
	return n, err
}

// readSome reads at least one byte or returns an error, also from a source that
// keeps returning neither.
func readSome(src io.Reader, p []byte) (int, error) {
	for range maxEmptyReads {
		if n, err := src.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// openReader bounds an opening stream to the plaintext that was asked for and
// makes its errors final: sio would go on with the next package after some of
// them.
type openReader struct {
	opened io.Reader
	skip   int64 // plaintext to drop
	left   int64 // plaintext to give out
	err    error
}

func newOpenReader(src io.Reader, size int64, e Extent, key *Key, c Cipher) (io.Reader, error) {
	want, err := Locate(size, int64(e.Sequence)*PackageSize+e.Skip, e.Length)
	if err != nil || e.Length > 0 && want != e || e.Length == 0 && e != (Extent{}) {
		return nil, fmt.Errorf("opening: %w: extent %+v of %d bytes", ErrParams, e, size)
	}
	if e.Length == 0 {
		return &openReader{err: io.EOF}, nil
	}
	source := &packageReader{
		src:    src,
		left:   e.Sealed,
		final:  e.Offset+e.Sealed == SealedSize(size),
		cipher: c,
	}
	opened, err := sio.DecryptReader(source, dareConfig(key, c, e.Sequence))
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	return &openReader{opened: opened, skip: e.Skip, left: e.Length}, nil
}

func (r *openReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	for r.skip > 0 {
		// p is free to be scratch space until something is returned in it.
		n, err := r.opened.Read(p[:min(int64(len(p)), r.skip)])
		r.skip -= int64(n)
		if err != nil {
			return 0, r.fail(err)
		}
	}
	// Asking for no more than is wanted keeps sio inside the extent.
	n, err := r.opened.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	switch {
	case r.left == 0:
		r.err = io.EOF
		recycle(r.opened)
	case err != nil:
		return n, r.fail(err)
	}
	return n, r.err
}

// fail keeps the first error. Whatever sio finds wrong is one error, and an end
// before the end is never clean.
func (r *openReader) fail(err error) error {
	var bad sio.Error
	if err == io.EOF || errors.As(err, &bad) {
		err = fmt.Errorf("opening: %w", ErrNotAuthentic)
	}
	r.err = err
	return err
}
