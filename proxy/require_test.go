package proxy

import (
	"fmt"
	"net/http"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// TestRequire: a bucket with requirements gets no object sealed in another way,
// by any operation.
func TestRequire(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withConfig(func(c *Config) {
		c.Require = []sse.Requirement{
			{Bucket: "sealed", Scheme: 0},
			{Bucket: "keyed-*", Scheme: sealer.SSEKMS, KESKey: "a"}, {Bucket: "keyed-*", Scheme: sealer.SSEKMS, KESKey: "b"},
		}
	}), withRule("keyed-2", state.Rule{Algorithm: s3.AWSKMS, KeyID: "a"}))
	for _, key := range []string{"a", "b", "c"} {
		g.kes.CreateKey(key)
	}
	for _, bucket := range []string{"sealed", "keyed-1", "keyed-2"} {
		g.upstream.makeBucket(bucket)
	}
	g.put("/bucket/plain", []byte("data")).want(t, 200, "")
	g.put("/bucket/under-a", []byte("data"), s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "a").want(t, 200, "")
	with := func(key string) []string { return []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, key} }
	for _, tt := range []struct {
		bucket  string
		headers []string
		taken   bool
	}{
		{"bucket", nil, true},
		{"sealed", nil, false},
		{"sealed", []string{s3.HeaderSSE, s3.AES256}, true},
		{"sealed", with("c"), true},
		{"keyed-1", nil, false},
		{"keyed-1", []string{s3.HeaderSSE, s3.AES256}, false},
		{"keyed-1", with("a"), true},
		{"keyed-1", with("b"), true},
		{"keyed-1", with("c"), false},
		{"keyed-2", nil, true},
		{"keyed-2", with("c"), false},
	} {
		fields := tt.headers
		requests := map[string]func() clientAnswer{
			"put": func() clientAnswer { return g.put("/"+tt.bucket+"/k", []byte("data"), tt.headers...) },
			"create": func() clientAnswer {
				return g.do(clientRequest{method: "POST", path: "/" + tt.bucket + "/k", query: map[string][]string{"uploads": {""}}, header: headers(tt.headers...)})
			},
			"copy": func() clientAnswer {
				return g.put("/"+tt.bucket+"/k", nil, append([]string{"X-Amz-Copy-Source", "bucket/plain"}, tt.headers...)...)
			},
			"form": func() clientAnswer {
				return g.form(testForm{bucket: tt.bucket, key: "k", fields: fields, file: []byte("data")})
			},
		}
		for name, send := range requests {
			a := send()
			if taken := a.status < 300; taken != tt.taken || !taken && a.code != "AccessDenied" {
				t.Errorf("%s to %s with %v: %d %s", name, tt.bucket, tt.headers, a.status, a.code)
			}
		}
	}
	// The copy of a sealed object keeps its key.
	g.put("/keyed-1/copy", nil, "X-Amz-Copy-Source", "bucket/under-a").want(t, 200, "")
	g.put("/keyed-1/copy", nil, "X-Amz-Copy-Source", "bucket/plain").want(t, 403, "AccessDenied")
	change := func(key string) clientAnswer {
		return g.do(clientRequest{method: http.MethodPut, path: "/keyed-1/copy", query: encryptionQuery, body: fmt.Appendf(nil,
			`<ObjectEncryption><SSE-KMS><KMSKeyArn>arn:aws:kms:%s</KMSKeyArn></SSE-KMS></ObjectEncryption>`, key)})
	}
	change("c").want(t, 403, "AccessDenied")
	change("b").want(t, 200, "")
}

// TestPolicyOnSSE: a policy with conditions on headers that the store never
// sees would refuse every write, or none. It is refused, and the error names
// the alternative.
func TestPolicyOnSSE(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	set := func(policy string) clientAnswer {
		return g.do(clientRequest{method: http.MethodPut, path: "/bucket", query: map[string][]string{"policy": {""}}, body: []byte(policy)})
	}
	const statement = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*","Condition":{%s}}]}`
	for _, condition := range []string{
		`"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}`,
		`"Null":{"s3:X-Amz-Server-Side-Encryption":"true"}`,
		`"StringNotEqualsIfExists":{"s3:x-amz-server-side-encryption-aws-kms-key-id":["a","b"]}`,
		`"Null":{"s3:x-amz-server-side-encryption-customer-algorithm":"false"}`,
	} {
		set(fmt.Sprintf(statement, condition)).want(t, 501, "NotImplemented")
	}
	if seen := g.upstream.requests("/bucket"); len(seen) != 0 {
		t.Errorf("the store saw %d requests", len(seen))
	}
	set(fmt.Sprintf(statement, `"StringEquals":{"aws:UserAgent":"s3:x-amz-server-side-encryption"}`)).want(t, 200, "")
	set(`not JSON, which the store refuses`).want(t, 200, "")
}
