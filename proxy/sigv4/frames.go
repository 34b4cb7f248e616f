package sigv4

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
)

const (
	// maxLine is the longest chunk header or line of the trailer, in bytes.
	maxLine = 4 << 10
	// maxTrailer limits all lines after the final chunk, in bytes.
	maxTrailer = 8 << 10

	trailerSignature = "x-amz-trailer-signature"
)

// frames decodes aws-chunked:
//
//	1*( hex-size [";chunk-signature=" 64hex] CRLF data CRLF ) 0 [";chunk-signature=" 64hex] CRLF trailer CRLF
//
// Lines end in CRLF, sizes have at most 16 digits, and the sizes add up to the
// declared length. frames reads data from the raw body directly into the
// caller's buffer, hashes it on the way, and checks the chunk's signature at
// the end of the chunk.
type frames struct {
	raw     *bufio.Reader
	budget  int64 // declared bytes that no chunk header has used yet
	left    int64 // bytes left in the current chunk
	inChunk bool
	ended   bool

	signer *chunkSigner // nil if chunks are unsigned

	readsTrailer bool
	trailerName  string // the announced trailer, lower case; "" for none
	trailerValue string
}

func newFrames(raw io.Reader, size int64) *frames {
	return &frames{raw: bufio.NewReaderSize(raw, maxLine), budget: size}
}

// Read returns decoded bytes. It returns io.EOF only after the end of the whole
// raw body.
func (f *frames) Read(p []byte) (int, error) {
	if !f.inChunk && !f.ended {
		if err := f.openChunk(); err != nil {
			return 0, err
		}
	}
	if f.ended {
		return 0, io.EOF
	}
	n, err := f.raw.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	if f.signer != nil {
		f.signer.data.Write(p[:n])
	}
	switch {
	case err == io.EOF && f.left > 0:
		return 0, errTruncated(nil)
	case err != nil && err != io.EOF:
		return 0, err
	case f.left == 0:
		if err := f.closeChunk(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// openChunk reads a chunk header. After the final one it also reads the rest of
// the body.
func (f *frames) openChunk() error {
	line, err := f.line()
	if err != nil {
		return err
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return errFraming("a chunk header does not end in CRLF")
	}
	digits, extension, hasExtension := bytes.Cut(line, []byte(";"))
	size, err := parseChunkSize(digits)
	if err != nil {
		return err
	}
	switch {
	case size > f.budget:
		return f.tooLong(size)
	case size == 0 && f.budget > 0:
		return errBodyLength()
	}
	if f.signer != nil {
		if err := f.signer.open(extension); err != nil {
			return err
		}
	} else if hasExtension {
		return errFraming("an unsigned chunk has an extension")
	}
	if size == 0 {
		return f.end()
	}
	f.budget -= size
	f.left, f.inChunk = size, true
	return nil
}

// tooLong refuses a chunk of size bytes, which exceeds the rest of the declared
// length. If the chunk does not end where its header says, Amazon S3 calls the
// body malformed, and otherwise the declared length wrong. tooLong treats a
// chunk that does not fit into the buffer as well-formed, without reading it.
func (f *frames) tooLong(size int64) error {
	if size > maxLine-2 {
		return errBodyLength()
	}
	chunk, err := f.raw.Peek(int(size) + 2)
	switch {
	case err == io.EOF:
		return errTruncated(nil)
	case err != nil:
		return err
	case !bytes.HasSuffix(chunk, []byte("\r\n")):
		return errFraming("a chunk is not as long as its header says")
	}
	return errBodyLength()
}

func parseChunkSize(digits []byte) (int64, error) {
	if len(digits) > 0 && len(digits) <= 16 && digits[0] != '+' && digits[0] != '-' {
		if size, err := strconv.ParseInt(string(digits), 16, 64); err == nil {
			return size, nil
		}
	}
	return 0, errFraming("a chunk size is not a hexadecimal number")
}

func (f *frames) closeChunk() error {
	f.inChunk = false
	if err := f.crlf("a chunk's data is not followed by CRLF"); err != nil {
		return err
	}
	return f.checkChunk()
}

func (f *frames) checkChunk() error {
	if f.signer == nil {
		return nil
	}
	return f.signer.close()
}

// end reads what follows the header of the final chunk.
func (f *frames) end() error {
	if err := f.checkChunk(); err != nil {
		return err
	}
	if f.readsTrailer {
		if err := f.readTrailer(); err != nil {
			return err
		}
	} else if err := f.crlf("the final chunk is not followed by CRLF"); err != nil {
		return err
	}
	switch _, err := f.raw.ReadByte(); {
	case err == nil:
		return errFraming("there are bytes after its end")
	case err != io.EOF:
		return err
	}
	f.ended = true
	return nil
}

// crlf consumes CRLF.
func (f *frames) crlf(otherwise string) error {
	two, err := f.raw.Peek(2)
	switch {
	case len(two) > 0 && two[0] != '\r', len(two) == 2 && two[1] != '\n':
		return errFraming(otherwise)
	case err == io.EOF:
		return errTruncated(nil)
	case err != nil:
		return err
	}
	_, err = f.raw.Discard(2)
	return err
}

// line returns the next line with its line feed. It is valid until the next
// read.
func (f *frames) line() ([]byte, error) {
	line, err := f.raw.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errFraming("a line is too long")
	case err == io.EOF:
		return nil, errTruncated(nil)
	}
	return line, err
}
