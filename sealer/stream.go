package sealer

import (
	"errors"
	"fmt"
	"io"

	"github.com/minio/sio"
)

// SealBody returns a reader of the sealed body of a single PUT, which has
// SealedSize(size) bytes. It returns the final package only after src has
// returned exactly size bytes and then io.EOF. So if src verifies its content
// at the end, it has done so before the body is complete. If src is shorter or
// longer than size, the error is ErrSize. Errors of src are wrapped. After an
// error the reader reads nothing more and keeps returning it.
//
// size MUST be the size in the header, otherwise SealBody returns ErrSize.
// Calling it again for the same key is only for sending the same plaintext
// again. Reads of at least PackageSize+PackageOverhead bytes seal directly into
// the caller's buffer.
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

// SealPart returns a reader of one sealed part of a multipart object. It
// behaves like [ObjectKey.SealBody]. The number is the client's, 1 to MaxParts.
// The nonce comes from [NewPartNonce] and must never be used twice. It returns
// ErrTooLarge if size exceeds MaxSize.
func (k *ObjectKey) SealPart(number int, nonce [16]byte, src io.Reader, size int64) (io.Reader, error) {
	if err := k.checkPart(number, size); err != nil {
		return nil, fmt.Errorf("sealing part: %w", err)
	}
	key := k.partKey(number, nonce)
	defer key.Wipe()
	return newSealReader(src, size, &key, k.cipher)
}

// OpenBody returns a reader of the e.Length plaintext bytes of the extent e,
// which must come from [Locate] with the size in the header. It reads at most
// e.Sealed bytes from src. After all plaintext it returns io.EOF. If a sealed
// byte is missing, changed or out of place it returns ErrNotAuthentic, never
// io.EOF. Errors of src are wrapped. After an error the reader keeps returning
// it.
//
// Plaintext is returned package by package, each after it was authenticated. A
// caller that forwards it before the end MUST break the connection if an error
// follows. Reads of at least PackageSize bytes open directly into the caller's
// buffer.
func (k *ObjectKey) OpenBody(src io.Reader, e Extent) (io.Reader, error) {
	if err := k.checkSingle(); err != nil {
		return nil, fmt.Errorf("opening body: %w", err)
	}
	key := k.bodyKey()
	defer key.Wipe()
	return newOpenReader(src, k.size, e, &key, k.cipher)
}

// OpenPart returns a reader of an extent of one part of size plaintext bytes.
// It behaves like [ObjectKey.OpenBody]. Number, nonce and size are those in the
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

// dareConfig sets everything explicitly: by default sio accepts DARE 1.0 and
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

// sealReader makes the errors of a sealing stream final. After some errors sio
// would continue, and leave a gap in the plaintext.
type sealReader struct {
	sealed io.Reader
	at     int64 // sealed bytes returned
	left   int64 // sealed bytes to come
	err    error
}

func newSealReader(src io.Reader, size int64, key *Key, c Cipher) (io.Reader, error) {
	exact := &exactReader{src: src, left: size}
	if size == 0 {
		return exact, nil // sio cannot seal an empty stream
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
	n, err := r.sealed.Read(restOf(p, r.at, sealedPackageSize))
	r.at += int64(n)
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

// restOf shortens p, if a package was returned in part, so that the rest of it
// fits. A caller that waits for the first byte of a package then gets the
// others without waiting for the next package, and sio uses p for whole
// packages again.
func restOf(p []byte, at, size int64) []byte {
	if in := at % size; in > 0 {
		return p[:min(int64(len(p)), size-in)]
	}
	return p
}

// recycle makes sio return its buffer to its pool. It does so only when it is
// read past the end.
func recycle(stream io.Reader) {
	var one [1]byte
	_, _ = stream.Read(one[:]) // nothing more can come
}

// maxEmptyReads limits how often in a row a source may return neither bytes nor
// an error.
const maxEmptyReads = 100

// exactReader reads exactly left bytes from src. It returns io.EOF only if src
// returns io.EOF directly after them. It wraps all errors, because sio takes a
// bare io.ErrUnexpectedEOF for a clean end.
type exactReader struct {
	src   io.Reader
	left  int64
	probe [1]byte // for a byte after the end
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
		r.err = fmt.Errorf("sealing: %w: source is longer", ErrSize)
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

// readSome reads at least one byte or returns an error, even if the source
// keeps returning neither.
func readSome(src io.Reader, p []byte) (int, error) {
	for range maxEmptyReads {
		if n, err := src.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// openReader limits an opening stream to the requested plaintext and makes its
// errors final. After some errors sio would continue with the next package.
type openReader struct {
	opened io.Reader
	at     int64 // plaintext dropped and returned, from the start of a package
	skip   int64 // plaintext to drop
	left   int64 // plaintext to return
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
		// Until something is returned in p, it can be used as scratch space.
		n, err := r.opened.Read(p[:min(int64(len(p)), r.skip)])
		r.at += int64(n)
		r.skip -= int64(n)
		if err != nil {
			return 0, r.fail(err)
		}
	}
	// Reading no more than requested keeps sio inside the extent.
	p = restOf(p[:min(int64(len(p)), r.left)], r.at, PackageSize)
	n, err := r.opened.Read(p)
	r.at += int64(n)
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

// fail records the first error. It maps all errors of sio to one error, and an
// early end to an error that is not io.EOF.
func (r *openReader) fail(err error) error {
	var bad sio.Error
	if err == io.EOF || errors.As(err, &bad) {
		err = fmt.Errorf("opening: %w", ErrNotAuthentic)
	}
	r.err = err
	return err
}
