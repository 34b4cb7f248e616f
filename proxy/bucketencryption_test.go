package proxy

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

var encryptionQuery = url.Values{"encryption": {""}}

// encryptionDoc is the document that mc sends: no namespace, the key first.
func encryptionDoc(algorithm, key string) []byte {
	doc := "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>"
	if key != "" {
		doc += "<KMSMasterKeyID>" + key + "</KMSMasterKeyID>"
	}
	return []byte(doc + "<SSEAlgorithm>" + algorithm + "</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>")
}

func (g *testGateway) setEncryption(bucket string, doc []byte) clientAnswer {
	g.t.Helper()
	return g.do(clientRequest{method: http.MethodPut, path: "/" + bucket, query: encryptionQuery, body: doc})
}

func (g *testGateway) encryption(bucket string) clientAnswer {
	g.t.Helper()
	return g.do(clientRequest{method: http.MethodGet, path: "/" + bucket, query: encryptionQuery})
}

func (g *testGateway) clearEncryption(bucket string) clientAnswer {
	g.t.Helper()
	return g.do(clientRequest{method: http.MethodDelete, path: "/" + bucket, query: encryptionQuery})
}

// TestBucketEncryptionDocuments sets documents as mc and SDKs send them. It
// checks the document that comes back and the encryption of the next write.
func TestBucketEncryptionDocuments(t *testing.T) {
	t.Parallel()
	const open = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ApplyServerSideEncryptionByDefault>`
	tests := map[string]struct {
		in, out string
		sse     string
		keyID   string // of the answer to a PUT of an object
	}{
		"mc, SSE-S3": {
			string(encryptionDoc("AES256", "")),
			open + `<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`,
			"AES256", "",
		},
		"mc, SSE-KMS": {
			string(encryptionDoc("aws:kms", "my-key")),
			open + `<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>my-key</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`,
			"aws:kms", "arn:aws:kms:my-key",
		},
		"ARN, given back as it came": {
			string(encryptionDoc("aws:kms", "arn:aws:kms:my-key")),
			open + `<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>arn:aws:kms:my-key</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`,
			"aws:kms", "arn:aws:kms:my-key",
		},
		"default key, Bucket Keys": {
			`<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ApplyServerSideEncryptionByDefault>` +
				`<SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>`,
			open + `<SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>`,
			"aws:kms", "arn:aws:kms:" + kmstest.DefaultKey,
		},
		"SSE-C blocked": {
			`<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>` +
				`<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>`,
			open + `<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>` +
				`<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>`,
			"AES256", "",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.kes.CreateKey("my-key")
			r := g.setEncryption(testBucket, []byte(test.in))
			r.want(t, 200, "")
			if len(r.body) != 0 {
				t.Errorf("answered %q", r.body)
			}
			r = g.encryption(testBucket)
			r.want(t, 200, "")
			if string(r.body) != test.out || r.header.Get("Content-Type") != "application/xml" {
				t.Errorf("given back %s: %s\nwant %s", r.header.Get("Content-Type"), r.body, test.out)
			}
			r = g.put("/bucket/key", []byte("x"))
			r.want(t, 200, "")
			if sse, id := r.header.Get(s3.HeaderSSE), r.header.Get(s3.HeaderSSEKeyID); sse != test.sse || id != test.keyID {
				t.Errorf("written with %q, %q", sse, id)
			}
			for _, seen := range g.upstream.requests("/" + testBucket) {
				if seen.Query.Has("encryption") {
					t.Errorf("the store saw %s %v", seen.Method, seen.Query)
				}
			}
		})
	}
}

func TestBucketEncryptionRefuses(t *testing.T) {
	t.Parallel()
	const rule = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>"
	tests := map[string]struct {
		doc    string
		prep   func(g *testGateway)
		status int
		code   string
	}{
		"missing key":         {doc: string(encryptionDoc("aws:kms", "no-such-key")), status: 404, code: "kms:KeyNotFound"},
		"missing key as ARN":  {doc: string(encryptionDoc("aws:kms", "arn:aws:kms:no-such-key")), status: 404, code: "kms:KeyNotFound"},
		"denied key":          {string(encryptionDoc("aws:kms", "my-key")), func(g *testGateway) { g.kes.Deny("my-key") }, 403, "kms:NotAuthorized"},
		"KES away":            {string(encryptionDoc("aws:kms", "my-key")), func(g *testGateway) { g.kes.Stop() }, 503, "ServiceUnavailable"},
		"key ID with a space": {doc: string(encryptionDoc("aws:kms", "my key")), status: 400, code: "InvalidArgument"},
		"full ARN":            {doc: string(encryptionDoc("aws:kms", "arn:aws:kms:us-east-1:123:key/my-key")), status: 400, code: "InvalidArgument"},
		"dsse":                {doc: string(encryptionDoc("aws:kms:dsse", "my-key")), status: 400, code: "MalformedXML"},
		"AES256 with a key":   {doc: string(encryptionDoc("AES256", "my-key")), status: 400, code: "MalformedXML"},
		"two rules":           {doc: "<ServerSideEncryptionConfiguration>" + rule + rule + "</ServerSideEncryptionConfiguration>", status: 400, code: "MalformedXML"},
		"no document":         {doc: "", status: 400, code: "MalformedXML"},
		"not XML":             {doc: "{}", status: 400, code: "MalformedXML"},
		"large":               {doc: strings.Repeat(" ", 2<<20), status: 400, code: "MaxMessageLengthExceeded"},
		"state away": {string(encryptionDoc("AES256", "")), func(g *testGateway) {
			g.upstream.on("", "/"+testStateBucket, breakAfter(0))
		}, 503, "ServiceUnavailable"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.kes.CreateKey("my-key")
			if test.prep != nil {
				test.prep(g)
			}
			stored := g.upstream.object(testStateBucket, state.RulesObject)
			g.setEncryption(testBucket, []byte(test.doc)).want(t, test.status, test.code)
			if got := g.upstream.object(testStateBucket, state.RulesObject); got.etag != stored.etag {
				t.Error("the rules changed")
			}
			g.upstream.unhook()
			g.encryption(testBucket).want(t, 404, "ServerSideEncryptionConfigurationNotFoundError")
		})
	}
}

// TestBucketEncryptionBadBody: a document that is not what was signed sets no
// rule.
func TestBucketEncryptionBadBody(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	r := g.do(clientRequest{
		method: http.MethodPut, path: "/bucket", query: encryptionQuery, body: encryptionDoc("AES256", ""),
		spoil: func(b []byte) []byte { return bytes.Replace(b, []byte("AES256"), []byte("AES257"), 1) },
	})
	r.want(t, 400, "XAmzContentSHA256Mismatch")
	g.encryption(testBucket).want(t, 404, "ServerSideEncryptionConfigurationNotFoundError")
}

func TestDeleteBucketEncryption(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.setEncryption(testBucket, encryptionDoc("AES256", "")).want(t, 200, "")
	g.put("/bucket/sealed", []byte("sealed")).want(t, 200, "")
	for range 2 {
		g.clearEncryption(testBucket).want(t, 204, "")
	}
	r := g.encryption(testBucket)
	r.want(t, 404, "ServerSideEncryptionConfigurationNotFoundError")
	if !bytes.Contains(r.body, []byte("The server side encryption configuration was not found")) {
		t.Errorf("%s", r.body)
	}
	g.put("/bucket/plain", []byte("plain")).want(t, 200, "")
	if isSealed(g.upstream.object(testBucket, "plain")) {
		t.Error("still sealing")
	}
	if r := g.get("/bucket/sealed"); r.status != 200 || string(r.body) != "sealed" {
		t.Errorf("%d %q", r.status, r.body)
	}
}

// TestBucketEncryptionBucket checks the answers for buckets that do not exist,
// that the client may not see, or that do not answer.
func TestBucketEncryptionBucket(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	answers := map[string]struct {
		hook   hook
		status int
		code   string
	}{
		"no-such-bucket": {nil, 404, "NoSuchBucket"},
		testStateBucket:  {nil, 404, "NoSuchBucket"},
		"denied-bucket":  {answerWith(403, ""), 403, "AccessDenied"},
		"away-bucket":    {breakAfter(0), 503, "ServiceUnavailable"},
	}
	for bucket, test := range answers {
		if test.hook != nil {
			g.upstream.on(http.MethodHead, "/"+bucket, test.hook)
		}
		g.setEncryption(bucket, encryptionDoc("AES256", "")).want(t, test.status, test.code)
		g.encryption(bucket).want(t, test.status, test.code)
		g.clearEncryption(bucket).want(t, test.status, test.code)
	}
	if rules, _, _ := g.State.KnownRules(); len(rules) != 0 {
		t.Errorf("%d rules", len(rules))
	}
}

func TestBucketEncryptionAnonymous(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.public[testBucket] = true
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		c := clientRequest{method: method, path: "/bucket", query: encryptionQuery, anonymous: true}
		if method == http.MethodPut {
			c.body = encryptionDoc("AES256", "")
		}
		g.do(c).want(t, 403, "AccessDenied")
	}
}

// TestRuleOnBuckets sets a rule on empty and on other buckets: only those that
// were empty become sealed-only, and stay so when the rule changes.
func TestRuleOnBuckets(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.kes.CreateKey("my-key")
	tests := map[string]struct {
		prep       func(bucket string)
		sealedOnly bool
	}{
		"empty-bucket": {func(string) {}, true},
		"full-bucket":  {func(b string) { g.put("/"+b+"/key", []byte("x")).want(t, 200, "") }, false},
		"versions-bucket": {func(b string) {
			g.upstream.on(http.MethodGet, "/"+b, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Query().Has("versions") {
					w.Write([]byte(`<ListVersionsResult><DeleteMarker><Key>k</Key><VersionId>1</VersionId></DeleteMarker></ListVersionsResult>`))
					return
				}
				next.ServeHTTP(w, r)
			})
		}, false},
		"unversioned-empty": {func(b string) { g.upstream.on(http.MethodGet, "/"+b, refuseVersions) }, true},
		"unversioned-full": {func(b string) {
			g.put("/"+b+"/key", []byte("x")).want(t, 200, "")
			g.upstream.on(http.MethodGet, "/"+b, refuseVersions)
		}, false},
	}
	for bucket, test := range tests {
		g.upstream.makeBucket(bucket)
		test.prep(bucket)
		for _, doc := range [][]byte{encryptionDoc("AES256", ""), encryptionDoc("aws:kms", "my-key")} {
			g.setEncryption(bucket, doc).want(t, 200, "")
			if rules, _, _ := g.State.KnownRules(); rules[bucket].SealedOnly != test.sealedOnly {
				t.Errorf("%s: sealed-only %t", bucket, rules[bucket].SealedOnly)
			}
		}
	}
	// The bucket is no longer sealed-only. A new rule decides again.
	g.put("/empty-bucket/key", []byte("x")).want(t, 200, "")
	g.clearEncryption("empty-bucket").want(t, 204, "")
	g.setEncryption("empty-bucket", encryptionDoc("AES256", "")).want(t, 200, "")
	if rules, _, _ := g.State.KnownRules(); rules["empty-bucket"].SealedOnly {
		t.Error("sealed-only although it had objects")
	}
}

// TestRuleOnOddListings: a broken listing is not an empty one, and the result of
// an operation that the store took for another is empty if it has no keys.
func TestRuleOnOddListings(t *testing.T) {
	t.Parallel()
	const entry = "<Version><Key>k</Key><VersionId>1</VersionId></Version>"
	for doc, want := range map[string]string{
		"": "error", "what?": "error", "<ListVersionsResult>": "error", "<ListVersionsResult>" + entry: "error",
		"<ListVersionsResult>" + entry + "</ListVersionsRes": "error", "<html></html>": "error",
		"<Error><Code>InternalError</Code></Error>": "error", "<ListBucketVersionsResult>": "error",
		"<ListVersionsResult/>": "empty", "<ListBucketVersionsResult><Name>b</Name></ListBucketVersionsResult>": "empty", "<ListBucketResult/>": "empty",
		"<ListVersionsResult>" + entry + "</ListVersionsResult>":                                         "full",
		"<ListBucketVersionsResult>" + entry + "</ListBucketVersionsResult>":                             "full",
		"<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>":                       "full",
		"<ListMultipartUploadsResult><Upload><Key>k</Key></Upload></ListMultipartUploadsResult>":         "full",
		"<ListBucketResult><Contents><Key>k</Key><Size>1</Size></Contents></ListBucketResult>":           "full",
		"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>":      "empty",
		"<ListMultipartUploadsResult><NextKeyMarker>k</NextKeyMarker></ListMultipartUploadsResult>\n<!-": "error",
	} {
		for _, query := range []string{"versions", "uploads", "max-keys"} {
			if query == "max-keys" && strings.Contains(doc, "ListBucketVersionsResult") {
				want = "error" // objects must be listed
			}
			g := newGateway(t)
			g.upstream.on(http.MethodGet, "/"+testBucket, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				q := r.URL.Query()
				if !q.Has(query) || query == "max-keys" && q.Has("versions") {
					next.ServeHTTP(w, r)
					return
				}
				_, _ = w.Write([]byte(doc))
			})
			r, got := g.setEncryption(testBucket, encryptionDoc("AES256", "")), "full"
			rules, _, _ := g.State.KnownRules()
			switch _, has := rules[testBucket]; {
			case r.status != 200 && !has:
				got = "error"
			case rules[testBucket].SealedOnly:
				got = "empty"
			}
			if got != want {
				t.Errorf("%s, %q: %s (%d), want %s", query, doc, got, r.status, want)
			}
		}
	}
}

func refuseVersions(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if r.URL.Query().Has("versions") {
		memFail(w, 501, "NotImplemented", "versions")
		return
	}
	next.ServeHTTP(w, r)
}

// TestRuleOnUnlistableBucket: no rule is set if it is unknown whether the
// bucket is empty.
func TestRuleOnUnlistableBucket(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]hook{"denied": answerWith(403, "AccessDenied"), "away": breakAfter(0)} {
		g := newGateway(t)
		g.upstream.on(http.MethodGet, "/"+testBucket, h)
		if r := g.setEncryption(testBucket, encryptionDoc("AES256", "")); r.status < 400 {
			t.Errorf("%s: %d", name, r.status)
		}
		g.encryption(testBucket).want(t, 404, "ServerSideEncryptionConfigurationNotFoundError")
	}
}

// TestRuleEndsWithBucket: a bucket of the same name starts without a rule. One
// that could not be deleted keeps it.
func TestRuleEndsWithBucket(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.setEncryption(testBucket, encryptionDoc("AES256", "")).want(t, 200, "")
	g.put("/bucket/key", []byte("x")).want(t, 200, "")
	g.delete("/bucket").want(t, 409, "BucketNotEmpty")
	g.encryption(testBucket).want(t, 200, "")
	g.delete("/bucket/key").want(t, 204, "")
	g.delete("/bucket").want(t, 204, "")
	g.do(clientRequest{method: http.MethodPut, path: "/bucket"}).want(t, 200, "")
	g.encryption(testBucket).want(t, 404, "ServerSideEncryptionConfigurationNotFoundError")
	g.put("/bucket/key", []byte("x")).want(t, 200, "")
	if isSealed(g.upstream.object(testBucket, "key")) {
		t.Error("the old rule is in force")
	}
}
