package sigv4

import (
	"encoding/base64"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const crcTrailer = "x-amz-checksum-crc32"

func TestFramedBody(t *testing.T) {
	t.Parallel()
	sum := digest(t, "CRC32", hello)
	value, _ := base64.StdEncoding.DecodeString(sum)
	tests := []struct {
		name, mode string
		encode     func(c *chunker) string
	}{
		{"signed", modeSigned, func(c *chunker) string { return c.data(hello).end() }},
		{"signed, several chunks", modeSigned, func(c *chunker) string { return c.data("hello", ", ", "world").end() }},
		{"signed with trailer", modeSignedTrailer, func(c *chunker) string { return c.data(hello).trailer(crcTrailer, sum) }},
		{"unsigned with trailer", modeUnsignedTrailer, func(c *chunker) string { return c.data("hello, ", "world").trailer(crcTrailer, sum) }},
		{"unsigned with trailer, name in upper case", modeUnsignedTrailer, func(c *chunker) string {
			return c.data(hello).trailer("X-Amz-Checksum-CRC32", " "+sum+" ")
		}},
		{"unsigned, sizes in upper case and padded", modeUnsignedTrailer, func(*chunker) string {
			return "00C\r\n" + hello + "\r\n000\r\n" + crcTrailer + ":" + sum + "\r\n\r\n"
		}},
		{"minio-go's unsigned trailer", modeUnsignedTrailer, func(c *chunker) string {
			return "c\r\n" + hello + "\r\n0\r\n" + crcTrailer + ":" + sum + "\n\r\n\r\n"
		}},
		{"minio-go's signed trailer", modeSignedTrailer, func(c *chunker) string {
			return strings.Replace(c.data(hello).trailer(crcTrailer, sum), sum+"\r\n", sum+"\n\r\n", 1)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var headers []string
			if tt.mode != modeSigned {
				headers = []string{headerTrailer, crcTrailer, headerSDKChecksum, "CRC32"}
			}
			r, c := framed(t, tt.mode, len(hello), headers...)
			data, body, err := readBody(t, r, tt.encode(c))
			if err != nil || data != hello || !body.Framed() || body.Size() != int64(len(hello)) {
				t.Fatalf("read %q, size %d, %v", data, body.Size(), err)
			}
			if tt.mode == modeSigned {
				return
			}
			if body.TrailerAlgorithm() != "CRC32" || len(body.Declared()) != 0 {
				t.Errorf("trailer %q, declared %v", body.TrailerAlgorithm(), body.Declared())
			}
			if diff := cmp.Diff([]Checksum{{"CRC32", value}}, body.Checksums()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFramedEmptyBody(t *testing.T) {
	t.Parallel()
	sum := digest(t, "CRC32", "")
	for _, mode := range []string{modeSigned, modeSignedTrailer, modeUnsignedTrailer} {
		var headers []string
		encode := (*chunker).end
		if mode != modeSigned {
			headers = []string{headerTrailer, crcTrailer}
			encode = func(c *chunker) string { return c.trailer(crcTrailer, sum) }
		}
		r, c := framed(t, mode, 0, headers...)
		if data, _, err := readBody(t, r, encode(c)); err != nil || data != "" {
			t.Errorf("%s: %q, %v", mode, data, err)
		}
	}
	r, _ := framed(t, modeUnsignedTrailer, len(hello))
	if data, _, err := readBody(t, r, "c\r\n"+hello+"\r\n0\r\n\r\n"); err != nil || data != hello {
		t.Errorf("no trailer announced: %q, %v", data, err)
	}
}

func TestSignedChunkRefusals(t *testing.T) {
	t.Parallel()
	replace := func(from, to string) func(string) string {
		return func(raw string) string {
			if !strings.Contains(raw, from) {
				panic("nothing to replace")
			}
			return strings.Replace(raw, from, to, 1)
		}
	}
	const chunkSignature = ";chunk-signature="
	junk := strings.Repeat("0", 64)
	tests := []struct {
		name string
		edit func(raw string) string
		want string
	}{
		{"data of the second chunk altered", replace("world", "World"), CodeSignatureDoesNotMatch},
		{"chunk signature replayed", func(raw string) string {
			parts := strings.Split(raw, chunkSignature)
			parts[2] = parts[1][:64] + parts[2][64:]
			return strings.Join(parts, chunkSignature)
		}, CodeSignatureDoesNotMatch},
		{"chunks swapped", func(raw string) string {
			parts := strings.SplitAfterN(raw, "\r\n", 5)
			return parts[2] + parts[3] + parts[0] + parts[1] + parts[4]
		}, CodeSignatureDoesNotMatch},
		{"junk signature", func(raw string) string {
			at := strings.Index(raw, chunkSignature) + len(chunkSignature)
			return raw[:at] + junk + raw[at+64:]
		}, CodeSignatureDoesNotMatch},
		{"signature of the final chunk", func(raw string) string {
			at := strings.LastIndex(raw, chunkSignature) + len(chunkSignature)
			return raw[:at] + junk + raw[at+64:]
		}, CodeSignatureDoesNotMatch},
		{"signature too short", func(raw string) string {
			at := strings.Index(raw, chunkSignature) + len(chunkSignature)
			return raw[:at] + raw[at+1:]
		}, CodeIncompleteBody},
		{"no signature", func(raw string) string { return "7" + raw[strings.Index(raw, "\r\n"):] }, CodeIncompleteBody},
		{"another extension", replace("chunk-signature", "chunk-Signature"), CodeIncompleteBody},
		{"two extensions", replace(chunkSignature, ";a=b"+chunkSignature), CodeIncompleteBody},
		{"extension of 2 MB", replace(chunkSignature, ";"+strings.Repeat("x", 2<<20)), CodeIncompleteBody},
		{"ends before the final chunk", func(raw string) string { return raw[:strings.LastIndex(raw, "0;")] }, CodeIncompleteBody},
		{"ends in the data", func(raw string) string { return raw[:strings.Index(raw, "hel")+2] }, CodeIncompleteBody},
		{"ends in a header", func(raw string) string { return raw[:20] }, CodeIncompleteBody},
		{"ends after the data", func(raw string) string { return raw[:strings.Index(raw, "hello, ")+7] }, CodeIncompleteBody},
		{"ends between CR and LF", func(raw string) string { return raw[:len(raw)-1] }, CodeIncompleteBody},
		{"final CRLF missing", func(raw string) string { return raw[:len(raw)-2] }, CodeIncompleteBody},
		{"bytes after the end", func(raw string) string { return raw + "x" }, CodeIncompleteBody},
		{"CRLF after the end", func(raw string) string { return raw + "\r\n" }, CodeIncompleteBody},
		{"trailer where none was announced", func(raw string) string { return raw[:len(raw)-2] + "a:b\r\n\r\n" }, CodeIncompleteBody},
		{"final chunk first", func(raw string) string { return raw[strings.LastIndex(raw, "0;"):] }, CodeIncompleteBody},
		{"no bytes at all", func(string) string { return "" }, CodeIncompleteBody},
		{"not framed", func(string) string { return hello }, CodeIncompleteBody},
		{"CRLF only", func(string) string { return strings.Repeat("\r\n", 1000) }, CodeIncompleteBody},
		{"CRLF after the data missing", replace("hello, \r\n", "hello, "), CodeIncompleteBody},
		{"LF after the data", replace("hello, \r\n", "hello, \n\n"), CodeIncompleteBody},
		{"CR and another byte after the data", replace("hello, \r\n", "hello, \rx"), CodeIncompleteBody},
		{"bare LF after a header", func(raw string) string { return strings.Replace(raw, "\r\n", "\n", 1) }, CodeIncompleteBody},
		{"size 2^63-1", func(raw string) string { return "7fffffffffffffff" + raw[1:] }, CodeIncompleteBody},
		{"size of 16 f", func(raw string) string { return strings.Repeat("f", 16) + raw[1:] }, CodeIncompleteBody},
		{"size of 18 f", func(raw string) string { return strings.Repeat("f", 18) + raw[1:] }, CodeIncompleteBody},
		{"size -5", func(raw string) string { return "-5" + raw[1:] }, CodeIncompleteBody},
		{"size +7", func(raw string) string { return "+" + raw }, CodeIncompleteBody},
		{"size 0x7", func(raw string) string { return "0x" + raw }, CodeIncompleteBody},
		{"size with underscore", func(raw string) string { return "0_" + raw }, CodeIncompleteBody},
		{"size with space", func(raw string) string { return " " + raw }, CodeIncompleteBody},
		{"no size", func(raw string) string { return raw[1:] }, CodeIncompleteBody},
		{"size one less", func(raw string) string { return "6" + raw[1:] }, CodeIncompleteBody},
		{"size one more", func(raw string) string { return "8" + raw[1:] }, CodeIncompleteBody},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, c := framed(t, modeSigned, len(hello))
			data, _, err := readBody(t, r, tt.edit(c.data("hello, ", "world").end()))
			if code(err) != tt.want || len(data) >= len(hello) {
				t.Errorf("read %q, %v; want %s", data, err, tt.want)
			}
		})
	}
	for decoded, want := range map[int]string{11: CodeIncompleteBody, 13: CodeIncompleteBody, 5000: CodeIncompleteBody, 5: CodeIncompleteBody, 0: CodeIncompleteBody} {
		r, c := framed(t, modeSigned, decoded)
		if _, _, err := readBody(t, r, c.data("hello, ", "world").end()); code(err) != want {
			t.Errorf("decoded length %d: got %v, want %s", decoded, err, want)
		}
	}
}

func TestTrailerRefusals(t *testing.T) {
	t.Parallel()
	sum := digest(t, "CRC32", hello)
	line := crcTrailer + ":" + sum + "\r\n"
	tests := []struct {
		name, tail string // bytes after the header of the final chunk
		want       string
	}{
		{"wrong value", crcTrailer + ":" + digest(t, "CRC32", "other") + "\r\n\r\n", CodeBadDigest},
		{"not base64", crcTrailer + ":12345\r\n\r\n", CodeInvalidRequest},
		{"empty value", crcTrailer + ":\r\n\r\n", CodeInvalidRequest},
		{"missing", "\r\n", CodeMalformedTrailer},
		{"missing with all lines", "", CodeIncompleteBody},
		{"another checksum", "x-amz-checksum-crc32c:" + sum + "\r\n\r\n", CodeMalformedTrailer},
		{"one more", line + "x-amz-meta-a:b\r\n\r\n", CodeMalformedTrailer},
		{"twice", line + line + "\r\n", CodeMalformedTrailer},
		{"after the empty line", "\r\n" + line + line + "\r\n", CodeMalformedTrailer},
		{"a signature that nothing signs", line + trailerSignature + ":" + strings.Repeat("0", 64) + "\r\n\r\n", CodeMalformedTrailer},
		{"no colon", crcTrailer + "\r\n\r\n", CodeMalformedTrailer},
		{"no name", ":" + sum + "\r\n\r\n", CodeMalformedTrailer},
		{"no empty line", line, CodeIncompleteBody},
		{"cut off", line[:len(line)-3], CodeIncompleteBody},
		{"bytes after the end", line + "\r\nx", CodeIncompleteBody},
		{"line of 3 MB", crcTrailer + ":" + strings.Repeat("A", 3<<20) + "\r\n\r\n", CodeIncompleteBody},
		{"3 MB of empty lines", line + strings.Repeat("\r\n", 3<<19), CodeMalformedTrailer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := framed(t, modeUnsignedTrailer, len(hello), headerTrailer, crcTrailer)
			data, body, err := readBody(t, r, "c\r\n"+hello+"\r\n0\r\n"+tt.tail)
			if code(err) != tt.want || data != "" || body.Checksums() != nil {
				t.Errorf("read %q, %v; want %s", data, err, tt.want)
			}
		})
	}
	r, _ := framed(t, modeUnsignedTrailer, len(hello))
	if _, _, err := readBody(t, r, "c\r\n"+hello+"\r\n0\r\n"+line+"\r\n"); code(err) != CodeMalformedTrailer {
		t.Errorf("not announced: %v", err)
	}
	r, _ = framed(t, modeUnsignedTrailer, len(hello), headerTrailer, crcTrailer)
	if _, _, err := readBody(t, r, "c;a=b\r\n"+hello+"\r\n0\r\n"+line+"\r\n"); code(err) != CodeIncompleteBody {
		t.Errorf("extension of an unsigned chunk: %v", err)
	}
}

func TestSignedTrailerRefusals(t *testing.T) {
	t.Parallel()
	sum := digest(t, "CRC32", hello)
	tests := []struct {
		name string
		edit func(raw string) string
		want string
	}{
		{"no signature", func(raw string) string { return raw[:strings.Index(raw, trailerSignature)] + "\r\n" }, CodeIncompleteBody},
		{"junk signature", func(raw string) string { return raw[:len(raw)-12] + "deadbeef\r\n\r\n" }, CodeSignatureDoesNotMatch},
		{"empty signature", func(raw string) string {
			return raw[:strings.Index(raw, trailerSignature)] + trailerSignature + ":\r\n\r\n"
		}, CodeIncompleteBody},
		{"value replaced", func(raw string) string {
			return strings.Replace(raw, sum, digest(t, "CRC32", "other"), 1)
		}, CodeSignatureDoesNotMatch},
		{"signature twice", func(raw string) string {
			at := strings.Index(raw, trailerSignature)
			return raw[:len(raw)-2] + raw[at:]
		}, CodeMalformedTrailer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, c := framed(t, modeSignedTrailer, len(hello), headerTrailer, crcTrailer)
			if data, _, err := readBody(t, r, tt.edit(c.data(hello).trailer(crcTrailer, sum))); code(err) != tt.want || data != "" {
				t.Errorf("read %q, %v; want %s", data, err, tt.want)
			}
		})
	}
	r, c := framed(t, modeSignedTrailer, len(hello), headerTrailer, crcTrailer)
	if _, _, err := readBody(t, r, c.data(hello).trailer(crcTrailer, digest(t, "CRC32", "other"))); code(err) != CodeBadDigest {
		t.Errorf("wrong but well signed: %v", err)
	}
	r, c = framed(t, modeSignedTrailer, len(hello), headerTrailer, crcTrailer)
	if _, _, err := readBody(t, r, c.data(hello).end()); code(err) != CodeMalformedTrailer {
		t.Errorf("trailer missing: %v", err)
	}
}

func TestMD5OfFramedBody(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{hello, "other"} {
		r, c := framed(t, modeSigned, len(hello), "Content-MD5", digest(t, "MD5", sent))
		_, _, err := readBody(t, r, c.data(hello).end())
		if want := map[bool]string{false: CodeBadDigest}[sent == hello]; code(err) != want {
			t.Errorf("MD5 of %q: %v", sent, err)
		}
	}
}

// TestEndlessHeader checks that an endless chunk header is refused after a
// limited number of bytes and with limited memory.
func TestEndlessHeader(t *testing.T) {
	r, _ := framed(t, modeUnsignedTrailer, 1<<40)
	auth, err := testVerifier().Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	raw := &countingReader{r: endlessReader('1')}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	body, err := auth.Body(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, body); code(err) != CodeIncompleteBody {
		t.Errorf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if raw.n > maxLine || after.TotalAlloc-before.TotalAlloc > 256<<10 {
		t.Errorf("read %d bytes and allocated %d", raw.n, after.TotalAlloc-before.TotalAlloc)
	}
}

type endlessReader byte

func (e endlessReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// TestFrameLengths checks the refusals of chunks that do not add up to the
// declared length of 10 bytes.
func TestFrameLengths(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]*Error{
		"b\r\nhello hello\r\n0\r\n\r\n":          errBodyLength(),
		"5\r\nhello\r\n6\r\n hello\r\n0\r\n\r\n": errBodyLength(),
		"5\r\nhello\r\n0\r\n\r\n":                errBodyLength(),
		"0\r\n\r\n":                              errBodyLength(),
		"1000\r\nhello":                          errBodyLength(), // longer than the buffer
		"b\r\nhellohello\r\n0\r\n\r\n":           errFraming(""),
		"b\r\nhello hello":                       errFraming(""),
		"b\r\nhello hello\n\n":                   errFraming(""),
	} {
		_, err := io.ReadAll(newFrames(strings.NewReader(raw), 10))
		var got *Error
		if !errors.As(err, &got) || got.Code != CodeIncompleteBody || got.Message != want.Message {
			t.Errorf("%q: %v, want %v", raw, err, want)
		}
	}
}
