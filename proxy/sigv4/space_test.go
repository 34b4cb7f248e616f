package sigv4

import (
	"strings"
	"testing"
)

// TestWhiteSpace covers the forms that signers give to white space in values.
// Each form of the sent value verifies, but only in free text.
func TestWhiteSpace(t *testing.T) {
	const value = " \u3000a\tb  c\u00a0d\u3000e\u3000"
	forms := map[string]func(string) string{
		"minio-go":       func(v string) string { return strings.Join(strings.Fields(v), " ") },
		"SDK for Go":     func(string) string { return "a\tb c\u00a0d\u3000e" },
		"only the space": func(string) string { return "\u3000a\tb c\u00a0d\u3000e\u3000" },
	}
	for _, tt := range []struct {
		header string
		text   bool
	}{
		{"x-amz-meta-title", true},
		{"content-disposition", true},
		{"x-amz-copy-source", false},
		{"x-amz-tagging", false},
	} {
		for name, form := range forms {
			signed := signedAs(t, tt.header, value, form(value))
			_, err := testVerifier().Verify(signed)
			if accepted := err == nil; accepted != (tt.text || name == "only the space") {
				t.Errorf("%s, signed as %s does: %v", tt.header, name, err)
			}
		}
		wrong := signedAs(t, tt.header, value, "another value")
		if _, err := testVerifier().Verify(wrong); code(err) != CodeSignatureDoesNotMatch {
			t.Errorf("%s, another value: %v", tt.header, err)
		}
	}
}

// TestWhiteSpaceCandidates checks that an ordinary request has one canonical
// form, and that no request has more than three.
func TestWhiteSpaceCandidates(t *testing.T) {
	for value, want := range map[string]int{
		"": 1, "a": 1, "a  b ": 1, "\u00fc": 1, "\t a": 1, "a\tb": 2, "a\u3000b": 2, "\u3000a": 2, "\u3000a\tb": 3, "\xa0": 1,
	} {
		r := signedAs(t, "x-amz-meta-title", value, value)
		all, err := canonicalRequests(r, []string{"host", "x-amz-meta-title"}, unsignedPayload)
		if err != nil || len(all) != want {
			t.Errorf("%q: %d candidates, %v; want %d", value, len(all), err, want)
		}
	}
}

// signedAs returns a request with a header that its signer saw with another
// value.
func signedAs(t *testing.T, name, sent, signed string) *Request {
	t.Helper()
	req := newTestRequest(t, "PUT", "/bucket/key", "", headerContentSHA256, unsignedPayload, headerDate, testTime.Format(timeFormat))
	r := received(t, req)
	names := []string{"host", headerContentSHA256, headerDate, name}
	list, _ := parseSignedHeaders(strings.Join(names, ";"))
	r.Header.Set(name, signed)
	canonical, err := canonicalRequest(r, list, unsignedPayload, func(v string) string { return v })
	if err != nil {
		t.Fatal(err)
	}
	// The canonical request must contain the value as the signer wrote it.
	canonical = strings.Replace(canonical, name+":"+collapse(signed)+"\n", name+":"+signed+"\n", 1)
	c := &credential{accessKey: testKey, time: testTime.Format(timeFormat), scope: scope{testTime.Format(dayFormat), testRegion, serviceS3}}
	signature := deriveKey(testSecret, c.scope).sign(stringToSign(c, canonical))
	r.Header.Set(name, sent)
	r.Header.Set("Authorization", algorithmV4+" Credential="+testKey+"/"+c.scope.String()+", SignedHeaders="+strings.Join(list, ";")+", Signature="+signature)
	return r
}
