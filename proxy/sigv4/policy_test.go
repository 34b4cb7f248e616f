package sigv4

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

const testExpiration = "2026-11-23T11:00:00.000Z"

// standardConditions covers the fields that form always sends.
const standardConditions = `{"bucket":"photos"},["starts-with","$key","user/"],{"x-amz-algorithm":"AWS4-HMAC-SHA256"},` +
	`{"x-amz-credential":"` + testKey + `/20261123/us-east-1/s3/aws4_request"},{"X-Amz-Date":"20261123T100000Z"}`

func policyDocument(conditions string) string {
	return `{"expiration":"` + testExpiration + `","conditions":[` + conditions + `]}`
}

// form returns a signed form with a policy document and additional fields,
// given as name and value pairs.
func form(document string, fields ...string) map[string]string {
	policy := base64.StdEncoding.EncodeToString([]byte(document))
	f := map[string]string{
		"key":            "user/cat.jpg",
		fieldAlgorithm:   algorithmV4,
		fieldCredential:  testKey + "/20261123/us-east-1/s3/aws4_request",
		headerDate:       "20261123T100000Z",
		fieldPolicy:      policy,
		fieldSignature:   hex.EncodeToString(refMAC([]byte("AWS4"+testSecret), "20261123", testRegion, "s3", "aws4_request", policy)),
		"x-ignore-token": "anything",
	}
	for i := 0; i < len(fields); i += 2 {
		f[fields[i]] = fields[i+1]
	}
	return f
}

func TestPolicyAccepted(t *testing.T) {
	t.Parallel()
	tests := map[string]map[string]string{
		"standard":        form(policyDocument(standardConditions)),
		"bucket field":    form(policyDocument(standardConditions), "bucket", "photos"),
		"eq":              form(policyDocument(standardConditions+`,["eq","$acl","private"]`), "acl", "private"),
		"operator's case": form(policyDocument(standardConditions+`,["Starts-With","$ACL","pri"]`), "acl", "private"),
		"any value":       form(policyDocument(standardConditions+`,["starts-with","$x-amz-meta-tag",""]`), "x-amz-meta-tag", "x"),
		"list of types":   form(policyDocument(standardConditions+`,["starts-with","$Content-Type","image/"]`), "content-type", "image/png, image/gif"),
	}
	for name, fields := range tests {
		t.Run(name, func(t *testing.T) {
			auth, err := testVerifier().VerifyPolicy("photos", fields)
			if err != nil || auth.AccessKey() != testKey || auth.Anonymous() {
				t.Fatalf("got %v, %v", auth, err)
			}
			if low, high := auth.LengthRange(); low != 0 || high != -1 {
				t.Errorf("length range %d-%d", low, high)
			}
		})
	}
}

func TestPolicyRefusals(t *testing.T) {
	t.Parallel()
	standard := policyDocument(standardConditions)
	with := func(conditions string) string { return policyDocument(standardConditions + "," + conditions) }
	tests := []struct {
		name   string
		fields map[string]string
		want   string
	}{
		{"CVE-2023-43040 bucket field", form(standard, "bucket", "victim"), CodeAccessDenied},
		{"key outside the prefix", form(standard, "key", "other/cat.jpg"), CodeAccessDenied},
		{"no key", without(form(standard), "key"), CodeAccessDenied},
		{"extra field", form(standard, "acl", "public-read"), CodeAccessDenied},
		{"extra x-amz-meta", form(standard, "x-amz-meta-a", "b"), CodeAccessDenied},
		{"value differs", form(with(`{"acl":"private"}`), "acl", "public-read"), CodeAccessDenied},
		{"value's case differs", form(with(`{"acl":"private"}`), "acl", "Private"), CodeAccessDenied},
		{"field missing", form(with(`{"acl":"private"}`)), CodeAccessDenied},
		{"field missing, any value", form(with(`["starts-with","$acl",""]`)), CodeAccessDenied},
		{"one of a list of types", form(with(`["starts-with","$Content-Type","image/"]`), "content-type", "image/png,text/html"), CodeAccessDenied},
		{"bucket not covered", form(policyDocument(strings.Replace(standardConditions, `{"bucket":"photos"},`, "", 1))), CodeAccessDenied},
		{"another bucket", form(policyDocument(strings.Replace(standardConditions, "photos", "victim", 1))), CodeAccessDenied},
		{"two conditions on a field", form(with(`["starts-with","$key","admin/"]`)), CodeAccessDenied},
		{"expired", form(strings.Replace(standard, "2026-11-23T11", "2026-11-23T09", 1)), CodeAccessDenied},
		{"junk signature", form(standard, fieldSignature, strings.Repeat("0", 64)), CodeSignatureDoesNotMatch},
		{"policy replaced", form(standard, fieldPolicy, base64.StdEncoding.EncodeToString([]byte(with(`{"acl":"private"}`)))), CodeSignatureDoesNotMatch},
		{"unknown key", form(standard, fieldCredential, "AKIAOTHER/20261123/us-east-1/s3/aws4_request"), CodeInvalidAccessKeyID},
		{"wrong region", form(standard, fieldCredential, testKey+"/20261123/eu-west-1/s3/aws4_request"), CodeInvalidArgument},
		{"scope of another day", form(standard, headerDate, "20261122T100000Z"), CodeInvalidArgument},
		{"malformed date", form(standard, headerDate, "now"), CodeInvalidArgument},
		{"malformed credential", form(standard, fieldCredential, "x"), CodeInvalidArgument},
		{"other algorithm", form(standard, fieldAlgorithm, algorithmV4A), CodeInvalidArgument},
		{"V2 form", map[string]string{"key": "k", "awsaccesskeyid": testKey, "signature": "x", "policy": "x"}, CodeInvalidRequest},
		{"session token", form(standard, fieldToken, "x"), CodeInvalidToken},
		{"no policy", without(form(standard), fieldPolicy), CodeInvalidArgument},
		{"no signature", without(form(standard), fieldSignature), CodeInvalidArgument},
		{"only a policy", map[string]string{"key": "k", "policy": "x"}, CodeInvalidArgument},
		{"wrong MD5 field", form(standard, "content-md5", "x"), CodeInvalidDigest},
		{"wrong checksum field", form(standard, "x-amz-checksum-crc32", "x"), CodeInvalidRequest},
		{"empty document", form(" "), CodeInvalidPolicyDocument},
		{"not JSON", form("{"), CodeInvalidPolicyDocument},
		{"null", form("null"), CodeInvalidPolicyDocument},
		{"text after the document", form(standard + "{}"), CodeInvalidPolicyDocument},
		{"unknown member", form(strings.Replace(standard, "{", `{"a":1,`, 1)), CodeInvalidPolicyDocument},
		{"no expiration", form(`{"conditions":[]}`), CodeInvalidPolicyDocument},
		{"no conditions", form(`{"expiration":"` + testExpiration + `"}`), CodeInvalidPolicyDocument},
		{"malformed expiration", form(strings.Replace(standard, "2026-", "26-", 1)), CodeInvalidPolicyDocument},
		{"condition is a string", form(with(`"acl"`)), CodeInvalidPolicyDocument},
		{"condition is null", form(with(`null`)), CodeInvalidPolicyDocument},
		{"empty condition", form(with(`[]`)), CodeInvalidPolicyDocument},
		{"condition with two properties", form(with(`{"acl":"a","b":"c"}`), "acl", "a", "b", "c"), CodeInvalidPolicyDocument},
		{"condition with a number", form(with(`{"acl":1}`)), CodeInvalidPolicyDocument},
		{"operator is a number", form(with(`[1,"$acl","a"]`)), CodeInvalidPolicyDocument},
		{"unknown operator", form(with(`["ends-with","$acl","a"]`)), CodeInvalidPolicyDocument},
		{"too few operands", form(with(`["eq","$acl"]`)), CodeInvalidPolicyDocument},
		{"field without $", form(with(`["eq","acl","a"]`), "acl", "a"), CodeAccessDenied},
		{"field without $ and name", form(with(`["starts-with","$",""]`)), CodeAccessDenied},
		{"member twice", form(strings.Replace(standard, "{", `{"Expiration":"2030-01-01T00:00:00Z",`, 1)), CodeInvalidPolicyDocument},
		{"too many operands", form(with(`["eq","$acl","a","b"]`)), CodeInvalidPolicyDocument},
		{"conditions that are no list", form(`{"expiration":"` + testExpiration + `","conditions":true}`), CodeInvalidPolicyDocument},
		{"conditions that are null", form(`{"expiration":"` + testExpiration + `","conditions":null}`), CodeInvalidPolicyDocument},
		{"value is null", form(with(`["eq","$acl",null]`), "acl", ""), CodeInvalidPolicyDocument},
		{"range is negative", form(with(`["content-length-range",-1,5]`)), CodeInvalidPolicyDocument},
		{"range is reversed", form(with(`["content-length-range",6,5]`)), CodeInvalidPolicyDocument},
		{"range is a fraction", form(with(`["content-length-range",0,5.5]`)), CodeInvalidPolicyDocument},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			auth, err := testVerifier().VerifyPolicy("photos", tt.fields)
			if code(err) != tt.want || auth != nil {
				t.Errorf("got %v, %v; want %s", auth, err, tt.want)
			}
		})
	}
	notBase64 := form(standard)
	notBase64[fieldPolicy] = "!"
	notBase64[fieldSignature] = hex.EncodeToString(refMAC([]byte("AWS4"+testSecret), "20261123", testRegion, "s3", "aws4_request", "!"))
	if _, err := testVerifier().VerifyPolicy("photos", notBase64); code(err) != CodeInvalidPolicyDocument {
		t.Errorf("not base64: %v", err)
	}
	if _, err := verifierAt(testTime.Add(time.Hour)).VerifyPolicy("photos", form(standard)); code(err) != CodeAccessDenied {
		t.Errorf("at its expiration: %v", err)
	}
}

// TestPolicyWords checks that a refusal quotes the condition that failed, as
// Amazon S3 does.
func TestPolicyWords(t *testing.T) {
	t.Parallel()
	standard := policyDocument(standardConditions)
	tests := []struct {
		fields  map[string]string
		message string
		details []Detail
	}{
		{form(policyDocument(standardConditions + `,["eq","$acl","private"]`)), `Invalid according to Policy: Policy Condition failed: ["eq", "$acl", "private"]`, nil},
		{form(policyDocument(standardConditions + `,{"ACL":"private"}`)), `Invalid according to Policy: Policy Condition failed: ["eq", "$ACL", "private"]`, nil},
		{form(standard, "x-amz-meta-b", "", "acl", ""), "Invalid according to Policy: Extra input fields: acl, x-amz-meta-b", nil},
		{form(`{"other":1}`), `Invalid Policy: Unexpected: "other"`, nil},
		{form(""), "Invalid Policy: Expecting '{' but found End-of-Input", nil},
		{without(form(standard), fieldPolicy), "Bucket POST must contain a field named 'policy'.  If it is specified, please check the order of the fields.",
			[]Detail{{"ArgumentName", "policy"}, {"ArgumentValue", ""}}},
		{form(standard, fieldCredential, "x"), `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`,
			[]Detail{{"ArgumentName", fieldCredential}, {"ArgumentValue", "x"}}},
		{form("p", fieldPolicy, "cA==", fieldSignature, "0"), errSignature().Message, []Detail{
			{"AWSAccessKeyId", testKey}, {"StringToSign", "cA=="}, {"SignatureProvided", "0"}, {"StringToSignBytes", "63 41 3d 3d"},
		}},
	}
	for _, tt := range tests {
		_, err := testVerifier().VerifyPolicy("photos", tt.fields)
		var refused *Error
		if !errors.As(err, &refused) || refused.Message != tt.message || !slices.Equal(refused.Details, tt.details) {
			t.Errorf("got %v, details %v; want %s", err, refused.Details, tt.message)
		}
	}
}

func without(fields map[string]string, name string) map[string]string {
	fields = maps.Clone(fields)
	delete(fields, name)
	return fields
}

func TestPolicyAnonymous(t *testing.T) {
	t.Parallel()
	auth, err := testVerifier().VerifyPolicy("photos", map[string]string{"key": "k", "acl": "private"})
	if err != nil || !auth.Anonymous() {
		t.Errorf("got %v, %v", auth, err)
	}
}

func TestPolicyBody(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		conditions string
		fields     []string
		want       string
	}{
		{"no range", "", nil, ""},
		{"within the range", `,["content-length-range",12,12]`, nil, ""},
		{"range in strings", `,["content-length-range","1","20"]`, nil, ""},
		{"too small", `,["content-length-range",13,20]`, nil, CodeEntityTooSmall},
		{"too large", `,["content-length-range",0,11]`, nil, CodeEntityTooLarge},
		{"largest is 0", `,["content-length-range",0,0]`, nil, CodeEntityTooLarge},
		{"narrowest of two ranges", `,["content-length-range",0,100],["content-length-range",0,11]`, nil, CodeEntityTooLarge},
		{"MD5", `,["starts-with","$Content-MD5",""]`, []string{"content-md5", digest(t, "MD5", hello)}, ""},
		{"wrong MD5", `,["starts-with","$Content-MD5",""]`, []string{"content-md5", digest(t, "MD5", "x")}, CodeBadDigest},
		{"checksum", `,["starts-with","$x-amz-checksum-sha1",""]`, []string{"x-amz-checksum-sha1", digest(t, "SHA1", hello)}, ""},
		{"wrong checksum", `,["starts-with","$x-amz-checksum-sha1",""]`, []string{"x-amz-checksum-sha1", digest(t, "SHA1", "x")}, CodeBadDigest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			auth, err := testVerifier().VerifyPolicy("photos", form(policyDocument(standardConditions+tt.conditions), tt.fields...))
			if err != nil {
				t.Fatal(err)
			}
			body := auth.Body(strings.NewReader(hello))
			data, err := io.ReadAll(body)
			if code(err) != tt.want || err == nil && string(data) != hello || body.Size() != -1 {
				t.Errorf("read %q, %v; want %q", data, err, tt.want)
			}
		})
	}
}
