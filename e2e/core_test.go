package e2e

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// coreSide is one way to a store: directly, or through the gateway. What a
// store itself gets wrong is not tested for plaintext objects.
type coreSide struct {
	client  *s3.Client
	store   *s3.Client // bypasses the gateway; nil if client does so too
	keyName string     // default KES key of the gateway
	schemes []scheme   // "" is plaintext
}

// core lists the parts of TestCore.
var core = map[string]func(t *testing.T, c coreSide, bucket string){
	"attributes":   coreAttributes,
	"conditions":   coreConditions,
	"copies":       coreCopies,
	"deletes":      coreDeletes,
	"keys":         coreKeys,
	"listings":     coreListings,
	"location":     coreLocation,
	"metadata":     coreMetadata,
	"multipart":    coreMultipart,
	"ranges":       coreRanges,
	"rules":        coreRules,
	"sizes":        coreSizes,
	"subresources": coreSubresources,
	"tags":         coreTags,
	"versions":     coreVersions,
}

// TestCore runs short tests on stores, directly and through the gateway. All
// share a store, because Ceph and Swift start slowly.
func TestCore(t *testing.T) {
	t.Parallel()
	for _, name := range storesOf(stack.StoreCeph, stack.StoreSwift) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			long(t)
			r := newRigOn(t, name)
			g := r.gateway(t, false)
			wantStoreFacts(t, name, g)
			sides := map[string]coreSide{
				"direct":  {client: r.direct(t), schemes: []scheme{""}},
				"gateway": {client: sdkOf(t, g), store: r.direct(t), keyName: g.KeyName, schemes: []scheme{"", sseS3, sseKMS}},
			}
			for _, part := range slices.Sorted(maps.Keys(core)) {
				t.Run(part, func(t *testing.T) {
					require(t, "TestCore/"+name+"/"+part)
					for _, side := range slices.Sorted(maps.Keys(sides)) {
						t.Run(side, func(t *testing.T) {
							bucket := bucketName("core-" + side + "-" + part)
							makeBucket(t, sides[side].client, bucket)
							core[part](t, sides[side], bucket)
						})
					}
				})
			}
		})
	}
}

// name returns a scheme for keys and names of tests.
func (s scheme) name() string {
	if s == "" {
		return "plain"
	}
	return string(s)
}

// write sets the encryption of a write.
func (c coreSide) write(in *s3.PutObjectInput, s scheme) *s3.PutObjectInput {
	switch s {
	case sseS3:
		in.ServerSideEncryption = types.ServerSideEncryptionAes256
	case sseKMS:
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &c.keyName
	}
	return in
}

// put stores an object and reports a failure.
func (c coreSide) put(t *testing.T, bucket, key string, s scheme, body content) bool {
	t.Helper()
	if err := (sdkClient{c.client, c.keyName}).put(t.Context(), bucket, key, s, body); err != nil {
		t.Errorf("PUT %q %s: %v", key, s, err)
		return false
	}
	return true
}

// want reads an object whole and reports what differs.
func (c coreSide) want(t *testing.T, bucket, key string, s scheme, body content) {
	t.Helper()
	head, err := c.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Errorf("HEAD %q %s: %v", key, s, err)
		return
	}
	out, err := c.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Errorf("GET %q %s: %v", key, s, err)
		return
	}
	defer out.Body.Close()
	v := &verifier{want: body}
	_, err = io.Copy(v, out.Body)
	if err == nil {
		err = v.complete()
	}
	if err != nil {
		t.Errorf("GET %q %s: %v after %d of %d bytes", key, s, err, v.off, body.size)
	}
	if aws.ToString(head.ETag) != aws.ToString(out.ETag) || aws.ToInt64(head.ContentLength) != body.size {
		t.Errorf("%q %s: HEAD shows %d bytes, ETag %s; GET shows ETag %s", key, s, aws.ToInt64(head.ContentLength), aws.ToString(head.ETag), aws.ToString(out.ETag))
	}
	wanted := types.ServerSideEncryption("")
	switch s {
	case sseS3:
		wanted = types.ServerSideEncryptionAes256
	case sseKMS:
		wanted = types.ServerSideEncryptionAwsKms
	}
	if head.ServerSideEncryption != wanted {
		t.Errorf("HEAD %q: encryption %q, want %q", key, head.ServerSideEncryption, wanted)
	}
}

// coreSizes stores objects of sizes around the limits of the format.
func coreSizes(t *testing.T, c coreSide, bucket string) {
	want := map[string]int64{}
	for _, s := range c.schemes {
		for _, size := range []int64{0, 1, 64*kib - 1, 64 * kib, 64*kib + 1, mib - 1, mib, mib + 1, 16*mib + 1} {
			key := fmt.Sprintf("%s/%d", s.name(), size)
			body := content{hash(key), size}
			if c.put(t, bucket, key, s, body) {
				c.want(t, bucket, key, s, body)
				want[key] = size
			}
		}
	}
	if got := listSizes(t, c.client, bucket); !maps.Equal(got, want) {
		t.Errorf("LIST: %v, want %v", got, want)
	}
}

// coreRules writes under rules of a bucket, and without.
func coreRules(t *testing.T, c coreSide, bucket string) {
	if c.store == nil {
		return // stores need no rules
	}
	body := content{4, 100_000}
	for i, key := range []string{c.keyName, "", c.keyName} {
		setRule(t, c.client, bucket, key)
		s := sseS3
		if key != "" {
			s = sseKMS
		}
		for kind, parts := range map[string]bool{"single": false, "parts": true} {
			name := fmt.Sprintf("%s-%d", kind, i)
			if c.putAs(t, bucket, name, "", body, parts) {
				c.want(t, bucket, name, s, body)
			}
		}
	}
	if err := deleteRule(t, c.client, bucket); err != nil {
		t.Errorf("DeleteBucketEncryption: %v", err)
	}
	if c.put(t, bucket, "plain", "", body) {
		c.want(t, bucket, "plain", "", body)
	}
}

// coreRanges reads ranges of single PUTs and of multipart objects.
func coreRanges(t *testing.T, c coreSide, bucket string) {
	rnd := rand.New(rand.NewPCG(20261126, 1))
	for _, s := range c.schemes {
		for kind, body := range map[string]content{"single": {1, 200_001}, "parts": {2, 11*mib + 5}} {
			key := kind + "-" + s.name()
			if !c.putAs(t, bucket, key, s, body, kind == "parts") {
				continue
			}
			ranges := edgeRanges(body.size)
			for range 40 {
				ranges = append(ranges, randomRange(rnd, body.size))
			}
			var g errgroup.Group
			g.SetLimit(8)
			for _, want := range ranges {
				g.Go(func() error {
					out, err := c.client.GetObject(t.Context(), rangeRequest(bucket, key, s, want.header))
					if err != nil {
						return fmt.Errorf("%s: %w", want.header, err)
					}
					defer out.Body.Close()
					return want.check(body, out)
				})
			}
			if err := g.Wait(); err != nil {
				t.Errorf("%s: %v", key, err)
			}
			out, err := c.client.GetObject(t.Context(), rangeRequest(bucket, key, s, fmt.Sprintf("bytes=%d-", body.size)))
			if err == nil {
				out.Body.Close()
			}
			wantCode(t, err, "InvalidRange")
		}
	}
}
