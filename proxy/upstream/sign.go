package upstream

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssegw/proxy/s3"
)

// sign signs r with Signature Version 4, except the headers of takeAmbiguous.
// The store reads those without a signature.
func (s *Store) sign(ctx context.Context, creds aws.Credentials, r *http.Request, hash string, now time.Time) error {
	unsigned, err := takeAmbiguous(r.Header)
	if err != nil {
		return err
	}
	if err := s.signer.SignHTTP(ctx, creds, r, hash, "s3", s.region, now); err != nil {
		return fmt.Errorf("upstream: signing a request: %w", err)
	}
	for name, values := range unsigned {
		r.Header[name] = values
	}
	return nil
}

// takeAmbiguous removes and returns the headers whose values contain white
// space other than U+0020. Stores normalize it in different ways before they
// verify a signature: MinIO replaces it with one space, versitygw keeps it. An
// x-amz-* header must be signed: user metadata that is not ASCII stays, as
// encoded words, and any other is an error.
func takeAmbiguous(h http.Header) (http.Header, error) {
	ambiguous := http.Header{}
	for name, values := range h {
		v := strings.Trim(strings.Join(values, ","), " \t")
		if !strings.ContainsFunc(v, isOtherSpace) {
			continue
		}
		switch lower := strings.ToLower(name); {
		case strings.HasPrefix(lower, s3.MetaPrefix) && !s3.IsASCII(v):
			h[name] = []string{s3.WireValue(lower, v)}
		case strings.HasPrefix(lower, "x-"):
			return nil, s3.ErrArgument(lower, v, "The header "+lower+" has a white space other than the space in its value. "+
				"Object stores do not agree on the signature of such a header.")
		default:
			ambiguous[name] = values
		}
	}
	for name := range ambiguous {
		delete(h, name)
	}
	return ambiguous, nil
}

func isOtherSpace(r rune) bool { return r != ' ' && unicode.IsSpace(r) }
