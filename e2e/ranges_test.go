package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"
)

// byteRange is a Range header and the bytes it selects.
type byteRange struct {
	header     string
	first, end int64 // [first, end)
}

// randomRange returns a valid range of an object of size bytes (at least 1):
// bounded, open-ended, beyond the end, or a suffix.
func randomRange(rnd *rand.Rand, size int64) byteRange {
	first := rnd.Int64N(size)
	last := first + rnd.Int64N(size-first)
	if rnd.IntN(2) == 0 { // prefer short ranges at the edges of packages
		last = min(first+rnd.Int64N(200), size-1)
	}
	switch rnd.IntN(6) {
	case 0:
		return byteRange{fmt.Sprintf("bytes=%d-", first), first, size}
	case 1:
		n := 1 + rnd.Int64N(size)
		return byteRange{fmt.Sprintf("bytes=-%d", n), size - n, size}
	case 2:
		return byteRange{fmt.Sprintf("bytes=%d-%d", first, size+rnd.Int64N(size)), first, size}
	default:
		return byteRange{fmt.Sprintf("bytes=%d-%d", first, last), first, last + 1}
	}
}

// edgeRanges returns the ranges around the edges of 64 KiB packages.
func edgeRanges(size int64) []byteRange {
	var out []byteRange
	for _, first := range []int64{0, 1, 64*kib - 1, 64 * kib, 64*kib + 1, 128*kib - 1, size - 1} {
		for _, n := range []int64{1, 2, 64 * kib, 64*kib + 1} {
			end := min(first+n, size)
			out = append(out, byteRange{fmt.Sprintf("bytes=%d-%d", first, first+n-1), first, end})
		}
	}
	return append(out, byteRange{fmt.Sprintf("bytes=-%d", 2*size), 0, size}, byteRange{"bytes=0-", 0, size})
}

// TestRanges reads ranges byte-exact: the edges, and 500 random ones.
func TestRanges(t *testing.T) {
	t.Parallel()
	const seed, random = 20261123, 500
	r := newRig(t)
	gw := r.gateway(t, true)
	client := sdkOf(t, gw)
	const bucket = "ranges"
	makeBucket(t, client, bucket)
	rnd := rand.New(rand.NewPCG(seed, 1))

	bodies := []content{{seed: 1, size: 200_001}, {seed: 2, size: mib + 1}, {seed: 3, size: 20*mib + 12345}}
	schemes := []scheme{sseS3, sseKMS, sseC}
	for i, body := range bodies {
		s := schemes[i]
		t.Run(fmt.Sprintf("%s/%d", s, body.size), func(t *testing.T) {
			if err := (sdkClient{client, gw.KeyName}).put(t.Context(), bucket, string(s), s, body); err != nil {
				t.Fatal(err)
			}
			ranges := edgeRanges(body.size)
			for range random/len(bodies) + 1 {
				ranges = append(ranges, randomRange(rnd, body.size))
			}
			g, ctx := errgroup.WithContext(t.Context())
			g.SetLimit(8)
			for _, want := range ranges {
				g.Go(func() error {
					in := rangeRequest(bucket, string(s), s, want.header)
					out, err := client.GetObject(ctx, in)
					if err != nil {
						return fmt.Errorf("%s: %w", want.header, err)
					}
					defer out.Body.Close()
					return want.check(body, out)
				})
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func rangeRequest(bucket, key string, s scheme, header string) *s3.GetObjectInput {
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key, Range: &header}
	if s == sseC {
		in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = customerHeaders()
	}
	return in
}

// check compares an answer with the range of body.
func (r byteRange) check(body content, out *s3.GetObjectOutput) error {
	got, err := io.ReadAll(out.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", r.header, err)
	}
	want := make([]byte, r.end-r.first)
	if _, err := body.ReadAt(want, r.first); err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s of %d: %d bytes, want %d; or they differ", r.header, body.size, len(got), len(want))
	}
	header := fmt.Sprintf("bytes %d-%d/%d", r.first, r.end-1, body.size)
	if cr := aws.ToString(out.ContentRange); cr != header || aws.ToInt64(out.ContentLength) != int64(len(want)) {
		return fmt.Errorf("%s: Content-Range %q, want %q; Content-Length %d", r.header, cr, header, aws.ToInt64(out.ContentLength))
	}
	return nil
}

// TestRangesNotSatisfiable checks that ranges outside the plaintext are
// refused, even if the stored object is long enough.
func TestRangesNotSatisfiable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	gw := r.gateway(t, false)
	client := sdkOf(t, gw)
	const bucket = "ranges"
	makeBucket(t, client, bucket)
	for _, size := range []int64{0, 1, 70_000} {
		key := fmt.Sprint(size)
		body := content{seed: 9, size: size}
		if err := (sdkClient{client, gw.KeyName}).put(t.Context(), bucket, key, sseS3, body); err != nil {
			t.Fatal(err)
		}
		for _, header := range []string{fmt.Sprintf("bytes=%d-", size), fmt.Sprintf("bytes=%d-%d", size, size+10), "bytes=-0"} {
			out, err := client.GetObject(t.Context(), rangeRequest(bucket, key, sseS3, header))
			if err == nil {
				out.Body.Close()
			}
			wantCode(t, err, "InvalidRange")
		}
	}
}
