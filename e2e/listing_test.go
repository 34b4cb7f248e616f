package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// Number of objects that TestListingRequests lists.
const (
	listedSingles    = 1000 // sealed objects, one page
	listedMultiparts = 3    // sealed
	listedPlain      = 5
)

// listedEntry is what every listing shows of an object.
type listedEntry struct {
	Key, ETag, Checksums string
	Size                 int64
}

// listOperations list the objects below a prefix on one page.
var listOperations = map[string]func(context.Context, *s3.Client, string) ([]listedEntry, error){
	"version 1": func(ctx context.Context, c *s3.Client, prefix string) (entries []listedEntry, err error) {
		out, err := c.ListObjects(ctx, &s3.ListObjectsInput{Bucket: aws.String(sealedBucket), Prefix: &prefix})
		if err != nil {
			return nil, err
		}
		return listedObjects(out.Contents), nil
	},
	"version 2": func(ctx context.Context, c *s3.Client, prefix string) (entries []listedEntry, err error) {
		out, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(sealedBucket), Prefix: &prefix})
		if err != nil {
			return nil, err
		}
		return listedObjects(out.Contents), nil
	},
	"versions": func(ctx context.Context, c *s3.Client, prefix string) (entries []listedEntry, err error) {
		out, err := c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: aws.String(sealedBucket), Prefix: &prefix})
		if err != nil {
			return nil, err
		}
		for _, o := range out.Versions {
			entries = append(entries, listedEntry{aws.ToString(o.Key), aws.ToString(o.ETag), fmt.Sprint(o.ChecksumAlgorithm, o.ChecksumType), aws.ToInt64(o.Size)})
		}
		return entries, nil
	},
}

func listedObjects(objects []types.Object) (entries []listedEntry) {
	for _, o := range objects {
		entries = append(entries, listedEntry{aws.ToString(o.Key), aws.ToString(o.ETag), fmt.Sprint(o.ChecksumAlgorithm, o.ChecksumType), aws.ToInt64(o.Size)})
	}
	return entries
}

// TestListingRequests counts the cost of listing 1,000 sealed objects, in all
// three operations. It is one request to the store if the gateway knows the
// objects, one more if it does not and the store lists metadata, and one per
// object elsewhere. There, a replica that starts after another has stopped knows
// what that one knew. KES hangs meanwhile, because no listing needs it.
func TestListingRequests(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		counter := must(r.stack.StartCounter(r.store.Endpoint, ""))(t)
		g := r.faultGateway(t, counter.Endpoint, nil)
		writer := sdkOf(t, g)
		setRule(t, writer, sealedBucket, "")
		want := fillListing(t, writer, r.direct(t))
		var last *stack.Gateway
		operations := maps.Clone(listOperations)
		if !may(t, "versions") {
			delete(operations, "versions")
		}
		for name, list := range operations {
			listing := listingCost{r, counter, list}
			listing.cost(t, name+", by the writer", writer, "single/", want["single/"], 2) // the gateway does not know the time of the empty object yet
			listing.cost(t, name+", by the writer again", writer, "single/", want["single/"], 1)

			last = must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: g}))(t)
			fresh, document := keepDocument(sdkOf(t, last))
			single, mixed := 2, 1+listedMultiparts // the gateway knows by then that the store lists metadata, and asks at once
			switch {
			case r.name != stack.StoreMinIO:
				single, mixed = 2+listedSingles, 1+listedMultiparts+listedPlain
			case name == "version 1":
				mixed++ // it has no metadata
			}
			listing.cost(t, name+", at first", fresh, "single/", want["single/"], single)
			listing.cost(t, name+", of other objects", fresh, "mixed/", want["mixed/"], mixed)
			first := document()
			listing.cost(t, name+", again", fresh, "single/", want["single/"], 1)
			listing.cost(t, name+", of other objects again", fresh, "mixed/", want["mixed/"], 1)
			if again := document(); again != first {
				t.Errorf("%s: first\n%s\nand again\n%s", name, first, again)
			}
		}
		if strings.HasSuffix(t.Name(), "minio") {
			return // it lists metadata, so nothing is kept
		}
		if err := last.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		restarted := sdkOf(t, must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: g}))(t))
		for name, list := range operations {
			listing := listingCost{r, counter, list}
			listing.cost(t, name+", after a restart", restarted, "single/", want["single/"], 1)
			listing.cost(t, name+", of other objects after a restart", restarted, "mixed/", want["mixed/"], 1)
		}
	})
}

// listingCost is a listing whose requests are counted.
type listingCost struct {
	*rig
	counter *stack.Counter
	list    func(context.Context, *s3.Client, string) ([]listedEntry, error)
}

// cost lists once, without KES and with at most the given number of requests to
// the store.
func (l listingCost) cost(t *testing.T, what string, client *s3.Client, prefix string, want []listedEntry, requests int) {
	t.Helper()
	l.counter.Reset()
	if err := l.kes.Pause(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	got, err := l.list(t.Context(), client, prefix)
	took := time.Since(start)
	if err := l.kes.Continue(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if prefix == "single/" && requests == 1 {
		requests++ // for the empty object, which is new, at stores that list times in seconds
	}
	n := l.counter.Count("", "/"+sealedBucket)
	if n > requests {
		t.Errorf("%s took %d requests to the store, want at most %d", what, n, requests)
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d entries of %d", what, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: %+v, want %+v", what, got[i], want[i])
		}
	}
	t.Logf("%s of %d objects: %d requests to the store, %v", what, len(got), n, took.Round(time.Millisecond))
}

// keepDocument returns a client like the given one, and a function that returns
// the last document that it got.
func keepDocument(client *s3.Client) (*s3.Client, func() string) {
	k := &keeper{client: client.Options().HTTPClient}
	return s3.New(client.Options(), func(o *s3.Options) { o.HTTPClient = k }), func() string { return string(k.last) }
}

// keeper keeps the last document.
type keeper struct {
	client s3.HTTPClient
	last   []byte
}

func (k *keeper) Do(r *http.Request) (*http.Response, error) {
	resp, err := k.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	k.last, err = io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(k.last))
	return resp, err
}

// fillListing stores sealed objects, and others behind the gateway's back. It
// returns what listings must show, by prefix.
func fillListing(t *testing.T, client, direct *s3.Client) map[string][]listedEntry {
	t.Helper()
	want := map[string][]listedEntry{"single/": make([]listedEntry, listedSingles), "mixed/": make([]listedEntry, listedMultiparts)}
	work, ctx := errgroup.WithContext(t.Context())
	work.SetLimit(16)
	put := func(client *s3.Client, key string, size int) error {
		_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(sealedBucket), Key: &key, Body: bytes.NewReader(bytes.Repeat([]byte{'x'}, size))})
		return err
	}
	for i := range listedSingles {
		work.Go(func() (err error) {
			key := fmt.Sprintf("single/%04d", i)
			if err = put(client, key, 7*i); err == nil {
				want["single/"][i], err = headEntry(ctx, client, key)
			}
			return err
		})
	}
	uploads := transfermanager.New(client, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold = 5*mib, 5*mib
	})
	for i := range listedMultiparts {
		work.Go(func() error {
			key := fmt.Sprintf("mixed/by parts %d", i)
			_, err := uploads.UploadObject(ctx, &transfermanager.UploadObjectInput{
				Bucket: aws.String(sealedBucket), Key: &key, Body: content{uint64(i), 5*mib + int64(i) + 1}.reader(),
			})
			if err == nil {
				want["mixed/"][i], err = headEntry(ctx, client, key)
			}
			return err
		})
	}
	for i := range listedPlain {
		work.Go(func() error { return put(direct, fmt.Sprintf("mixed/plain %d", i), 7*i+1) })
	}
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	plain, err := listOperations["version 2"](t.Context(), direct, "mixed/plain")
	if err != nil {
		t.Fatal(err)
	}
	want["mixed/"] = append(want["mixed/"], plain...)
	return want
}

// headEntry returns the entry according to HEAD.
func headEntry(ctx context.Context, client *s3.Client, key string) (listedEntry, error) {
	out, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(sealedBucket), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return listedEntry{}, err
	}
	algorithm := ""
	for name, sum := range map[string]*string{"CRC32": out.ChecksumCRC32, "CRC64NVME": out.ChecksumCRC64NVME} {
		if sum != nil {
			algorithm += name
		}
	}
	return listedEntry{key, aws.ToString(out.ETag), fmt.Sprintf("[%s]%s", algorithm, out.ChecksumType), aws.ToInt64(out.ContentLength)}, nil
}
