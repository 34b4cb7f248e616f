package sigv4

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssegw/proxy/field"
)

// Credentials sign requests. Token is that of temporary credentials, or "".
type Credentials struct{ AccessKey, SecretKey, Token string }

// Signer signs requests to a store, in the Authorization header. It is safe for
// concurrent use.
type Signer struct {
	region string
	keys   func(secret string, s scope) signingKey
}

// NewSigner returns a Signer for a region.
func NewSigner(region string) *Signer { return &Signer{region: region, keys: keyCache()} }

// unsigned are the headers that a proxy before the store may change, and those
// that the signature sets itself.
var unsigned = []string{"authorization", "content-length", "expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"}

// Sign signs r with all its headers except those in unsigned, and returns a
// function that signs further strings with the same key, such as chunks. hash
// is the value of x-amz-content-sha256. The URL must be encoded as Version 4
// demands, and its query sorted by name, with one value each.
func (s *Signer) Sign(r *http.Request, c Credentials, hash string, now time.Time) (more func(stringToSign string) string) {
	claimed := &credential{time: now.UTC().Format(timeFormat)}
	claimed.scope = scope{date: claimed.time[:len(dayFormat)], region: s.region, service: serviceS3}
	field.Set(r.Header, headerDate, claimed.time)
	if c.Token != "" {
		field.Set(r.Header, paramToken, c.Token)
	}
	names := signedNames(r)
	list := strings.Join(names, ";")

	var b strings.Builder
	b.Grow(1024)
	for _, line := range [...]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery} {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	for _, name := range names {
		b.WriteString(name)
		b.WriteByte(':')
		writeValue(&b, r, name)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(list)
	b.WriteByte('\n')
	b.WriteString(hash)

	key := s.keys(c.SecretKey, claimed.scope)
	signature := key.sign(stringToSign(claimed, b.String()))
	field.Set(r.Header, "Authorization", algorithmV4+" Credential="+c.AccessKey+"/"+claimed.scope.String()+
		", SignedHeaders="+list+", Signature="+signature)
	return key.sign
}

// signedNames returns the sorted names of the headers to sign, in lower case.
func signedNames(r *http.Request) []string {
	names := make([]string, 0, len(r.Header)+2)
	names = append(names, "host")
	if r.ContentLength > 0 {
		names = append(names, "content-length")
	}
	for name := range r.Header {
		if lower := field.Lower(name); !slices.Contains(unsigned, lower) {
			names = append(names, lower)
		}
	}
	slices.Sort(names)
	return names
}

// writeValue writes the canonical value of a header of an outgoing request.
func writeValue(b *strings.Builder, r *http.Request, name string) {
	switch name {
	case "host":
		b.WriteString(r.Host)
	case "content-length":
		b.WriteString(strconv.FormatInt(r.ContentLength, 10))
	default:
		for i, v := range field.Values(r.Header, name) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(trimmed(v))
		}
	}
}
