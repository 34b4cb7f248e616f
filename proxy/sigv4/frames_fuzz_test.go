package sigv4

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// referenceDecode decodes an unsigned aws-chunked body in memory. It returns
// the data and the trailer lines.
func referenceDecode(raw string) (data string, trailer []string, err error) {
	malformed := errors.New("malformed")
	for {
		header, rest, found := strings.Cut(raw, "\r\n")
		if !found || header == "" || len(header) > 16 || strings.ContainsAny(header, "+-\n") {
			return "", nil, malformed
		}
		size, err := strconv.ParseInt(header, 16, 64)
		if err != nil {
			return "", nil, err
		}
		if raw = rest; size == 0 {
			break
		}
		if size > int64(len(raw)) || !strings.HasPrefix(raw[size:], "\r\n") {
			return "", nil, malformed
		}
		data, raw = data+raw[:size], raw[size+2:]
	}
	if raw != "\r\n" && !strings.HasSuffix(raw, "\n\r\n") && !strings.HasSuffix(raw, "\n\n") && raw != "\n" {
		return "", nil, malformed
	}
	for line := range strings.SplitSeq(raw, "\n") {
		if line = strings.TrimSuffix(line, "\r"); line != "" {
			trailer = append(trailer, line)
		}
	}
	return data, trailer, nil
}

// FuzzChunkedUnsignedTrailer compares the decoder with a reference on arbitrary
// bytes.
func FuzzChunkedUnsignedTrailer(f *testing.F) {
	sum := digest(f, "CRC32", hello)
	for _, seed := range []string{
		"c\r\n" + hello + "\r\n0\r\n" + crcTrailer + ":" + sum + "\r\n\r\n",
		"7\r\nhello, \r\n5\r\nworld\r\n0\r\n" + crcTrailer + ":" + sum + "\n\r\n\r\n",
		"c\r\n" + hello + "\r\n0\r\n\r\n", "-5\r\n", "ffffffffffffffffff\r\n", "0\r\n", "\r\n\r\n", hello, "",
		"c\r\n" + hello + "\r\n0\r\n" + crcTrailer + ":12345\r\n\r\n",
	} {
		f.Add(seed)
	}
	r := &Request{Method: "PUT", Path: "/b/k", Host: testHost, ContentLength: -1, Header: http.Header{
		"X-Amz-Content-Sha256": {modeUnsignedTrailer}, "X-Amz-Trailer": {crcTrailer}, "X-Amz-Decoded-Content-Length": {"12"},
	}}
	auth, err := testVerifier().Verify(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		body, err := auth.Body(iotest.OneByteReader(strings.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		want, trailer, wantErr := referenceDecode(raw)
		name, value := "", ""
		if len(trailer) == 1 {
			name, value, _ = strings.Cut(trailer[0], ":")
		}
		valid := wantErr == nil && len(want) == 12 && strings.EqualFold(strings.Trim(name, " \t"), crcTrailer) &&
			strings.Trim(value, " \t") == digest(t, "CRC32", want) && len(raw) < maxLine
		if len(raw) < maxLine && valid != (err == nil) {
			t.Fatalf("%q: read %q, %v; the reference says %q, %q, %v", raw, got, err, want, trailer, wantErr)
		}
		if err == nil && string(got) != want {
			t.Fatalf("%q: read %q, want %q", raw, got, want)
		}
		if err != nil && len(got) == 12 {
			t.Fatalf("%q: all data was handed out, then %v", raw, err)
		}
	})
}

// sameButForm reports whether two framed bodies differ only in ways without a
// meaning: the case of chunk sizes and trailer names, and white space at the
// ends of trailer lines.
func sameButForm(a, b string) bool {
	form := strings.NewReplacer(" ", "", "\t", "", "\r", "")
	return strings.EqualFold(form.Replace(a), form.Replace(b))
}

// FuzzChunkedSigned frames and signs fuzzed data. It checks that the result
// decodes, and that every changed byte is noticed.
func FuzzChunkedSigned(f *testing.F) {
	f.Add([]byte(hello), uint8(5), uint16(3), false)
	f.Add([]byte{}, uint8(0), uint16(50), true)
	f.Add(bytes.Repeat([]byte("x"), 300), uint8(100), uint16(250), true)
	f.Fuzz(func(t *testing.T, data []byte, step uint8, where uint16, withTrailer bool) {
		mode := modeSigned
		var headers []string
		if withTrailer {
			mode, headers = modeSignedTrailer, []string{headerTrailer, crcTrailer}
		}
		r, c := framed(t, mode, len(data), headers...)
		size := int(step) + 1
		for rest := data; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			c.data(string(rest[:min(size, len(rest))]))
		}
		var raw string
		if withTrailer {
			raw = c.trailer(crcTrailer, digest(t, "CRC32", string(data)))
		} else {
			raw = c.end()
		}
		got, _, err := readBody(t, r, raw)
		if err != nil || got != string(data) {
			t.Fatalf("read %q, %v; want %q", got, err, data)
		}
		changed := []byte(raw)
		at := int(where) % len(changed)
		changed[at] ^= 1 << (where % 8)
		got, _, err = readBody(t, r, string(changed))
		if err == nil && !sameButForm(raw, string(changed)) {
			t.Fatalf("byte %d of %q changed, still read %q", at, raw, got)
		}
		if err == nil && got != string(data) {
			t.Fatalf("read %q instead of %q", got, data)
		}
	})
}
