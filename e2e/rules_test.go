package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"ssegw/e2e/stack"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// TestMCEncrypt runs the mc commands that set, show and clear a bucket's rule,
// against two replicas. One of them restarts in between.
func TestMCEncrypt(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		one := r.gateway(t, false)
		two := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: one}))(t)
		if err := r.kes.CreateKey(t.Context(), "other-key"); err != nil {
			t.Fatal(err)
		}
		mc := newMCClient(t, r.stack, one).mc
		if err := mc.Alias(t.Context(), "two", two.Endpoint, two.AccessKey, two.SecretKey); err != nil {
			t.Fatal(err)
		}
		bucket := bucketName("rules")
		wantMC(t, mc, "mb gw/"+bucket, "", "created successfully")
		const set, cleared = "configuration has been set successfully", "configuration has been cleared successfully"
		for _, step := range []struct {
			command, fails, prints string
			info                   string                     // what both replicas show afterwards; "" if there is no rule
			puts                   types.ServerSideEncryption // scheme of objects that are written afterwards
			restarts               bool                       // one replica restarts afterwards
		}{
			{"encrypt clear gw/", "", cleared, "", "", false},
			{"encrypt set sse-kms other-key gw/", "", set, "Auto encryption 'sse-kms' is enabled with KeyID: other-key", "aws:kms", true},
			{"encrypt set sse-kms no-such-key two/", "key with given key ID does not exist", "", "KeyID: other-key", "aws:kms", false},
			{"encrypt set sse-s3 two/", "", set, "Auto encryption 'sse-s3' is enabled", "AES256", true},
			{"encrypt clear gw/", "", cleared, "", "", true},
			{"encrypt clear two/", "", cleared, "", "", false},
			{"encrypt set sse-kms " + one.KeyName + " two/", "", set, "KeyID: " + one.KeyName, "aws:kms", false},
		} {
			wantMC(t, mc, step.command+bucket, step.fails, step.prints)
			changed := time.Now()
			shown := func() {
				for alias, g := range map[string]*stack.Gateway{"gw/": one, "two/": two} {
					wantInfo(t, mc, alias+bucket, step.info)
					wantSchemeWithin(t, sdkOf(t, g), bucket, step.puts, changed, rulesOther)
				}
			}
			shown()
			if step.restarts {
				if err := one.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				shown()
			}
		}
		t.Run("at the same time", func(t *testing.T) { changeAtOnce(t, r, sdkOf(t, one), sdkOf(t, two)) })
	})
}

// wantMC runs a command of mc. It must print something, or fail with an error.
func wantMC(t *testing.T, mc *stack.MC, command, fails, prints string) {
	t.Helper()
	out, err := mc.Run(t.Context(), strings.Fields(command)...)
	if (err != nil) != (fails != "") {
		t.Fatalf("mc %s: %q, error %v", command, out, err)
	}
	if err != nil {
		out = err.Error()
	}
	if !strings.Contains(strings.ToLower(out), strings.ToLower(fails+prints)) {
		t.Errorf("mc %s: %q, want %q in it", command, out, fails+prints)
	}
}

// wantInfo waits until mc shows the rule of a bucket, or that it has none.
func wantInfo(t *testing.T, mc *stack.MC, bucket, want string) {
	t.Helper()
	eventually(t, "the rule of "+bucket, func() error {
		out, err := mc.Run(t.Context(), "encrypt", "info", bucket)
		switch {
		case err != nil && (want != "" || !strings.Contains(err.Error(), "configuration was not found")):
			return err
		case err == nil && (want == "" || !strings.Contains(out, want)):
			return fmt.Errorf("mc prints %q, want %q", out, want)
		}
		return nil
	})
}

// changeAtOnce changes rules through two replicas at the same time: of two
// buckets, and of one. With conditional writes both replicas show every
// accepted change. At a store without them, one of two such changes may be lost.
// The other one and the earlier rules are there, both replicas show the same, and
// a change made alone is kept.
func changeAtOnce(t *testing.T, r *rig, one, two *s3.Client) {
	shown := map[string]string{} // what the rules must be, by bucket
	for round := range 4 {
		first, second := bucketName(fmt.Sprint("first-", round)), bucketName(fmt.Sprint("second-", round))
		makeBucket(t, one, first)
		makeBucket(t, one, second)
		var work errgroup.Group
		work.Go(func() error { return putRule(t, one, first, "e2e-key") })
		work.Go(func() error { return putRule(t, two, second, "other-key") })
		if err := work.Wait(); err != nil {
			t.Fatal(err)
		}
		got := agreed(t, []*s3.Client{one, two}, first, second)
		want := map[string]string{first: "e2e-key", second: "other-key"}
		if !maps.Equal(got, want) && (!r.loses(t) || got[first] != want[first] && got[second] != want[second]) {
			t.Fatalf("round %d: the rules are %v, want %v", round, got, want)
		}
		for bucket, key := range want {
			if got[bucket] == "" {
				t.Logf("round %d: the rule of %s was lost", round, bucket)
				setRule(t, two, bucket, key)
			}
		}
		maps.Copy(shown, want)

		work.Go(func() error { return putRule(t, one, first, "other-key") })
		work.Go(func() error { return putRule(t, two, first, "") })
		if err := work.Wait(); err != nil {
			t.Fatal(err)
		}
		maps.Copy(shown, agreed(t, []*s3.Client{one, two}, first))
		if key := shown[first]; key != "other-key" && key != "AES256" {
			t.Fatalf("round %d: the rule of one bucket is %q", round, key)
		}
	}
	for bucket, want := range shown {
		if got := agreed(t, []*s3.Client{one, two}, bucket)[bucket]; got != want {
			t.Errorf("the rule of %s is %q, want %q", bucket, got, want)
		}
	}
}

// agreed waits until all replicas show the same rules of some buckets, and
// returns their keys as keyOfRule does. A replica knows its own changes at once.
// So if each has just made one, they agree on what the store has in the end.
func agreed(t *testing.T, replicas []*s3.Client, buckets ...string) map[string]string {
	t.Helper()
	var rules map[string]string
	eventually(t, "the replicas agree", func() error {
		rules = nil
		for _, client := range replicas {
			shown := map[string]string{}
			for _, bucket := range buckets {
				shown[bucket] = keyOfRule(t, client, bucket)
			}
			if rules != nil && !maps.Equal(rules, shown) {
				return fmt.Errorf("one shows %v, another %v", rules, shown)
			}
			rules = shown
		}
		return nil
	})
	return rules
}

// loses reports whether the store loses one of two changes of the same moment,
// because it has no conditional writes.
func (r *rig) loses(t *testing.T) bool {
	t.Helper()
	bucket := bucketName("conditions")
	client := r.direct(t)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil && !hasCode(err, "BucketAlreadyOwnedByYou") {
		t.Fatal(err)
	}
	return probes[canConditions](t, r, client, &bucket) != nil
}

// keyOfRule returns the key of a bucket's rule, AES256 if it names none, and ""
// if there is no rule.
func keyOfRule(t *testing.T, client *s3.Client, bucket string) string {
	t.Helper()
	out, err := client.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: &bucket})
	if hasCode(err, "ServerSideEncryptionConfigurationNotFoundError") {
		return ""
	}
	by := must(out, err)(t).ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault
	return cmp.Or(aws.ToString(by.KMSMasterKeyID), string(by.SSEAlgorithm))
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
