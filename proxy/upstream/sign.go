package upstream

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssegw/proxy/field"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
)

// sign signs r with Signature Version 4, except the headers of takeAmbiguous.
// The store reads those without a signature. more signs chunks with the same
// key.
func (s *Store) sign(creds aws.Credentials, r *http.Request, hash string, now time.Time) (more func(string) string, err error) {
	unsigned, err := takeAmbiguous(r.Header)
	if err != nil {
		return nil, err
	}
	more = s.signer.Sign(r, sigv4.Credentials{AccessKey: creds.AccessKeyID, SecretKey: creds.SecretAccessKey, Token: creds.SessionToken}, hash, now)
	maps.Copy(r.Header, unsigned)
	return more, nil
}

// takeAmbiguous removes and returns the headers whose values contain white
// space other than U+0020. Stores normalize it in different ways before they
// verify a signature: MinIO replaces it with one space, versitygw keeps it. An
// x-amz-* header must be signed: user metadata that is not ASCII stays, as
// encoded words, and any other is an error.
func takeAmbiguous(h http.Header) (http.Header, error) {
	var ambiguous http.Header // nil for most requests
	for name, values := range h {
		if !slices.ContainsFunc(values, mayHaveOtherSpace) {
			continue
		}
		v := strings.Trim(strings.Join(values, ","), " \t")
		if !strings.ContainsFunc(v, isOtherSpace) {
			continue
		}
		switch lower := field.Lower(name); {
		case strings.HasPrefix(lower, s3.MetaPrefix) && !s3.IsASCII(v):
			h[name] = []string{s3.WireValue(lower, v)}
		case strings.HasPrefix(lower, "x-"):
			return nil, s3.ErrArgument(lower, v, "The header "+lower+" has a white space other than the space in its value. "+
				"Object stores do not agree on the signature of such a header.")
		default:
			if ambiguous == nil {
				ambiguous = http.Header{}
			}
			ambiguous[name] = values
		}
	}
	for name := range ambiguous {
		delete(h, name)
	}
	return ambiguous, nil
}

// mayHaveOtherSpace is false for values of printable ASCII, which are nearly
// all: it costs far less than a look at each character.
func mayHaveOtherSpace(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return true
		}
	}
	return false
}

func isOtherSpace(r rune) bool { return r != ' ' && unicode.IsSpace(r) }
