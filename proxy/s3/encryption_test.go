package s3

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rule returns an encryption document whose rule has the given content.
func rule(content string) string {
	return "<ServerSideEncryptionConfiguration><Rule>" + content + "</Rule></ServerSideEncryptionConfiguration>"
}

// byDefault returns the default encryption of a rule.
func byDefault(content string) string {
	return "<ApplyServerSideEncryptionByDefault>" + content + "</ApplyServerSideEncryptionByDefault>"
}

const (
	kmsAlgorithm = "<SSEAlgorithm>aws:kms</SSEAlgorithm>"
	aesAlgorithm = "<SSEAlgorithm>AES256</SSEAlgorithm>"
)

func TestParseEncryption(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, doc string
		want      *Encryption
	}{
		{"mc sse-kms", rule(byDefault("<KMSMasterKeyID>mykey</KMSMasterKeyID>" + kmsAlgorithm)), &Encryption{Algorithm: AWSKMS, KeyID: "mykey"}},
		{"mc sse-s3", rule(byDefault(aesAlgorithm)), &Encryption{Algorithm: AES256}},
		{"default key", rule(byDefault(kmsAlgorithm)), &Encryption{Algorithm: AWSKMS}},
		{"empty key ID", rule(byDefault(aesAlgorithm + "<KMSMasterKeyID/>")), &Encryption{Algorithm: AES256}},
		{"space", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + rule("\n "+byDefault("\n<SSEAlgorithm> aws:kms\n</SSEAlgorithm>")+"\n") + "\n", &Encryption{Algorithm: AWSKMS}},
		{"SDK", strings.Replace(rule(byDefault(kmsAlgorithm+"<KMSMasterKeyID>arn:aws:kms:k</KMSMasterKeyID>")+"<BucketKeyEnabled>true</BucketKeyEnabled>"), ">", ` xmlns="`+s3Namespace+`">`, 1),
			&Encryption{Algorithm: AWSKMS, KeyID: "arn:aws:kms:k", BucketKey: true}},
		{"bucket key off", rule(byDefault(kmsAlgorithm) + "<BucketKeyEnabled>false</BucketKeyEnabled>"), &Encryption{Algorithm: AWSKMS}},
		{"SSE-C blocked", rule(byDefault(aesAlgorithm) + "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>"),
			&Encryption{Algorithm: AES256, Blocked: []string{"SSE-C"}}},
		{"nothing blocked", rule("<BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes>" + byDefault(aesAlgorithm)),
			&Encryption{Algorithm: AES256, Blocked: []string{"NONE"}}},
		{"escaped key ID", rule(byDefault(kmsAlgorithm + "<KMSMasterKeyID>a&amp;<![CDATA[b]]><!-- c --></KMSMasterKeyID>")), &Encryption{Algorithm: AWSKMS, KeyID: "a&b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseEncryption([]byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			again, err := ParseEncryption(got.Marshal())
			if d := cmp.Diff(got, again); d != "" || err != nil {
				t.Error(d, err)
			}
		})
	}
}

func TestParseEncryptionRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("<a>", 200000)
	bomb := `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>` + rule(byDefault("<SSEAlgorithm>&b;</SSEAlgorithm>"))
	tests := []struct{ name, doc, reason string }{
		{"empty", "", "must be"},
		{"not XML", "{}", "must be"},
		{"cut", rule(byDefault(aesAlgorithm))[:80], "not well-formed"},
		{"other root", "<Other/>", "unknown element"},
		{"two documents", rule(byDefault(aesAlgorithm)) + rule(byDefault(aesAlgorithm)), "more than one document"},
		{"no rule", "<ServerSideEncryptionConfiguration/>", "needed"},
		{"empty rule", rule(""), "needed"},
		{"no algorithm", rule(byDefault("<KMSMasterKeyID>k</KMSMasterKeyID>")), "needed"},
		{"only blocked", rule("<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>"), "needed"},
		{"dsse", rule(byDefault("<SSEAlgorithm>aws:kms:dsse</SSEAlgorithm>")), "must be AES256 or aws:kms"},
		{"lower case", rule(byDefault("<SSEAlgorithm>aes256</SSEAlgorithm>")), "must be AES256 or aws:kms"},
		{"two rules", "<ServerSideEncryptionConfiguration><Rule>" + byDefault(aesAlgorithm) + "</Rule><Rule>" + byDefault(aesAlgorithm) + "</Rule></ServerSideEncryptionConfiguration>", "only one"},
		{"two algorithms", rule(byDefault(aesAlgorithm + kmsAlgorithm)), "only one"},
		{"two defaults", rule(byDefault(aesAlgorithm) + byDefault("")), "only one"},
		{"AES256 with a key", rule(byDefault(aesAlgorithm + "<KMSMasterKeyID>k</KMSMasterKeyID>")), "not allowed with AES256"},
		{"unknown element", rule(byDefault(aesAlgorithm) + "<More/>"), "unknown element"},
		{"element in text", rule(byDefault("<SSEAlgorithm>AES256<b/></SSEAlgorithm>")), "unexpected text"},
		{"known element elsewhere", rule(aesAlgorithm), "unknown element"},
		{"text in between", rule("x" + byDefault(aesAlgorithm)), "unexpected text"},
		{"text at the end", rule(byDefault(aesAlgorithm) + "x"), "unexpected text"},
		{"other namespace", strings.Replace(rule(byDefault(aesAlgorithm)), ">", ` xmlns="urn:x">`, 1), "unknown namespace"},
		{"bucket key", rule(byDefault(aesAlgorithm) + "<BucketKeyEnabled>1</BucketKeyEnabled>"), "true or false"},
		{"blocked nothing", rule(byDefault(aesAlgorithm) + "<BlockedEncryptionTypes/>"), "SSE-C or NONE"},
		{"blocked unknown", rule(byDefault(aesAlgorithm) + "<BlockedEncryptionTypes><EncryptionType>SSE-S3</EncryptionType></BlockedEncryptionTypes>"), "SSE-C or NONE"},
		{"long key ID", rule(byDefault(kmsAlgorithm + "<KMSMasterKeyID>" + strings.Repeat("k", 2049) + "</KMSMasterKeyID>")), "too long"},
		{"line break in key ID", rule(byDefault(kmsAlgorithm + "<KMSMasterKeyID>a\nb</KMSMasterKeyID>")), "control characters"},
		{"entities", bomb, "document type"},
		{"undefined entity", rule(byDefault("<SSEAlgorithm>&aes;</SSEAlgorithm>")), "not well-formed"},
		{"deep", deep, "too large"},
		{"deep and small", deep[:30000], "unknown element"},
		{"other encoding", `<?xml version="1.0" encoding="UTF-16"?>` + rule(byDefault(aesAlgorithm)), "not well-formed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseEncryption([]byte(tt.doc))
			var e *Error
			if !errors.As(err, &e) || e.Code != "MalformedXML" || e.Status != 400 {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(e.Message, tt.reason) {
				t.Errorf("%q does not say %q", e.Message, tt.reason)
			}
		})
	}
}

func TestMarshalEncryption(t *testing.T) {
	t.Parallel()
	got := string((&Encryption{Algorithm: AWSKMS, KeyID: "a<b", BucketKey: true, Blocked: []string{"SSE-C"}}).Marshal())
	want := `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ApplyServerSideEncryptionByDefault>` +
		`<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>a&lt;b</KMSMasterKeyID></ApplyServerSideEncryptionByDefault>` +
		`<BucketKeyEnabled>true</BucketKeyEnabled><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>` +
		`</Rule></ServerSideEncryptionConfiguration>`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseObjectEncryption(t *testing.T) {
	t.Parallel()
	got, err := ParseObjectEncryption([]byte(`<ObjectEncryption xmlns="` + s3Namespace + `"><SSE-KMS><KMSKeyArn>arn:aws:kms:k</KMSKeyArn><BucketKeyEnabled>true</BucketKeyEnabled></SSE-KMS></ObjectEncryption>`))
	if d := cmp.Diff(&Encryption{Algorithm: AWSKMS, KeyID: "arn:aws:kms:k", BucketKey: true}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, doc := range []string{
		"", "<ObjectEncryption/>", "<ObjectEncryption><SSE-KMS/></ObjectEncryption>", "<ObjectEncryption><SSE-S3/></ObjectEncryption>",
		"<ObjectEncryption><SSE-KMS><KMSKeyArn>a</KMSKeyArn><KMSKeyArn>b</KMSKeyArn></SSE-KMS></ObjectEncryption>",
		rule(byDefault(aesAlgorithm)),
	} {
		if _, err := ParseObjectEncryption([]byte(doc)); !errors.Is(err, ErrMalformedXML) {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func FuzzEncryptionXML(f *testing.F) {
	f.Add([]byte(rule(byDefault(kmsAlgorithm + "<KMSMasterKeyID>mykey</KMSMasterKeyID>"))))
	f.Add([]byte(rule(byDefault(aesAlgorithm) + "<BucketKeyEnabled>true</BucketKeyEnabled>")))
	f.Add([]byte(rule(byDefault(aesAlgorithm) + "<BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes>")))
	f.Fuzz(func(t *testing.T, doc []byte) {
		e, err := ParseEncryption(doc)
		if err != nil {
			if !errors.Is(err, ErrMalformedXML) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseEncryption(e.Marshal())
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		if d := cmp.Diff(e, again); d != "" {
			t.Fatal(d)
		}
	})
}
