package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"ssegw/e2e/stack"
)

// sealedPackage is the stored length of 64 KiB of plaintext.
const sealedPackage = 64<<10 + 32

// stored is an object as the store returns it.
type stored struct {
	body         []byte
	metadata     map[string]string
	contentType  string
	cacheControl string
}

// headerName is the user metadata that holds a sealed object's header.
const headerName = "ssegw"

func (o stored) clone() stored {
	o.body, o.metadata = bytes.Clone(o.body), maps.Clone(o.metadata)
	return o
}

func load(t *testing.T, direct *s3.Client, bucket, key string) stored {
	t.Helper()
	out, err := direct.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	return stored{
		must(io.ReadAll(out.Body))(t), out.Metadata, aws.ToString(out.ContentType), aws.ToString(out.CacheControl),
	}
}

func (o stored) save(t *testing.T, direct *s3.Client, bucket, key string) {
	t.Helper()
	in := &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: bytes.NewReader(o.body), Metadata: o.metadata, ContentType: &o.contentType,
	}
	if o.cacheControl != "" {
		in.CacheControl = &o.cacheControl
	}
	if _, err := direct.PutObject(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

// Expected results of reading a changed object.
const (
	readable  = ""                         // the bytes are untouched
	tampered  = "XSsegwObjectNotAuthentic" // refused before the first byte
	cutOff    = "cut off"                  // the connection breaks in the middle
	notSealed = "AccessDenied"             // refused because it is plaintext
)

// tamperings are changes that a store may make to an object, and the results of
// GET and HEAD. other is another sealed object with the same size and headers.
var tamperings = []struct {
	name      string
	change    func(o *stored, other stored)
	get, head string
}{
	{"nothing", func(*stored, stored) {}, readable, readable},
	{"first-package", func(o *stored, _ stored) { o.body[100] ^= 1 }, tampered, readable},
	{"first-byte", func(o *stored, _ stored) { o.body[0] ^= 1 }, tampered, readable},
	{"later-package", func(o *stored, _ stored) { o.body[3*sealedPackage+7] ^= 1 }, cutOff, readable},
	{"last-byte", func(o *stored, _ stored) { o.body[len(o.body)-1] ^= 1 }, cutOff, readable},
	{"packages-swapped", func(o *stored, _ stored) {
		fourth := bytes.Clone(o.body[3*sealedPackage : 4*sealedPackage])
		copy(o.body[3*sealedPackage:], o.body[4*sealedPackage:5*sealedPackage])
		copy(o.body[4*sealedPackage:], fourth)
	}, cutOff, readable},
	{"package-of-another", func(o *stored, other stored) {
		copy(o.body[3*sealedPackage:4*sealedPackage], other.body[3*sealedPackage:])
	}, cutOff, readable},
	{"body-of-another", func(o *stored, other stored) { o.body = other.body }, tampered, readable},
	{"cut-by-a-byte", func(o *stored, _ stored) { o.body = o.body[:len(o.body)-1] }, tampered, tampered},
	{"cut-at-a-package", func(o *stored, _ stored) { o.body = o.body[:2*sealedPackage] }, tampered, tampered},
	{"cut-to-nothing", func(o *stored, _ stored) { o.body = nil }, tampered, tampered},
	{"appended", func(o *stored, _ stored) { o.body = append(o.body, 0) }, tampered, tampered},
	{"a-package-twice", func(o *stored, _ stored) { o.body = append(o.body, o.body[sealedPackage:2*sealedPackage]...) }, tampered, tampered},
	{"whole-other-object", func(o *stored, other stored) { *o = other.clone() }, tampered, tampered},
	{"header-of-another", func(o *stored, other stored) { o.metadata[headerName] = other.metadata[headerName] }, tampered, tampered},
	{"header-changed", func(o *stored, _ stored) {
		h := []byte(o.metadata[headerName])
		h[len(h)/2] = map[bool]byte{true: 'B', false: 'A'}[h[len(h)/2] == 'A']
		o.metadata[headerName] = string(h)
	}, tampered, tampered},
	{"header-cut", func(o *stored, _ stored) { o.metadata[headerName] = o.metadata[headerName][:20] }, tampered, tampered},
	{"header-stripped", func(o *stored, _ stored) { delete(o.metadata, headerName) }, notSealed, notSealed},
	{"replaced-by-plaintext", func(o *stored, _ stored) { *o = stored{body: []byte("plain"), contentType: "text/plain"} }, notSealed, notSealed},
	{"content-type", func(o *stored, _ stored) { o.contentType = "text/html" }, tampered, tampered},
	{"cache-control", func(o *stored, _ stored) { o.cacheControl = "max-age=1" }, tampered, tampered},
	{"metadata-changed", func(o *stored, _ stored) { o.metadata["colour"] = "red" }, tampered, tampered},
	{"metadata-added", func(o *stored, _ stored) { o.metadata["size"] = "big" }, tampered, tampered},
	{"metadata-removed", func(o *stored, _ stored) { delete(o.metadata, "colour") }, tampered, tampered},
}

// TestTampering changes sealed objects in the store. It reads them through a
// gateway that has seen them before, and through one that has not.
func TestTampering(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", nil)
		replica := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: g}))(t)
		client, direct := sdkOf(t, g), r.direct(t)
		body := content{seed: 120, size: 5*64*kib + 1000}
		putColoured(t, client, sealedBucket, "other", content{seed: 121, size: body.size})
		other := load(t, direct, sealedBucket, "other")
		for _, change := range tamperings {
			t.Run(change.name, func(t *testing.T) {
				key := change.name
				putColoured(t, client, sealedBucket, key, body)
				o := load(t, direct, sealedBucket, key)
				change.change(&o, other)
				o.save(t, direct, sealedBucket, key)
				for _, c := range []*s3.Client{client, sdkOf(t, replica)} {
					wantRead(t, c, sealedBucket, key, body, change.get)
					wantHead(t, c, sealedBucket, key, change.head)
				}
			})
		}
		t.Run("ranges", func(t *testing.T) { wantRangesAround(t, client, "later-package", body) })
		t.Run("copies", func(t *testing.T) { wantCopiesRefused(t, g, direct, body) })
		t.Run("listing", func(t *testing.T) {
			if n := len(listSizes(t, client, sealedBucket)); n < len(tamperings) {
				t.Errorf("LIST shows %d objects", n)
			}
		})
	})
}

func putColoured(t *testing.T, client *s3.Client, bucket, key string, body content) {
	t.Helper()
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: body.reader(), ContentType: aws.String("text/plain"),
		Metadata: map[string]string{"colour": "blue"},
	}); err != nil {
		t.Fatal(err)
	}
}

// wantRead reads an object. It expects its content, an error, or a correct
// beginning of the content followed by a broken connection.
func wantRead(t *testing.T, client *s3.Client, bucket, key string, body content, want string) {
	t.Helper()
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		if want == readable || want == cutOff {
			t.Errorf("GET: %v", err)
			return
		}
		wantCode(t, err, want)
		return
	}
	defer out.Body.Close()
	v := &verifier{want: body}
	_, err = io.Copy(v, out.Body)
	switch {
	case errors.Is(err, errDiffers):
		t.Errorf("GET: wrong bytes after %d right ones", v.off)
	case want == readable && (err != nil || v.complete() != nil):
		t.Errorf("GET: %v after %d bytes", err, v.off)
	case want == cutOff && err == nil:
		t.Errorf("GET: a clean end after %d bytes", v.off)
	case want != readable && want != cutOff:
		t.Errorf("GET: answered with %d bytes, want %s", v.off, want)
	}
}

// wantHead expects a HEAD to succeed, or to be refused with the status of a
// code.
func wantHead(t *testing.T, client *s3.Client, bucket, key, want string) {
	t.Helper()
	_, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	status := map[string]int{readable: 0, tampered: http.StatusInternalServerError, notSealed: http.StatusForbidden}[want]
	if got := statusOf(err); got != status || (err == nil) != (want == readable) {
		t.Errorf("HEAD: status %d, %v; want %s", got, err, want)
	}
}

// statusOf returns the HTTP status of an SDK's error, or 0.
func statusOf(err error) int {
	var answered *awshttp.ResponseError
	if errors.As(err, &answered) {
		return answered.HTTPStatusCode()
	}
	return 0
}

// wantRangesAround reads ranges of an object whose fourth package is changed.
// Ranges that touch it fail, and others succeed.
func wantRangesAround(t *testing.T, client *s3.Client, key string, body content) {
	for _, test := range []struct {
		header string
		fails  bool
	}{
		{"bytes=0-1000", false}, {fmt.Sprintf("bytes=0-%d", 3*64*kib-1), false}, {fmt.Sprintf("bytes=%d-", 4*64*kib), false},
		{"bytes=-1000", false}, {fmt.Sprintf("bytes=%d-%d", 3*64*kib, 3*64*kib), true},
		{fmt.Sprintf("bytes=%d-%d", 3*64*kib+100, 4*64*kib+100), true},
	} {
		out, err := client.GetObject(t.Context(), rangeRequest(sealedBucket, key, sseKMS, test.header))
		var got []byte
		if err == nil {
			got, err = io.ReadAll(out.Body)
			out.Body.Close()
		}
		if (err != nil) != test.fails {
			t.Errorf("%s: %d bytes, error %v", test.header, len(got), err)
		}
	}
}

// wantCopiesRefused copies sealed objects inside the store to another key and
// another bucket, with all their metadata. Reading the copies fails.
func wantCopiesRefused(t *testing.T, g *stack.Gateway, direct *s3.Client, body content) {
	client := sdkOf(t, g)
	second := bucketName("sealed2")
	makeBucket(t, client, second)
	setRule(t, client, second, g.KeyName)
	for _, to := range []struct{ bucket, key string }{{sealedBucket, "copy"}, {second, "nothing"}} {
		if _, err := direct.CopyObject(t.Context(), &s3.CopyObjectInput{
			Bucket: &to.bucket, Key: &to.key, CopySource: aws.String(sealedBucket + "/nothing"),
		}); err != nil {
			t.Fatal(err)
		}
		wantRead(t, client, to.bucket, to.key, body, tampered)
		wantHead(t, client, to.bucket, to.key, tampered)
	}
	// Stores edit headers by a copy onto itself.
	const key = "copied-onto-itself"
	putColoured(t, client, sealedBucket, key, body)
	o := load(t, direct, sealedBucket, key)
	if _, err := direct.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: aws.String(sealedBucket), Key: aws.String(key), CopySource: aws.String(sealedBucket + "/" + key),
		MetadataDirective: types.MetadataDirectiveReplace, Metadata: o.metadata, ContentType: aws.String("text/html"),
	}); err != nil {
		t.Fatal(err)
	}
	wantRead(t, client, sealedBucket, key, body, tampered)
	wantHead(t, client, sealedBucket, key, tampered)
}

// TestMigratingBucket checks that plaintext is readable in a bucket that had
// objects when it got its rule, and not in one that was empty.
func TestMigratingBucket(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", nil)
		client, direct := sdkOf(t, g), r.direct(t)
		body := content{seed: 122, size: 5000}
		plain := stored{body: bytesOf(t, body), contentType: "text/plain"}
		plain.save(t, direct, plainBucket, "before")
		setRule(t, client, plainBucket, g.KeyName)
		plain.save(t, direct, plainBucket, "after")
		plain.save(t, direct, sealedBucket, "after")
		for key, want := range map[string]string{plainBucket + "/before": readable, plainBucket + "/after": readable, sealedBucket + "/after": notSealed} {
			bucket, key, _ := strings.Cut(key, "/")
			wantRead(t, client, bucket, key, body, want)
			wantHead(t, client, bucket, key, want)
		}
	})
}

// TestStateTampering removes the gateways' own objects.
func TestStateTampering(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		g := r.faultGateway(t, "", nil)
		client, direct := sdkOf(t, g), r.direct(t)
		state := g.Env["SSEGW_STATE"]
		if got := keys(listSizes(t, direct, state)); !slices.Equal(got, []string{"root", "rules"}) {
			t.Fatalf("the state bucket holds %q", got)
		}
		remove := func(key string) stored {
			o := load(t, direct, state, key)
			if _, err := direct.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &state, Key: &key}); err != nil {
				t.Fatal(err)
			}
			return o
		}
		put := func(bucket string) error {
			_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("new"), Body: strings.NewReader("x")})
			return err
		}

		root := remove("root")
		wantNoStart(t, r, g, `holds "rules" but no root`)
		flipped := root.clone()
		flipped.body[len(flipped.body)-1] ^= 1
		flipped.save(t, direct, state, "root")
		wantNoStart(t, r, g, "the root in bucket "+state)
		root.save(t, direct, state, "root")

		rules := remove("rules")
		for _, bucket := range []string{sealedBucket, plainBucket} {
			eventually(t, "writes to "+bucket+" are refused", func() error {
				if err := put(bucket); statusOf(err) != http.StatusServiceUnavailable {
					return fmt.Errorf("PUT: %w", err)
				}
				return nil
			})
		}
		wantNoStart(t, r, g, "the rules in bucket "+state+" were deleted")
		flipped = rules.clone()
		flipped.body[len(flipped.body)-1] ^= 1
		flipped.save(t, direct, state, "rules")
		if err := put(sealedBucket); statusOf(err) != http.StatusServiceUnavailable {
			t.Errorf("PUT under changed rules: %v", err)
		}
		wantNoStart(t, r, g, "the stored document")
		rules.save(t, direct, state, "rules")
		for _, bucket := range []string{sealedBucket, plainBucket} {
			eventually(t, "writes to "+bucket+" work again", func() error { return put(bucket) })
		}
	})
}

// wantNoStart starts another gateway, which must exit with one line that names
// the reason.
func wantNoStart(t *testing.T, r *rig, like *stack.Gateway, reason string) {
	t.Helper()
	g, err := r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: like, WaitFor: stack.WaitReady})
	if !errors.Is(err, stack.ErrExited) {
		t.Errorf("the gateway did not end: %v", err)
		if err == nil {
			_ = g.Close()
		}
		return
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "ssegw: ") || !strings.Contains(last, reason) {
		t.Errorf("the gateway ends with %q, want %q in it", last, reason)
	}
}

// giveUp is how long tests wait for an expected event. It only matters to tests
// that fail: a busy machine may be slow.
const giveUp = 3 * time.Minute

// eventually polls until f returns nil.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), giveUp)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, giveUp, err)
		case <-tick.C:
		}
	}
}
