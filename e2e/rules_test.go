package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestMCEncrypt runs the mc commands that set, show and clear a bucket's rule.
func TestMCEncrypt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	gw := r.gateway(t, false)
	if err := r.kes.CreateKey(t.Context(), "other-key"); err != nil {
		t.Fatal(err)
	}
	c := newMCClient(t, r.stack, gw)
	steps := []struct {
		args  string
		fails bool
		want  string // expected in the output or, if the command fails, in the error
	}{
		{"mb gw/rules", false, "created successfully"},
		{"encrypt info gw/rules", true, "server side encryption configuration was not found"},
		{"encrypt set sse-kms other-key gw/rules", false, "encryption configuration has been set successfully"},
		{"encrypt info gw/rules", false, "Auto encryption 'sse-kms' is enabled with KeyID: other-key"},
		{"encrypt set sse-kms no-such-key gw/rules", true, "key with given key ID does not exist"},
		{"encrypt info gw/rules", false, "KeyID: other-key"},
		{"encrypt set sse-s3 gw/rules", false, "encryption configuration has been set successfully"},
		{"encrypt info gw/rules", false, "Auto encryption 'sse-s3' is enabled"},
		{"encrypt clear gw/rules", false, "encryption configuration has been cleared successfully"},
		{"encrypt clear gw/rules", false, "encryption configuration has been cleared successfully"},
		{"encrypt info gw/rules", true, "server side encryption configuration was not found"},
	}
	for _, step := range steps {
		out, err := c.mc.Run(t.Context(), strings.Fields(step.args)...)
		if (err != nil) != step.fails {
			t.Fatalf("mc %s: %q, error %v", step.args, out, err)
		}
		if err != nil {
			out = err.Error()
		}
		if !strings.Contains(strings.ToLower(out), strings.ToLower(step.want)) {
			t.Errorf("mc %s: %q, want %q in it", step.args, out, step.want)
		}
	}
}

// TestRuleEncrypts checks that a rule set by mc applies to a put without
// encryption headers, by any client, and that a header overrides the rule.
func TestRuleEncrypts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	gw := r.gateway(t, false)
	client := sdkOf(t, gw)
	const bucket = "rules"
	makeBucket(t, client, bucket)
	mc := newMCClient(t, r.stack, gw).mc
	if _, err := mc.Run(t.Context(), "encrypt", "set", "sse-kms", gw.KeyName, "gw/"+bucket); err != nil {
		t.Fatal(err)
	}
	body := content{seed: 4, size: 5000}
	sdk := sdkClient{client, gw.KeyName}
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("by-rule"), Body: body.reader(),
	}); err != nil {
		t.Fatal(err)
	}
	if err := sdk.put(t.Context(), bucket, "by-header", sseS3, body); err != nil {
		t.Fatal(err)
	}
	for key, s := range map[string]scheme{"by-rule": sseKMS, "by-header": sseS3} {
		if got, err := sdk.head(t.Context(), bucket, key, s); err != nil || got != wantFacts(s, body.size, gw.KeyName) {
			t.Errorf("%s: %+v, error %v", key, got, err)
		}
	}
	wantSealedUpstream(t, client, r.direct(t), bucket)
}

// TestSSECNeedsTLS checks that no key travels over http.
func TestSSECNeedsTLS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	gw := r.gateway(t, false)
	client := sdkOf(t, gw)
	const bucket = "sse-c"
	makeBucket(t, client, bucket)
	sdk := sdkClient{client, gw.KeyName}
	err := sdk.put(t.Context(), bucket, "key", sseC, content{seed: 5, size: 100})
	wantCode(t, err, "InvalidRequest")
	if n := len(listSizes(t, client, bucket)); n != 0 {
		t.Errorf("%d objects after a refused PUT", n)
	}
}

// TestSSECNeedsItsKey checks that nothing can be read without the key, or with
// another one.
func TestSSECNeedsItsKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	gw := r.gateway(t, true)
	client := sdkOf(t, gw)
	bucket, key := "sse-c", "key"
	makeBucket(t, client, bucket)
	sdk := sdkClient{client, gw.KeyName}
	if err := sdk.put(t.Context(), bucket, key, sseC, content{seed: 5, size: 100}); err != nil {
		t.Fatal(err)
	}
	_, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	wantCode(t, err, "InvalidRequest")
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = customerHeadersOf([]byte(strings.Repeat("x", 32)))
	_, err = client.GetObject(t.Context(), in)
	wantCode(t, err, "AccessDenied")
}
