package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

var (
	errFraming  = errors.New("bench: payload framing not supported")
	errBody     = errors.New("bench: body malformed")
	errChecksum = errors.New("bench: body does not match its checksum")
)

const (
	trailerName  = "x-amz-checksum-crc32c"
	maxChunkLine = 4 << 10 // bytes
)

// sinkBody is the body of a PUT: plain, or aws-chunked, with a CRC32C trailer or
// with signatures, which are not verified.
type sinkBody struct {
	raw     *bufio.Reader
	size    int64 // decoded bytes
	chunked bool
	trailed bool // the chunks end with a trailer
	sum     uint32
}

// openBody determines the framing of the body. It returns errFraming for
// framings that the sink does not decode.
func openBody(r *http.Request) (*sinkBody, error) {
	b := &sinkBody{raw: bufio.NewReaderSize(r.Body, maxChunkLine), size: r.ContentLength}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	switch {
	case payload == string(trailer) && r.Header.Get("X-Amz-Trailer") == trailerName:
		size, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil {
			return nil, errFraming
		}
		b.size, b.chunked, b.trailed = size, true, true
	case payload == string(signedChunks):
		size, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil {
			return nil, errFraming
		}
		b.size, b.chunked = size, true
	case strings.HasPrefix(payload, "STREAMING-"):
		return nil, errFraming
	}
	if b.size < 0 {
		return nil, errFraming
	}
	return b, nil
}

// read reads and verifies the whole body and returns its CRC32C. It stores the
// body in data unless data is nil.
func (b *sinkBody) read(data []byte) (uint32, error) {
	if !b.chunked {
		if err := b.readData(data, b.size); err != nil {
			return 0, err
		}
		return b.sum, nil
	}
	for left := b.size; ; {
		line, err := b.line()
		if err != nil {
			return 0, err
		}
		digits, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(digits, 16, 64)
		if err != nil || n < 0 || n > left {
			return 0, fmt.Errorf("%w: chunk %q", errBody, line)
		}
		if n == 0 {
			return b.sum, b.readTrailer(left)
		}
		if err := b.readData(data, n); err != nil {
			return 0, err
		}
		if data != nil {
			data = data[n:]
		}
		left -= n
		if line, err := b.line(); err != nil || line != "" {
			return 0, errors.Join(errBody, err)
		}
	}
}

// readData reads n bytes and stores them in data unless data is nil.
func (b *sinkBody) readData(data []byte, n int64) error {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for n > 0 {
		into := buf[:]
		if data != nil {
			into = data
		}
		m, err := b.raw.Read(into[:min(int64(len(into)), n)])
		b.sum = checksum(b.sum, into[:m])
		n -= int64(m)
		if data != nil {
			data = data[m:]
		}
		if err != nil && n > 0 {
			return fmt.Errorf("%w: %w", errBody, err)
		}
	}
	return nil
}

// readTrailer reads what follows the last chunk. left is the number of missing
// bytes.
func (b *sinkBody) readTrailer(left int64) error {
	line, err := b.line()
	if err != nil || left > 0 {
		return errors.Join(errBody, err)
	}
	if !b.trailed {
		return nil
	}
	value, ok := strings.CutPrefix(line, trailerName+":")
	digest, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if !ok || err != nil || len(digest) != 4 || binary.BigEndian.Uint32(digest) != b.sum {
		return errChecksum
	}
	if _, err := io.Copy(io.Discard, b.raw); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	return nil
}

// line reads a line and returns it without its CRLF.
func (b *sinkBody) line() (string, error) {
	line, err := b.raw.ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("%w: %w", errBody, err)
	}
	return strings.TrimSuffix(string(line), "\r\n"), nil
}
