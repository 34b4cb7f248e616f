package proxy

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

// sign signs r. Headers whose signature is in doubt are not signed: the store
// reads them all the same.
func (u *Upstream) sign(ctx context.Context, creds aws.Credentials, r *http.Request, hash string, now time.Time) error {
	doubtful, err := takeDoubtful(r.Header)
	if err != nil {
		return err
	}
	if err := u.signer.SignHTTP(ctx, creds, r, hash, "s3", u.region, now); err != nil {
		return fmt.Errorf("proxy: signing for the upstream: %w", err)
	}
	for name, values := range doubtful {
		r.Header[name] = values
	}
	return nil
}

// takeDoubtful takes the headers out of h that have a white space other than the
// space in a value. Stores put those into different forms before they verify a
// signature: MinIO makes one space of them, versitygw leaves them. An x-amz-*
// header must be signed: user metadata outside ASCII stays, as encoded words, and
// others are refused.
func takeDoubtful(h http.Header) (http.Header, error) {
	doubtful := http.Header{}
	for name, values := range h {
		v := strings.Trim(strings.Join(values, ","), " \t")
		if !strings.ContainsFunc(v, isOddSpace) {
			continue
		}
		switch lower := strings.ToLower(name); {
		case strings.HasPrefix(lower, metaPrefix) && !isASCII(v):
			h[name] = []string{wireValue(lower, v)}
		case strings.HasPrefix(lower, "x-"):
			return nil, s3.ErrArgument(lower, v, "The header "+lower+" has a white space other than the space in its value. "+
				"Object stores do not agree on the signature of such a header.")
		default:
			doubtful[name] = values
		}
	}
	for name := range doubtful {
		delete(h, name)
	}
	return doubtful, nil
}

func isOddSpace(r rune) bool { return r != ' ' && unicode.IsSpace(r) }
