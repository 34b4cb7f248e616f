package sigv4

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"strings"
)

// readTrailer reads the lines after the final chunk up to the end of the body.
// They are the announced checksum and, if chunks are signed, its signature,
// each exactly once, and then an empty line. Clients differ in line ends and in
// the places of empty lines, so LF also ends a line and empty lines may come
// anywhere.
func (f *frames) readTrailer() error {
	var signature string
	seen := map[string]bool{}
	total, ended := 0, false
	for {
		if _, err := f.raw.Peek(1); err == io.EOF && ended {
			break
		}
		line, err := f.line()
		if err != nil {
			return err
		}
		if total += len(line); total > maxTrailer {
			return errTrailer("it is too long")
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if ended = len(line) == 0; ended {
			continue
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			return errFraming("a line of the trailer does not end in CRLF")
		}
		name, value, found := strings.Cut(string(line), ":")
		name, value = strings.ToLower(strings.Trim(name, " \t")), strings.Trim(value, " \t")
		expected := name != "" && (name == f.trailerName || name == trailerSignature && f.signer != nil)
		switch {
		case !expected && f.signer != nil && f.trailerName != "" && seen[f.trailerName]:
			return errFraming("the signature of the trailer is missing")
		case !found || !expected || seen[name]:
			return errTrailer("a trailer was not announced, is repeated or is not a header")
		case name == trailerSignature:
			signature = value
		default:
			f.trailerValue = value
		}
		seen[name] = true
	}
	if f.trailerName != "" && !seen[f.trailerName] {
		return errTrailer("the announced trailer is missing")
	}
	if f.signer == nil {
		return nil
	}
	if f.trailerName == "" {
		return errTrailer("no trailer was announced")
	}
	if len(signature) != 2*sha256.Size {
		return errFraming("the trailer has no well-formed signature")
	}
	return f.signer.checkTrailer(f.trailerName+":"+f.trailerValue+"\n", signature)
}

// emptySHA256 is the SHA-256 of the empty string, which is part of every
// chunk's string to sign.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// chunkSigner checks the chain of chunk signatures. The chain begins with the
// signature of the request.
type chunkSigner struct {
	key      signingKey
	context  string // time and scope, with line feeds
	previous string // signature of the request or the previous chunk, 64 hex digits
	claimed  string // signature of the current chunk, as sent
	data     hash.Hash
}

func newChunkSigner(key signingKey, c *credential) *chunkSigner {
	return &chunkSigner{key: key, context: c.time + "\n" + c.scope.String() + "\n", previous: c.signature}
}

// start returns a signer at the beginning of the chain.
func (s *chunkSigner) start() *chunkSigner {
	head := *s
	head.data = sha256.New()
	return &head
}

// open stores the signature claimed by the extension of a chunk header.
func (s *chunkSigner) open(extension []byte) error {
	value, found := bytes.CutPrefix(extension, []byte("chunk-signature="))
	if !found || len(value) != 2*sha256.Size {
		return errFraming("a chunk has no well-formed signature")
	}
	s.claimed = string(value)
	s.data.Reset()
	return nil
}

// close compares the claimed signature with that of the data since open.
func (s *chunkSigner) close() error {
	want := s.key.sign(algorithmV4 + "-PAYLOAD\n" + s.context + s.previous + "\n" + emptySHA256 + "\n" +
		hex.EncodeToString(s.data.Sum(nil)))
	return s.advance(want, s.claimed)
}

// checkTrailer compares the claimed signature with that of the canonical
// trailer lines.
func (s *chunkSigner) checkTrailer(canonical, claimed string) error {
	sum := sha256.Sum256([]byte(canonical))
	want := s.key.sign(algorithmV4 + "-TRAILER\n" + s.context + s.previous + "\n" + hex.EncodeToString(sum[:]))
	return s.advance(want, claimed)
}

func (s *chunkSigner) advance(want, claimed string) error {
	if !hmac.Equal([]byte(want), []byte(claimed)) {
		return errSignature()
	}
	s.previous = want
	return nil
}
