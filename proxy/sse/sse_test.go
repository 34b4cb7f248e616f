package sse_test

import (
	"crypto/md5" //nolint:gosec // SSE-C identifies its keys by MD5
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"ssegw/kms"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/sealer"
)

var (
	customerKey    = strings.Repeat("k", 32)
	customerSum    = md5.Sum([]byte(customerKey)) //nolint:gosec // see the import
	customerKey64  = base64.StdEncoding.EncodeToString([]byte(customerKey))
	customerMD5    = base64.StdEncoding.EncodeToString(customerSum[:])
	otherMD5       = base64.StdEncoding.EncodeToString(make([]byte, md5.Size))
	clientContext  = base64.StdEncoding.EncodeToString([]byte(`{"b":"2","a":"1"}`))
	bucketContext  = base64.StdEncoding.EncodeToString([]byte(`{"bucket":"elsewhere"}`))
	customerHeader = []string{s3.HeaderSSECAlgorithm, s3.AES256, s3.HeaderSSECKey, customerKey64, s3.HeaderSSECKeyMD5, customerMD5}
)

// headers builds a header from pairs of names and values.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// chosen is what Choose decides.
type chosen struct {
	scheme  sealer.Scheme // 0: plaintext
	key     string
	shared  bool
	context string
}

// choice is a row of TestChoose.
type choice struct {
	name    string
	headers []string
	rule    sse.Default
	want    chosen
	err     error // of the same code; nil: none
}

var (
	noRule    = sse.Default{}
	ruleS3    = sse.Default{Algorithm: s3.AES256}
	ruleKMS   = sse.Default{Algorithm: s3.AWSKMS, KeyID: "arn:aws:kms:rule"}
	ruleKey   = sse.Default{Algorithm: s3.AWSKMS, KeyID: "rule", BucketKey: true}
	gwS3      = sse.Default{Otherwise: sealer.SSES3}
	gwKMS     = sse.Default{Otherwise: sealer.SSEKMS}
	bothRules = sse.Default{Algorithm: s3.AES256, Otherwise: sealer.SSEKMS}
	noSSEC    = sse.Default{Blocked: []string{"SSE-C"}}
)

var (
	sealedS3 = chosen{scheme: sealer.SSES3, key: "default", shared: true}
	askedKMS = []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "mine"}
)

func with(pairs []string, more ...string) []string {
	return append(append([]string(nil), pairs...), more...)
}

var choices = []choice{
	// Without headers the rule decides, and without a rule the gateway's
	// default.
	{"nothing", nil, noRule, chosen{}, nil},
	{"rule SSE-S3", nil, ruleS3, sealedS3, nil},
	{"rule SSE-KMS", nil, ruleKMS, chosen{scheme: sealer.SSEKMS, key: "rule"}, nil},
	{"rule SSE-KMS without a key", nil, sse.Default{Algorithm: s3.AWSKMS}, chosen{scheme: sealer.SSEKMS, key: "default"}, nil},
	{"rule with a bucket key", nil, ruleKey, chosen{scheme: sealer.SSEKMS, key: "rule", shared: true}, nil},
	{"gateway SSE-S3", nil, gwS3, sealedS3, nil},
	{"gateway SSE-KMS", nil, gwKMS, chosen{scheme: sealer.SSEKMS, key: "default"}, nil},
	{"rule before gateway", nil, bothRules, sealedS3, nil},
	{"unknown rule", nil, sse.Default{Algorithm: "aws:kms:dsse"}, chosen{}, sse.ErrAlgorithm},
	{"invalid key in a rule", nil, sse.Default{Algorithm: s3.AWSKMS, KeyID: "a/b"}, chosen{}, kms.ErrInvalidKeyName},

	// Headers precede both.
	{"SSE-S3", []string{s3.HeaderSSE, s3.AES256}, ruleKey, sealedS3, nil},
	{"SSE-KMS", askedKMS, ruleS3, chosen{scheme: sealer.SSEKMS, key: "mine"}, nil},
	{"SSE-KMS over an unknown rule", askedKMS, sse.Default{Algorithm: "unknown"}, chosen{scheme: sealer.SSEKMS, key: "mine"}, nil},
	{"SSE-KMS with an ARN", []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "arn:aws:kms:mine"}, noRule, chosen{scheme: sealer.SSEKMS, key: "mine"}, nil},
	{"SSE-KMS without a key", []string{s3.HeaderSSE, s3.AWSKMS}, ruleKMS, chosen{scheme: sealer.SSEKMS, key: "default"}, nil},
	{"SSE-C", customerHeader, ruleKMS, chosen{scheme: sealer.SSEC}, nil},

	// The bucket key: by header, otherwise by rule, and never with a context.
	{"bucket key by rule", askedKMS, ruleKey, chosen{scheme: sealer.SSEKMS, key: "mine", shared: true}, nil},
	{"bucket key on", with(askedKMS, s3.HeaderSSEBucketKey, "true"), noRule, chosen{scheme: sealer.SSEKMS, key: "mine", shared: true}, nil},
	{"bucket key off", with(askedKMS, s3.HeaderSSEBucketKey, "False"), ruleKey, chosen{scheme: sealer.SSEKMS, key: "mine"}, nil},
	{"bucket key off for a rule", []string{s3.HeaderSSEBucketKey, "false"}, ruleKey, chosen{scheme: sealer.SSEKMS, key: "rule"}, nil},
	{"bucket key and context", with(askedKMS, s3.HeaderSSEBucketKey, "true", s3.HeaderSSEContext, clientContext), ruleKey,
		chosen{scheme: sealer.SSEKMS, key: "mine", context: `{"a":"1","b":"2"}`}, nil},
	{"bucket key for plaintext", []string{s3.HeaderSSEBucketKey, "true"}, noRule, chosen{}, s3.ErrInvalidArgument},
	{"bucket key with SSE-C", with(customerHeader, s3.HeaderSSEBucketKey, "false"), noRule, chosen{}, s3.ErrInvalidArgument},
	{"bucket key is not a boolean", with(askedKMS, s3.HeaderSSEBucketKey, "1"), noRule, chosen{}, s3.ErrInvalidArgument},

	// What does not fit is refused, never stored in plaintext.
	{"unknown algorithm", []string{s3.HeaderSSE, "aws:kms:dsse"}, noRule, chosen{}, s3.ErrInvalidArgument},
	{"empty algorithm", []string{s3.HeaderSSE, ""}, noRule, chosen{}, s3.ErrInvalidArgument},
	{"key without an algorithm", []string{s3.HeaderSSEKeyID, "mine"}, ruleKMS, chosen{}, s3.ErrInvalidArgument},
	{"context without an algorithm", []string{s3.HeaderSSEContext, clientContext}, ruleKMS, chosen{}, s3.ErrInvalidArgument},
	{"SSE-S3 with a key", []string{s3.HeaderSSE, s3.AES256, s3.HeaderSSEKeyID, "mine"}, noRule, chosen{}, s3.ErrInvalidArgument},
	{"invalid key", []string{s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "../mine"}, noRule, chosen{}, kms.ErrInvalidKeyName},
	{"invalid context", with(askedKMS, s3.HeaderSSEContext, "{}"), noRule, chosen{}, kms.ErrInvalidContext},
	{"context that names the bucket", with(askedKMS, s3.HeaderSSEContext, bucketContext), noRule, chosen{}, kms.ErrContextConflict},
	{"SSE-C and SSE-S3", with(customerHeader, s3.HeaderSSE, s3.AES256), noRule, chosen{}, s3.ErrInvalidArgument},
	{"SSE-C is blocked", customerHeader, noSSEC, chosen{}, s3.ErrAccessDenied},
	{"SSE-C without a key", customerHeader[:2], noRule, chosen{}, s3.ErrInvalidArgument},
	{"SSE-C without an MD5", customerHeader[:4], noRule, chosen{}, s3.ErrInvalidArgument},
	{"SSE-C without an algorithm", customerHeader[2:], noRule, chosen{}, s3.ErrInvalidArgument},
	{"SSE-C with another MD5", with(customerHeader[:4], s3.HeaderSSECKeyMD5, otherMD5), noRule, chosen{}, s3.ErrInvalidArgument},
	{"SSE-C with a short key", with(customerHeader[:2], s3.HeaderSSECKey, "c2hvcnQ=", s3.HeaderSSECKeyMD5, customerMD5), noRule, chosen{}, s3.ErrInvalidArgument},
	{"SSE-C with another algorithm", with(customerHeader[2:], s3.HeaderSSECAlgorithm, "AES128"), noRule, chosen{}, s3.ErrorByCode("InvalidEncryptionAlgorithmError")},
}

// TestChoose checks which encryption a write gets.
func TestChoose(t *testing.T) {
	t.Parallel()
	for _, c := range choices {
		r := sse.Request{Header: headers(c.headers...), Object: sealer.Binding{Bucket: "bucket", Key: "key"}, DefaultKey: "default", Secure: true, Known: true}
		s, err := r.Choose(c.rule)
		wantChosen(t, c.name, s, err, c.want, c.err)
	}
}

func wantChosen(t *testing.T, name string, s *sse.Sealing, err error, want chosen, wantErr error) {
	t.Helper()
	if wantErr != nil || err != nil {
		if wantErr == nil || !errors.Is(err, wantErr) {
			t.Errorf("%s: error %v, want %v", name, err, wantErr)
		}
		return
	}
	var got chosen
	if s != nil {
		got = chosen{s.Scheme, s.KeyName, s.Shared, string(s.Context)}
	}
	if got != want || s != nil && s.Scheme == 0 {
		t.Errorf("%s: %+v, want %+v", name, got, want)
	}
}

// TestChooseCaller checks what a client may not choose: SSE-C over a connection
// that is not encrypted, and SSE-KMS without a credential. The rule applies to
// anonymous clients, too.
func TestChooseCaller(t *testing.T) {
	t.Parallel()
	r := sse.Request{Known: true, DefaultKey: "default", Header: headers(customerHeader...)}
	s, err := r.Choose(noRule)
	wantChosen(t, "SSE-C in the clear", s, err, chosen{}, s3.ErrInvalidRequest)

	r = sse.Request{DefaultKey: "default", Header: headers(askedKMS...)}
	s, err = r.Choose(noRule)
	wantChosen(t, "anonymous SSE-KMS", s, err, chosen{}, s3.ErrAccessDenied)

	r.Header = headers()
	s, err = r.Choose(ruleKMS)
	wantChosen(t, "anonymous under a rule", s, err, chosen{scheme: sealer.SSEKMS, key: "rule"}, nil)
}

// TestCheckHeaders sends each encryption header alone to operations that honour
// all, some and none of them.
func TestCheckHeaders(t *testing.T) {
	t.Parallel()
	asked := []string{s3.HeaderSSE, s3.HeaderSSEKeyID, s3.HeaderSSEContext, s3.HeaderSSEBucketKey}
	customer := []string{s3.HeaderSSECAlgorithm, s3.HeaderSSECKey, s3.HeaderSSECKeyMD5}
	source := []string{s3.HeaderCopySourceSSECAlgorithm, s3.HeaderCopySourceSSECKey, s3.HeaderCopySourceSSECKeyMD5}
	for _, tt := range []struct {
		action                  s3.Action
		asked, customer, source bool // honoured
	}{
		{s3.CopyObject, true, true, true},
		{s3.GetObject, false, true, false},
		{s3.DeleteObject, false, false, false},
	} {
		route := s3.Route{Action: tt.action}
		for _, set := range []struct {
			names    []string
			honoured bool
		}{{asked, tt.asked}, {customer, tt.customer}, {source, tt.source}} {
			for _, name := range set.names {
				err := sse.CheckHeaders(route, headers(name, "", "x-amz-acl", "private"))
				var refused *s3.Error
				switch {
				case set.honoured && err != nil:
					t.Errorf("%s with %s: %v", tt.action, name, err)
				case !set.honoured && (!errors.As(err, &refused) || refused.Code != "InvalidArgument" || !strings.HasPrefix(refused.Message, name+" ")):
					t.Errorf("%s with %s: error %v, want InvalidArgument that names the header", tt.action, name, err)
				}
			}
		}
		if err := sse.CheckHeaders(route, headers("x-amz-acl", "private")); err != nil {
			t.Errorf("%s without encryption headers: %v", tt.action, err)
		}
	}
	if all := len(asked) + len(customer) + len(source); len(sse.Headers) != all {
		t.Errorf("%d encryption headers, %d of them tested", len(sse.Headers), all)
	}
	refused := s3.Route{Action: s3.DeleteObject, Class: s3.Refuse}
	if err := sse.CheckHeaders(refused, headers(s3.HeaderSSE, s3.AES256)); err != nil {
		t.Errorf("an operation that is refused anyway: %v", err)
	}
}
