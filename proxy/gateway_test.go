package proxy

import (
	"encoding/base64"
	"net/http"
	"testing"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// TestNeverPlaintext makes each step fail that encryption needs, where the
// request, the rule or the gateway's default asks for encryption. The write is
// refused, nothing is stored, and the old object stays.
func TestNeverPlaintext(t *testing.T) {
	t.Parallel()
	ways := map[string]struct {
		opts  []gatewayOption
		pairs []string
	}{
		"SSE-S3 header":    {nil, []string{s3.HeaderSSE, s3.AES256}},
		"SSE-KMS header":   {nil, []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, kmstest.DefaultKey}},
		"SSE-S3 rule":      {[]gatewayOption{withRule(testBucket, state.Rule{Algorithm: s3.AES256})}, nil},
		"SSE-KMS rule":     {[]gatewayOption{withRule(testBucket, state.Rule{Algorithm: s3.AWSKMS, KeyID: kmstest.DefaultKey})}, nil},
		"SSE-S3 default":   {[]gatewayOption{withConfig(func(c *Config) { c.AutoEncryption = sealer.SSES3 })}, nil},
		"SSE-KMS default":  {[]gatewayOption{withConfig(func(c *Config) { c.AutoEncryption = sealer.SSEKMS })}, nil},
		"bucket key":       {nil, []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEBucketKey, "true"}},
		"SSE-KMS for rule": {[]gatewayOption{withRule(testBucket, state.Rule{Algorithm: s3.AES256})}, []string{s3.HeaderSSE, s3.AWSKMS}},
	}
	short := base64.StdEncoding.EncodeToString(make([]byte, 16))
	zero := base64.StdEncoding.EncodeToString(make([]byte, 32))
	answer := func(body string) func(*testGateway) {
		return func(g *testGateway) {
			g.kes.SetFault(kmstest.Fault{Ops: []kmstest.Op{kmstest.OpGenerate}, Body: []byte(body)})
		}
	}
	faults := map[string]struct {
		spoil  func(*testGateway)
		status int
		code   string
	}{
		"KES down":     {func(g *testGateway) { g.kes.Stop() }, 503, "ServiceUnavailable"},
		"KES fails":    {func(g *testGateway) { g.kes.SetFault(kmstest.Fault{Status: 500, Message: "no"}) }, 503, "ServiceUnavailable"},
		"key denied":   {func(g *testGateway) { g.kes.Deny(kmstest.DefaultKey) }, 403, "kms:NotAuthorized"},
		"key gone":     {func(g *testGateway) { g.kes.DeleteKey(kmstest.DefaultKey) }, 404, "kms:KeyNotFound"},
		"short key":    {answer(`{"plaintext":"` + short + `","ciphertext":"` + zero + `"}`), 503, "ServiceUnavailable"},
		"no key":       {answer(`{}`), 503, "ServiceUnavailable"},
		"garbage":      {answer(`<html>`), 503, "ServiceUnavailable"},
		"zero key":     {answer(`{"plaintext":"` + zero + `","ciphertext":"` + zero + `"}`), 503, "ServiceUnavailable"},
		"no key bytes": {answer(`{"plaintext":"` + base64.StdEncoding.EncodeToString(pattern(32, 1)) + `","ciphertext":""}`), 503, "ServiceUnavailable"},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for fault, f := range faults {
				t.Run(fault, func(t *testing.T) {
					t.Parallel()
					sizes := []int{0, 100}
					if name == "SSE-KMS rule" {
						sizes = append(sizes, 2<<20)
					}
					g := newGateway(t, way.opts...)
					// Each write has a new data key. The bucket's would serve
					// the next writes, too.
					g.put("/bucket/old", []byte("old"), s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEBucketKey, "false").want(t, 200, "")
					old := g.upstream.object(testBucket, "old")
					f.spoil(g)
					for _, size := range sizes {
						for _, key := range []string{"old", "new"} {
							g.put("/bucket/"+key, pattern(size, 1), way.pairs...).want(t, f.status, f.code)
						}
					}
					wantStored(t, g, "old", old)
					wantStored(t, g, "new", nil)
				})
			}
		})
	}
}

// TestNotReady refuses everything until the state is open.
func TestNotReady(t *testing.T) {
	t.Parallel()
	g := newGateway(t, notOpened())
	for _, pairs := range [][]string{{}, {s3.HeaderSSE, s3.AES256}} {
		g.put("/bucket/k", []byte("data"), pairs...).want(t, 503, "ServiceUnavailable")
	}
	g.get("/bucket/k").want(t, 503, "ServiceUnavailable")
	g.get("/bucket").want(t, 503, "ServiceUnavailable")
	if r := g.delete("/bucket/k"); r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q", r.status, r.header.Get("Retry-After"))
	}
	if n := len(g.upstream.requests("/")); n > 0 {
		t.Errorf("%d requests reached the store", n)
	}
}

// TestRulesUnreadable damages the stored rules. Every write is refused, even
// one with encryption headers, because the rule might refuse it.
func TestRulesUnreadable(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*testGateway){
		"damaged": func(g *testGateway) {
			g.upstream.edit(testStateBucket, state.RulesObject, func(o *memObject) { o.body, o.etag = flip(o.body, 40), "other" })
		},
		"gone": func(g *testGateway) { g.upstream.store(testStateBucket, state.RulesObject, nil) },
		"empty": func(g *testGateway) {
			g.upstream.store(testStateBucket, state.RulesObject, &memObject{header: http.Header{}, etag: "e"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			damage(g)
			g.State.RefreshRules(t.Context())
			for _, pairs := range [][]string{{}, {s3.HeaderSSE, s3.AES256}, {s3.HeaderSSE, s3.AWSKMS}} {
				g.put("/bucket/k", pattern(2<<20, 1), pairs...).want(t, 503, "ServiceUnavailable")
			}
			wantStored(t, g, "k", nil)
		})
	}
}

// TestWhichEncryption combines headers, rules and the gateway's default.
func TestWhichEncryption(t *testing.T) {
	t.Parallel()
	kmsRule := &state.Rule{Algorithm: s3.AWSKMS, KeyID: "arn:aws:kms:key-2"}
	defaultKMSRule := &state.Rule{Algorithm: s3.AWSKMS}
	s3Rule := &state.Rule{Algorithm: s3.AES256}
	blocked := &state.Rule{Blocked: []string{"SSE-C"}}
	blockedS3 := &state.Rule{Algorithm: s3.AES256, Blocked: []string{"SSE-C"}}
	customer := customerHeaders('k')
	tests := []struct {
		name   string
		auto   sealer.Scheme
		rule   *state.Rule
		pairs  []string
		scheme sealer.Scheme // 0: not sealed
		key    string
		refuse string
	}{
		{name: "nothing"},
		{name: "default SSE-S3", auto: sealer.SSES3, scheme: sealer.SSES3, key: kmstest.DefaultKey},
		{name: "default SSE-KMS", auto: sealer.SSEKMS, scheme: sealer.SSEKMS, key: kmstest.DefaultKey},
		{name: "rule over default", auto: sealer.SSEKMS, rule: s3Rule, scheme: sealer.SSES3, key: kmstest.DefaultKey},
		{name: "rule with key", rule: kmsRule, scheme: sealer.SSEKMS, key: "key-2"},
		{name: "rule with key over default", auto: sealer.SSES3, rule: kmsRule, scheme: sealer.SSEKMS, key: "key-2"},
		{name: "rule without key", rule: defaultKMSRule, scheme: sealer.SSEKMS, key: kmstest.DefaultKey},
		{name: "header over rule", rule: kmsRule, pairs: []string{s3.HeaderSSE, s3.AES256}, scheme: sealer.SSES3, key: kmstest.DefaultKey},
		{name: "header over default", auto: sealer.SSES3, pairs: []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "key-2"}, scheme: sealer.SSEKMS, key: "key-2"},
		{name: "SSE-C over rule", rule: kmsRule, pairs: customer, scheme: sealer.SSEC},
		{name: "SSE-C", pairs: customer, scheme: sealer.SSEC},
		{name: "blocked SSE-C", rule: blocked, pairs: customer, refuse: "AccessDenied"},
		{name: "blocked SSE-C with rule", rule: blockedS3, pairs: customer, refuse: "AccessDenied"},
		{name: "blocked SSE-C, nothing asked", rule: blocked},
		{name: "blocked SSE-C, default", auto: sealer.SSES3, rule: blocked, scheme: sealer.SSES3, key: kmstest.DefaultKey},
		{name: "blocked SSE-C, SSE-KMS asked", rule: blocked, pairs: []string{s3.HeaderSSE, s3.AWSKMS}, scheme: sealer.SSEKMS, key: kmstest.DefaultKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opts := []gatewayOption{withTLS(), withConfig(func(c *Config) { c.AutoEncryption = tt.auto })}
			if tt.rule != nil {
				opts = append(opts, withRule(testBucket, *tt.rule))
			}
			g := newGateway(t, opts...)
			g.kes.CreateKey("key-2")
			r := g.put("/bucket/k", []byte("data"), tt.pairs...)
			if tt.refuse != "" {
				r.want(t, 403, tt.refuse)
				wantStored(t, g, "k", nil)
				return
			}
			r.want(t, 200, "")
			value := g.upstream.object(testBucket, "k").header.Get(sealer.MetadataKey)
			if tt.scheme == 0 {
				if value != "" || len(sseHeaders(r.header)) > 0 {
					t.Fatal("sealed, and nobody asked for it")
				}
				return
			}
			h, err := parsedHeader(value)
			if err != nil || h.Scheme != tt.scheme || h.KeyName != tt.key {
				t.Fatalf("sealed by %v under %q (%v), want %v under %q", h.Scheme, h.KeyName, err, tt.scheme, tt.key)
			}
		})
	}
}

// TestEncryptionRefused sends SSE headers that are wrong or contradict each
// other. None is ignored, and nothing is stored.
func TestEncryptionRefused(t *testing.T) {
	t.Parallel()
	context := func(doc string) []string {
		return []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, base64.StdEncoding.EncodeToString([]byte(doc))}
	}
	customer := customerHeaders('k')
	other := customerHeaders('o')
	tests := []struct {
		name  string
		pairs []string
		code  string
	}{
		{"unknown algorithm", []string{s3.HeaderSSE, "aws:foo"}, "InvalidArgument"},
		{"dual layer", []string{s3.HeaderSSE, "aws:kms:dsse"}, "InvalidArgument"},
		{"lower case", []string{s3.HeaderSSE, "aes256"}, "InvalidArgument"},
		{"empty", []string{s3.HeaderSSE, ""}, "InvalidArgument"},
		{"AES256 with key", []string{s3.HeaderSSE, s3.AES256, s3.HeaderSSEKeyID, kmstest.DefaultKey}, "InvalidArgument"},
		{"AES256 with context", []string{s3.HeaderSSE, s3.AES256, s3.HeaderSSEContext, testContext}, "InvalidArgument"},
		{"key alone", []string{s3.HeaderSSEKeyID, kmstest.DefaultKey}, "InvalidArgument"},
		{"context alone", []string{s3.HeaderSSEContext, testContext}, "InvalidArgument"},
		{"unknown key", []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "nobody-made-it"}, "kms:KeyNotFound"},
		{"key name", []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "../../etc"}, "InvalidArgument"},
		{"key of another KMS", []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "arn:aws:kms:us-east-1:1:key/a"}, "InvalidArgument"},
		{"context, not base64", []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEContext, "{}"}, "InvalidArgument"},
		{"context, not JSON", context("nonsense"), "InvalidArgument"},
		{"context, no strings", context(`{"a":1}`), "InvalidArgument"},
		{"context, the object's entry", context(`{"bucket":"bucket/other"}`), "InvalidArgument"},
		{"context, the object's entry, right", context(`{"bucket":"bucket/k"}`), "InvalidArgument"},
		{"unknown SSE header", []string{s3.HeaderSSE, s3.AES256, "x-amz-server-side-encryption-new", "1"}, "NotImplemented"},
		{"unknown SSE header alone", []string{"x-amz-server-side-encryption-customer-new", "1"}, "NotImplemented"},
		{"SSE-C and SSE-S3", append([]string{s3.HeaderSSE, s3.AES256}, customer...), "InvalidArgument"},
		{"SSE-C and SSE-KMS", append([]string{s3.HeaderSSE, s3.AWSKMS}, customer...), "InvalidArgument"},
		{"SSE-C and KMS key", append([]string{s3.HeaderSSEKeyID, kmstest.DefaultKey}, customer...), "InvalidArgument"},
		{"SSE-C, no algorithm", customer[2:], "InvalidArgument"},
		{"SSE-C, no key", []string{customer[0], customer[1], customer[4], customer[5]}, "InvalidArgument"},
		{"SSE-C, no MD5", customer[:4], "InvalidArgument"},
		{"SSE-C, MD5 of another", append(customer[:4:4], other[4:]...), "InvalidArgument"},
		{"SSE-C, short key", append(append(customer[:2:2], s3.HeaderSSECKey, "c2hvcnQ="), customer[4:]...), "InvalidArgument"},
		{"SSE-C, other algorithm", append([]string{s3.HeaderSSECAlgorithm, "AES128"}, customer[2:]...), "InvalidEncryptionAlgorithmError"},
	}
	g := newGateway(t, withTLS())
	for _, tt := range tests {
		r := g.put("/bucket/k", []byte("data"), tt.pairs...)
		if r.code != tt.code || r.status/100 < 4 {
			t.Errorf("%s: %d %s, want %s", tt.name, r.status, r.code, tt.code)
		}
	}
	plain := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	plain.put("/bucket/k", []byte("data"), customer...).want(t, 400, "InvalidRequest")
	plain.get("/bucket/k", customer...).want(t, 400, "InvalidRequest")
	wantStored(t, g, "k", nil)

	terminated := newGateway(t, withUpstream(g.upstream), withKES(g.kes), withConfig(func(c *Config) { c.TLSTerminated = true }))
	terminated.put("/bucket/k", []byte("data"), customer...).want(t, 200, "")
}

// TestReadEncryption reads objects with SSE headers of another scheme.
func TestReadEncryption(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withTLS())
	right, wrong := customerHeaders('r'), customerHeaders('w')
	g.put("/bucket/c", []byte("data"), right...).want(t, 200, "")
	g.put("/bucket/kms", []byte("data"), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	g.put("/bucket/s3", []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	g.put("/bucket/plain", []byte("data")).want(t, 200, "")
	tests := []struct {
		key    string
		pairs  []string
		status int
		code   string
	}{
		{"c", nil, 400, "InvalidRequest"},
		{"c", wrong, 403, "AccessDenied"},
		{"c", right, 200, ""},
		{"kms", right, 400, "InvalidRequest"},
		{"s3", right, 400, "InvalidRequest"},
		{"plain", right, 400, "InvalidRequest"},
		{"s3", []string{s3.HeaderSSE, s3.AES256}, 400, "InvalidArgument"},
		{"kms", []string{s3.HeaderSSE, s3.AWSKMS}, 400, "InvalidArgument"},
		{"kms", []string{s3.HeaderSSEKeyID, kmstest.DefaultKey}, 400, "InvalidArgument"},
		{"missing", right, 404, "NoSuchKey"},
	}
	for _, tt := range tests {
		for _, span := range []string{"", "bytes=0-1", "bytes=-1"} {
			pairs, status := tt.pairs, tt.status
			if span != "" {
				pairs = append([]string{"Range", span}, pairs...)
				if status == 200 {
					status = 206
				}
			}
			g.get("/bucket/"+tt.key, pairs...).want(t, status, tt.code)
			if r := g.head("/bucket/"+tt.key, pairs...); r.status != status || len(r.body) > 0 {
				t.Errorf("HEAD %s: %d, want %d", tt.key, r.status, status)
			}
		}
	}
}

// TestKMSFailsOnRead: without the KMS, GET fails and HEAD and listings work.
func TestKMSFailsOnRead(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil  func(*testGateway)
		status int
		code   string
	}{
		"down":   {func(g *testGateway) { g.kes.Stop() }, 503, "ServiceUnavailable"},
		"denied": {func(g *testGateway) { g.kes.Deny("key-2") }, 403, "kms:NotAuthorized"},
		"gone":   {func(g *testGateway) { g.kes.DeleteKey("key-2") }, 400, "KMS.NotFoundException"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.kes.CreateKey("key-2")
			g.put("/bucket/k", []byte("data"), s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "key-2").want(t, 200, "")
			// A replica has no data key in a cache.
			replica := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
			tt.spoil(replica)
			replica.get("/bucket/k").want(t, tt.status, tt.code)
			replica.get("/bucket/k", "Range", "bytes=1-2").want(t, tt.status, tt.code)
			replica.head("/bucket/k").want(t, 200, "")
			if l := replica.list(testBucket, "list-type=2"); len(l) != 1 || l[0].Size != 4 {
				t.Errorf("listed %v", l)
			}
		})
	}
}
