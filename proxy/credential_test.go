package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// someone is a credential of that name with the limits that edit sets.
func someone(name string, edit func(*Credential)) *Credential {
	c := &Credential{AccessKey: name, SecretKey: "canary-" + name}
	edit(c)
	return c
}

// mapped returns a credential with its own key pair at the store.
func mapped(name string) *Credential {
	return someone(name, func(c *Credential) {
		c.Upstream = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: otherUpstreamKey, SecretAccessKey: upstreamSecretKey}, nil
		})
	})
}

// withCredentials adds credentials, which a test can change.
func withCredentials(list map[string]*Credential) gatewayOption {
	return withConfig(func(c *Config) {
		c.Credentials = func(accessKey string) (*Credential, bool) {
			found, ok := list[accessKey]
			return found, ok
		}
	})
}

func TestCredentialLimits(t *testing.T) {
	t.Parallel()
	reader := someone("reader", func(c *Credential) { c.Access = AccessRead })
	writer := someone("writer", func(c *Credential) { c.Access = AccessWrite })
	bucket := someone("bucket", func(c *Credential) { c.Buckets = []string{testBucket, "app-*"} })
	list := map[string]*Credential{"reader": reader, "writer": writer, "bucket": bucket}
	g := newGateway(t, withCredentials(list))
	g.upstream.makeBucket("app-logs")
	g.upstream.makeBucket("secret")
	g.put("/bucket/key", pattern(100, 1)).want(t, 200, "")
	g.put("/secret/key", pattern(100, 1)).want(t, 200, "")
	rule := []byte(`<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>` +
		`</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`)

	for _, test := range []struct {
		as           *Credential
		method, path string
		query        url.Values
		header       http.Header
		body         []byte
		status       int
	}{
		{as: reader, method: "GET", path: "/bucket/key", status: 200},
		{as: reader, method: "HEAD", path: "/bucket/key", status: 200},
		{as: reader, method: "GET", path: "/bucket", status: 200},
		{as: reader, method: "GET", path: "/", status: 200},
		{as: reader, method: "PUT", path: "/bucket/new", body: []byte("x"), status: 403},
		{as: reader, method: "DELETE", path: "/bucket/key", status: 403},
		{as: reader, method: "POST", path: "/bucket", query: url.Values{"delete": {""}}, body: []byte("<Delete/>"), status: 403},
		{as: reader, method: "PUT", path: "/bucket/copy", header: headers("X-Amz-Copy-Source", "bucket/key"), status: 403},
		{as: writer, method: "GET", path: "/bucket/key", status: 403},
		{as: writer, method: "HEAD", path: "/bucket/key", status: 403},
		{as: writer, method: "PUT", path: "/bucket/written", body: []byte("x"), status: 200},
		{as: writer, method: "PUT", path: "/bucket/copy", header: headers("X-Amz-Copy-Source", "bucket/key"), status: 403},
		{as: writer, method: "DELETE", path: "/bucket/written", status: 204},
		{as: writer, method: "PUT", path: "/bucket/written", header: headers("X-Amz-Acl", "private"), body: []byte("x"), status: 200},
		{as: writer, method: "PUT", path: "/bucket/written", query: url.Values{"tagging": {""}}, body: []byte("<Tagging/>"), status: 200},
		{as: writer, method: "PUT", path: "/bucket/written", header: headers("X-Amz-Acl", "public-read"), body: []byte("x"), status: 403},
		{as: writer, method: "PUT", path: "/bucket/written", header: headers("X-Amz-Grant-Read", "id=x"), body: []byte("x"), status: 403},
		{as: writer, method: "PUT", path: "/bucket/written", query: url.Values{"acl": {""}}, body: []byte("<AccessControlPolicy/>"), status: 403},
		{as: writer, method: "PUT", path: "/bucket", query: url.Values{"policy": {""}}, body: []byte("{}"), status: 403},
		{as: writer, method: "PUT", path: "/bucket", query: url.Values{"acl": {""}}, body: []byte("<AccessControlPolicy/>"), status: 403},
		{as: writer, method: "DELETE", path: "/bucket", query: url.Values{"policy": {""}}, status: 403},
		{as: writer, method: "PUT", path: "/bucket", query: url.Values{"lifecycle": {""}}, body: []byte("<LifecycleConfiguration/>"), status: 403},
		{as: writer, method: "DELETE", path: "/bucket", status: 403},
		{as: writer, method: "PUT", path: "/new-bucket", status: 403},
		{as: bucket, method: "GET", path: "/bucket/key", status: 200},
		{as: bucket, method: "PUT", path: "/app-logs/new", body: []byte("x"), status: 200},
		{as: bucket, method: "PUT", path: "/bucket/copy", header: headers("X-Amz-Copy-Source", "app-logs/new"), status: 200},
		{as: bucket, method: "GET", path: "/secret/key", status: 403},
		{as: bucket, method: "GET", path: "/secret", status: 403},
		{as: bucket, method: "GET", path: "/app", status: 403},
		{as: bucket, method: "GET", path: "/", status: 403},
		{as: bucket, method: "PUT", path: "/bucket/stolen", header: headers("X-Amz-Copy-Source", "secret/key"), status: 403},
		{as: bucket, method: "PUT", path: "/bucket", query: encryptionQuery, body: rule, status: 403},
		{as: bucket, method: "DELETE", path: "/bucket", query: encryptionQuery, status: 403},
		{as: bucket, method: "GET", path: "/bucket", query: encryptionQuery, status: 404},
		{as: someone("unknown", func(*Credential) {}), method: "GET", path: "/bucket/key", status: 403},
	} {
		code := ""
		if test.status == 403 && test.method != "HEAD" {
			code = "AccessDenied"
			if test.as.AccessKey == "unknown" {
				code = "InvalidAccessKeyId"
			}
		}
		t.Run(fmt.Sprint(test.as.AccessKey, " ", test.method, " ", test.path, test.query.Encode()), func(t *testing.T) {
			r := g.do(clientRequest{method: test.method, path: test.path, query: test.query, header: test.header, body: test.body, as: test.as})
			if r.status != test.status || code != "" && r.code != code {
				t.Errorf("%d %s, want %d %s", r.status, r.code, test.status, code)
			}
		})
	}
	delete(list, "reader")
	g.do(clientRequest{method: "GET", path: "/bucket/key", as: reader}).want(t, 403, "InvalidAccessKeyId")
}

// TestCredentialKMSKeys: a credential neither seals nor opens with keys that it
// may not use.
func TestCredentialKMSKeys(t *testing.T) {
	t.Parallel()
	app := someone("app", func(c *Credential) { c.KMSKeys = []string{"app-*"} })
	g := newGateway(t, withCredentials(map[string]*Credential{"app": app}), withRule("ruled", state.Rule{Algorithm: "aws:kms", KeyID: "other"}))
	g.kes.CreateKey("app-one")
	g.kes.CreateKey("other")
	g.upstream.makeBucket("ruled")
	kms := func(key string) http.Header {
		return headers("X-Amz-Server-Side-Encryption", "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", key)
	}
	do := func(method, path string, h http.Header) clientAnswer {
		body := []byte("x")
		if method == "GET" || h.Get("X-Amz-Copy-Source") != "" {
			body = nil
		}
		return g.do(clientRequest{method: method, path: path, header: h, body: body, as: app})
	}
	g.do(clientRequest{method: "PUT", path: "/bucket/of-other", header: kms("other"), body: []byte("x")}).want(t, 200, "")

	do("PUT", "/bucket/mine", kms("app-one")).want(t, 200, "")
	do("GET", "/bucket/mine", nil).want(t, 200, "")
	do("PUT", "/bucket/theirs", kms("other")).want(t, 403, "kms:NotAuthorized")
	do("PUT", "/ruled/theirs", nil).want(t, 403, "kms:NotAuthorized")
	do("PUT", "/bucket/s3", headers("X-Amz-Server-Side-Encryption", "AES256")).want(t, 403, "kms:NotAuthorized")
	do("GET", "/bucket/of-other", nil).want(t, 403, "kms:NotAuthorized")
	stolen := kms("app-one")
	stolen.Set("X-Amz-Copy-Source", "bucket/of-other")
	do("PUT", "/bucket/stolen", stolen).want(t, 403, "kms:NotAuthorized")
	for _, key := range g.upstream.keys("ruled") {
		t.Errorf("stored %s", key)
	}
}

// TestCredentialUpstream: requests to the store carry the credential's own
// signature there.
func TestCredentialUpstream(t *testing.T) {
	t.Parallel()
	own := mapped("own")
	for _, framing := range []upstream.Framing{upstream.FramingTrailer, upstream.FramingSigned, upstream.FramingPlain} {
		g := newGateway(t, withCredentials(map[string]*Credential{"own": own}), func(s *gatewaySetup) { s.framing = framing })
		for _, c := range []clientRequest{
			{method: "PUT", path: "/bucket/key", body: pattern(2<<20, 1), header: headers("X-Amz-Server-Side-Encryption", "AES256")},
			{method: "GET", path: "/bucket/key"},
			{method: "GET", path: "/bucket"},
			{method: "PUT", path: "/bucket/copy", header: headers("X-Amz-Copy-Source", "bucket/key")},
			{method: "DELETE", path: "/bucket/key"},
		} {
			c.as = own
			if r := g.do(c); r.status >= 300 {
				t.Errorf("%s %s: %d %s", c.method, c.path, r.status, r.code)
			}
		}
		for _, r := range g.upstream.requests("/bucket") {
			if !strings.Contains(r.Header.Get("Authorization"), "Credential="+otherUpstreamKey+"/") {
				t.Errorf("framing %v: %s %s is signed by %s", framing, r.Method, r.Path, r.Header.Get("Authorization"))
			}
		}
		for _, r := range g.upstream.requests("/" + testStateBucket) {
			if strings.Contains(r.Header.Get("Authorization"), otherUpstreamKey) {
				t.Errorf("%s %s of the state is signed by a client's credential", r.Method, r.Path)
			}
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{{"a", "a", true}, {"a", "ab", false}, {"a*", "a", true}, {"a*", "ab", true}, {"a*", "b", false}, {"*", "", true}, {"*", "x", true}} {
		if got := s3.MatchesAny([]string{"other", test.pattern}, test.name); got != test.want {
			t.Errorf("%s, %s: %t", test.pattern, test.name, got)
		}
	}
}
