package e2e

import (
	"net/http"
	"strings"
	"testing"

	"ssegw/e2e/stack"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// coreConditions writes under conditions that hold and others that do not.
func coreConditions(t *testing.T, c coreSide, bucket string) {
	if c.store == nil {
		return // Ceph compares If-Match with the quotes
	}
	for _, s := range c.schemes {
		t.Run(s.name(), func(t *testing.T) {
			key := "conditions-" + s.name()
			put := func(body string, header map[string]string) error {
				_, err := c.client.PutObject(t.Context(), c.write(&s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)}, s), withHeaders(header))
				return err
			}
			const wrong = `"00000000000000000000000000000000"`
			if err := put("1", map[string]string{"if-none-match": "*"}); err != nil {
				t.Errorf("If-None-Match without an object: %v", err)
			}
			wantCode(t, put("2", map[string]string{"if-none-match": "*"}), "PreconditionFailed")
			wantCode(t, put("3", map[string]string{"if-match": wrong}), "PreconditionFailed")
			if got := readAll(t, c.client, bucket, key); string(got) != "1" {
				t.Errorf("a refused write left %q", got)
			}
			etag := must(c.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key}))(t).ETag
			if err := put("4", map[string]string{"if-match": *etag}); err != nil {
				t.Errorf("If-Match with the ETag %s: %v", *etag, err)
			}
			if got := readAll(t, c.client, bucket, key); string(got) != "4" {
				t.Errorf("the object holds %q", got)
			}
		})
	}
}

// coreAttributes asks for attributes of objects. A store that does not know the
// operation may refuse it for plaintext objects.
func coreAttributes(t *testing.T, c coreSide, bucket string) {
	if c.store == nil {
		return // Ceph and Swift answer with the object
	}
	for _, s := range c.schemes {
		key, body := "attributes-"+s.name(), content{95, 1000}
		if !c.put(t, bucket, key, s, body) {
			continue
		}
		out, err := c.client.GetObjectAttributes(t.Context(), &s3.GetObjectAttributesInput{
			Bucket: &bucket, Key: &key, ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesObjectSize, types.ObjectAttributesEtag},
		})
		switch {
		case s == "" && statusOf(err) == http.StatusNotImplemented:
		case err != nil:
			t.Errorf("%s: %v", key, err)
		case aws.ToInt64(out.ObjectSize) != body.size:
			t.Errorf("%s: %d bytes", key, aws.ToInt64(out.ObjectSize))
		}
	}
}

// coreLocation asks for the region of a bucket. Clients sign for it, so it is
// the gateway's and not the store's.
func coreLocation(t *testing.T, c coreSide, bucket string) {
	out, err := c.client.GetBucketLocation(t.Context(), &s3.GetBucketLocationInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	if c.store != nil && out.LocationConstraint != "" && string(out.LocationConstraint) != stack.Region {
		t.Errorf("location %q, want none or %s", out.LocationConstraint, stack.Region)
	}
}

// coreSubresources checks that an operation on a part of a bucket or an object
// never acts on the whole, as it does at stores that do not know the part.
func coreSubresources(t *testing.T, c coreSide, bucket string) {
	if c.store == nil {
		return
	}
	for name, remove := range bucketRemovals(c.client) {
		empty := bucketName("core-without-" + strings.ToLower(name))
		makeBucket(t, c.client, empty)
		err := remove(t, &empty)
		if _, gone := c.store.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: &empty}); gone != nil {
			t.Errorf("Delete%s (error %v) deleted the bucket: %v", name, err, gone)
		}
	}
	body := content{96, 1000}
	for _, s := range c.schemes {
		key := "part-of-" + s.name()
		if !c.put(t, bucket, key, s, body) {
			continue
		}
		// The store may refuse them, but not take them for PutObject.
		_, _ = c.client.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{
			Bucket: &bucket, Key: &key, LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOff},
		})
		c.want(t, bucket, key, s, body)
		_, _ = c.client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: &bucket, Key: &key, Retention: &types.ObjectLockRetention{}})
		c.want(t, bucket, key, s, body)
		_, _ = c.client.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: &bucket, Key: &key, ACL: types.ObjectCannedACLPrivate})
		c.want(t, bucket, key, s, body)
		_, _ = c.client.RestoreObject(t.Context(), &s3.RestoreObjectInput{
			Bucket: &bucket, Key: &key, RestoreRequest: &types.RestoreRequest{Days: aws.Int32(1)},
		})
		c.want(t, bucket, key, s, body)
	}
}

// bucketRemovals are operations that delete a part of a bucket, by the part's
// name.
func bucketRemovals(client *s3.Client) map[string]func(t *testing.T, bucket *string) error {
	id := aws.String("a")
	return map[string]func(t *testing.T, bucket *string) error{
		"Analytics": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketAnalyticsConfiguration(t.Context(), &s3.DeleteBucketAnalyticsConfigurationInput{Bucket: b, Id: id})
			return err
		},
		"Cors": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketCors(t.Context(), &s3.DeleteBucketCorsInput{Bucket: b})
			return err
		},
		"Encryption": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketEncryption(t.Context(), &s3.DeleteBucketEncryptionInput{Bucket: b})
			return err
		},
		"Inventory": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketInventoryConfiguration(t.Context(), &s3.DeleteBucketInventoryConfigurationInput{Bucket: b, Id: id})
			return err
		},
		"Lifecycle": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketLifecycle(t.Context(), &s3.DeleteBucketLifecycleInput{Bucket: b})
			return err
		},
		"Metrics": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketMetricsConfiguration(t.Context(), &s3.DeleteBucketMetricsConfigurationInput{Bucket: b, Id: id})
			return err
		},
		"OwnershipControls": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketOwnershipControls(t.Context(), &s3.DeleteBucketOwnershipControlsInput{Bucket: b})
			return err
		},
		"Policy": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: b})
			return err
		},
		"PublicAccessBlock": func(t *testing.T, b *string) error {
			_, err := client.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: b})
			return err
		},
		"Replication": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketReplication(t.Context(), &s3.DeleteBucketReplicationInput{Bucket: b})
			return err
		},
		"Tagging": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketTagging(t.Context(), &s3.DeleteBucketTaggingInput{Bucket: b})
			return err
		},
		"Website": func(t *testing.T, b *string) error {
			_, err := client.DeleteBucketWebsite(t.Context(), &s3.DeleteBucketWebsiteInput{Bucket: b})
			return err
		},
	}
}
