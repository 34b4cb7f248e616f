package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// A capability is something that tests need and not every store has.
type capability string

const (
	canConditions capability = "conditional writes"
	canRestart    capability = "restart by the tests"
	canTags       capability = "object tags"
	canVersions   capability = "versions"
)

// probes try the capabilities directly in a bucket of a store. They return an
// error if the store refuses what they try or does something else.
var probes = map[capability]func(ctx context.Context, r *rig, client *s3.Client, bucket *string) error{
	canConditions: func(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
		put := func(name, value string) error {
			_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("condition")}, withHeaders(map[string]string{name: value}))
			return err
		}
		if err := put("if-none-match", "*"); err != nil {
			return err
		}
		if put("if-none-match", "*") == nil {
			return errors.New("If-None-Match is ignored")
		}
		if put("if-match", "\"00000000000000000000000000000000\"") == nil {
			return errors.New("If-Match is ignored")
		}
		const etag = "d41d8cd98f00b204e9800998ecf8427e" // of the empty object
		if put("if-match", `"`+etag+`"`) == nil {
			return nil
		}
		return put("if-match", etag) // as Ceph compares it
	},
	canRestart: func(_ context.Context, r *rig, _ *s3.Client, _ *string) error {
		if r.store.Service == nil {
			return errors.New("the tests did not start the store")
		}
		return nil
	},
	canTags: func(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
		key := aws.String("tagged")
		if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Tagging: aws.String("a=b")}); err != nil {
			return err
		}
		out, err := client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: key})
		if err == nil && len(out.TagSet) != 1 {
			err = errors.New("the tag is lost")
		}
		return err
	},
	canVersions: func(ctx context.Context, _ *rig, client *s3.Client, bucket *string) error {
		if _, err := client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
		}); err != nil {
			return err
		}
		out, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("version")})
		if err == nil && aws.ToString(out.VersionId) == "" {
			err = errors.New("no version ID")
		}
		return err
	},
}

// lacking tries all capabilities and returns the errors of those that the store
// lacks.
func lacking(t *testing.T, r *rig) map[capability]error {
	t.Helper()
	lacks := make(map[capability]error)
	for c, try := range probes {
		client := r.direct(t) // with its own connections: Swift closes one that it refused a body on
		bucket := bucketName("probe-" + strings.ToLower(rand.Text()[:12]))
		makeBucket(t, client, bucket)
		if err := try(t.Context(), r, client, &bucket); err != nil {
			lacks[c] = err
		}
	}
	return lacks
}

var update = flag.Bool("update", false, "write the skips of the chosen stores into testdata/skips.txt")

// TestSkips compares the list of skips with what each store can do, so that no
// other test is skipped and a gained capability is used.
func TestSkips(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	for _, name := range storesOf(allStores[:4]...) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			long(t)
			lacks := lacking(t, newRigOn(t, name))
			for c, err := range lacks {
				t.Logf("no %s: %v", c, err)
			}
			want := skipsOf(name, func(c capability) bool { return lacks[c] == nil })
			t.Logf("%d of %d tests are skipped", len(want), len(suite))
			if name == external {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			var got []string
			for full, c := range listedSkips(t) {
				if _, store := splitName(full); store == name {
					got = append(got, full+": "+string(c))
				}
			}
			slices.Sort(got)
			if *update {
				updateSkips(t, got, want)
			} else if !slices.Equal(got, want) {
				t.Errorf("%s lists\n%s\nwant\n%s", skipsFile, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// updateSkips replaces lines of the list of skips.
func updateSkips(t *testing.T, old, lines []string) {
	t.Helper()
	var head []string
	for line := range strings.Lines(string(must(os.ReadFile(skipsFile))(t))) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
			head = append(head, line)
		case line != "" && !slices.Contains(old, line):
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	if err := os.WriteFile(skipsFile, []byte(strings.Join(append(head, lines...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}
