package stack

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestStartStore starts the stores of several processes twice at the same time,
// and restarts them.
func TestStartStore(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: make e2e-all runs it")
	}
	for _, name := range []string{StoreCeph, StoreSwift} {
		for _, twin := range []string{"a", "b"} {
			t.Run(name+"/"+twin, func(t *testing.T) {
				t.Parallel()
				s, err := New(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if t.Failed() {
						t.Log(s.Logs(3000))
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}()
				begin := time.Now()
				st, err := s.StartStore(t.Context(), name, StoreOptions{})
				if missing := (*MissingError)(nil); errors.As(err, &missing) && os.Getenv("SSEGW_NO_SKIP") != "1" {
					t.Skip(err)
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s after %v", name, time.Since(begin))
				client := s3.New(SDKOptions(st.Endpoint, st.AccessKey, st.SecretKey))
				if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket-" + twin)}); err != nil {
					t.Fatal(err)
				}
				if err := st.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantBuckets(t.Context(), t, client, "bucket-"+twin)
			})
		}
	}
}

func wantBuckets(ctx context.Context, t *testing.T, client *s3.Client, name string) {
	t.Helper()
	out, err := client.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Buckets) != 1 || aws.ToString(out.Buckets[0].Name) != name {
		t.Errorf("%d buckets, want only %s", len(out.Buckets), name)
	}
}
