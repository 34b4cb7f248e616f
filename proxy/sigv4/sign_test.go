package sigv4

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestSigner: the signature is that of the SDK.
func TestSigner(t *testing.T) {
	t.Parallel()
	sdk := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	ours := NewSigner("eu-x-1")
	secret := Credentials{AccessKey: "AK/1", SecretKey: testSecret}
	for _, tt := range []struct {
		method, url string
		length      int64
		c           Credentials
		header      http.Header
	}{
		{"GET", "http://store:9000/", 0, secret, http.Header{}},
		{"GET", "http://store:9000/b/k%20%2B%C3%A9/~x", 0, secret, http.Header{"Range": {"bytes=0-1"}, "User-Agent": {"ssegw"}}},
		{"PUT", "https://store/b/k?partNumber=2&uploadId=a%2Fb", 77, secret, http.Header{"X-Amz-Meta-A": {" a   b "}, "Content-Type": {"text/plain"}}},
		{"POST", "https://[::1]:9000/b?delete=", 1, secret, http.Header{"X-Amz-Meta-A_b.c": {"1", "2"}, "Expect": {"100-continue"}}},
		{"DELETE", "http://store/b/k?versionId=x%20y", 0, Credentials{"A", "S", "token"}, http.Header{"Accept-Encoding": {"identity"}, "X-Amz-Acl": {""}}},
	} {
		for _, at := range []time.Time{testTime, testTime.Add(24 * time.Hour), testTime.In(time.FixedZone("", 12*3600))} {
			request := func() *http.Request {
				r, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header, r.ContentLength = tt.header.Clone(), tt.length
				return r
			}
			want, got := request(), request()
			if err := sdk.SignHTTP(t.Context(), aws.Credentials{AccessKeyID: tt.c.AccessKey, SecretAccessKey: tt.c.SecretKey, SessionToken: tt.c.Token},
				want, emptySHA256, "s3", "eu-x-1", at); err != nil {
				t.Fatal(err)
			}
			ours.Sign(got, tt.c, emptySHA256, at)
			if a, b := fmt.Sprint(got.Header), fmt.Sprint(want.Header); a != b {
				t.Errorf("%s %s:\n got %s\nwant %s", tt.method, tt.url, a, b)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
		if printed := fmt.Sprintf(verb, *ours); strings.Contains(printed, testSecret) {
			t.Errorf("%s prints a secret", verb)
		}
	}
}

// TestKeyCache: keys depend on secret and scope, also after the cache was full.
func TestKeyCache(t *testing.T) {
	t.Parallel()
	keys := keyCache()
	for range 2 {
		for i := range maxKeys + 3 {
			s := scope{"20260102", fmt.Sprint(i), "s3"}
			for _, secret := range []string{"a", "b"} {
				if got, want := keys(secret, s).sign("x"), deriveKey(secret, s).sign("x"); got != want {
					t.Fatalf("key %d of %s signs %s, want %s", i, secret, got, want)
				}
			}
		}
	}
}
