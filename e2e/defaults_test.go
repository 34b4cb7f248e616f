package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"ssegw/e2e/stack"
)

// A usual is a client as most people use it: with its default settings, apart
// from endpoint, credentials, region, path style and certificate.
type usual struct {
	name  string
	https bool // the client frames bodies differently over https, so the test uses both
	run   func(t *testing.T, s *site)
}

var usuals = []usual{
	{"aws-sdk-go-v2", true, useSDK},
	{"minio-go", true, useMinioGo},
	{"mc", true, useMC},
	{"mc-versions", false, useMCVersions},
	{"aws-sdk-js", true, useJS},
	{"aws-sdk-js-v2", true, useJS2},
	{"aws-cli", true, useAWS},
	{"boto3", true, useBoto3},
	{"samtools", false, useSamtools},
	{"rclone", false, useRclone},
	{"s3cmd", false, useS3cmd},
	{"restic", false, useRestic},
	{"s3fs", false, useS3FS},
}

// kinds are the buckets that each client works in. The value is the scheme of
// objects stored there, as in Amazon's header.
var kinds = map[string]string{"plain": "", "SSE-S3": "AES256", "SSE-KMS": "aws:kms"}

// A site is one bucket behind one gateway, for one client.
type site struct {
	*rig
	gw       *stack.Gateway
	upstream *stack.Counter // between gateway and store
	sdk      *s3.Client     // a client of another replica, to compare
	kind     string         // a key of kinds
	bucket   string         // made by the client
}

// TestDefaults uses each client in each kind of bucket. Every client makes its
// bucket, and stores, reads, lists, copies and deletes objects. Then the test
// examines the bucket with another client through another replica, and directly
// in the store.
func TestDefaults(t *testing.T) {
	t.Parallel()
	// Ceph runs a part by default, see wanted.
	onStores(t, func(t *testing.T, r *rig) {
		upstream := must(r.stack.StartCounter(r.store.Endpoint, ""))(t)
		for _, transport := range []string{"http", "https"} {
			g := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{
				KES: []*stack.KES{r.kes}, Upstream: r.store, UpstreamEndpoint: upstream.Endpoint, TLS: transport == "https",
			}))(t)
			replica := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: g}))(t)
			for kind := range kinds {
				for _, u := range usuals {
					if !u.wanted(r.name, transport, kind) {
						continue
					}
					name := transport + "/" + u.name + "/" + kind
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						requireListed(t)
						if transport == "https" || kind != "SSE-KMS" || r.name != stack.StoreMinIO {
							long(t)
						}
						bucket := bucketName(strings.ToLower(fmt.Sprintf("%s-%s-%s", u.name, kind, transport)))
						u.run(t, &site{r, g, upstream, sdkOf(t, replica), kind, bucket})
					})
				}
			}
		}
	}, stack.StoreCeph)
}

// wanted leaves out combinations that test nothing new: https if it changes
// nothing, and on versitygw all except one kind of bucket. Unless
// SSEGW_E2E_STORES names Ceph, it only has the clients that are most used there.
func (u usual) wanted(store, transport, kind string) bool {
	switch {
	case transport == "https":
		return u.https && store == stack.StoreMinIO
	case store == stack.StoreVersitygw:
		return kind == "SSE-KMS"
	case store == stack.StoreCeph && os.Getenv("SSEGW_E2E_STORES") == "":
		return kind == "SSE-KMS" && slices.Contains([]string{"aws-cli", "mc", "rclone", "restic", "s3cmd"}, u.name)
	}
	return true
}

// installed returns the paths of the programs of that name, or skips the test.
// There are several if the system's and a newer one are installed.
func installed(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	var files []fs.FileInfo
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := exec.LookPath(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		file := must(os.Stat(path))(t) // two folders may be the same
		if !slices.ContainsFunc(files, func(f fs.FileInfo) bool { return os.SameFile(f, file) }) {
			found, files = append(found, path), append(files, file)
		}
	}
	if len(found) == 0 {
		skip(t, name+" is not installed")
	}
	return found
}

// program returns an installed program that runs with the variables of env.
func (s *site) program(t *testing.T, path string, env map[string]string) *shellOf {
	t.Helper()
	return &shellOf{t, must(s.stack.NewProgram(path, env))(t)}
}

// shellOf runs a program for a test. The test ends if the program fails.
type shellOf struct {
	t *testing.T
	*stack.Program
}

func (p *shellOf) run(args ...string) string {
	p.t.Helper()
	return must(p.Run(p.t.Context(), args...))(p.t)
}

// pipe is run with an input.
func (p *shellOf) pipe(in io.Reader, args ...string) {
	p.t.Helper()
	if err := p.Stream(p.t.Context(), in, io.Discard, args...); err != nil {
		p.t.Fatal(err)
	}
}

// want runs a program that prints an object, and compares the output.
func (p *shellOf) want(body content, args ...string) {
	p.t.Helper()
	v := &verifier{want: body}
	if err := errors.Join(p.Stream(p.t.Context(), nil, v, args...), v.complete()); err != nil {
		p.t.Errorf("%v: %v", args, err)
	}
}

// wantRange is want for a range of the object.
func (p *shellOf) wantRange(body content, from, length int64, args ...string) {
	p.t.Helper()
	want := make([]byte, length)
	_ = must(body.ReadAt(want, from))(p.t)
	if got := p.run(args...); got != string(want) {
		p.t.Errorf("%v: %d bytes, and others than the %d from %d", args, len(got), length, from)
	}
}

// host returns the gateway's address without its scheme.
func (s *site) host() string {
	_, addr, _ := strings.Cut(s.gw.Endpoint, "://")
	return addr
}

// rule sets the bucket's rule if its kind has one.
func (s *site) rule(t *testing.T) {
	t.Helper()
	switch s.kind {
	case "SSE-S3":
		setRule(t, sdkOf(t, s.gw), s.bucket, "")
	case "SSE-KMS":
		setRule(t, sdkOf(t, s.gw), s.bucket, s.gw.KeyName)
	}
}

// during returns the requests to the bucket upstream that f causes.
func (s *site) during(f func()) []stack.Call {
	before := len(s.upstream.Calls())
	f()
	return slices.DeleteFunc(s.upstream.Calls()[before:], func(c stack.Call) bool {
		return !strings.HasPrefix(c.Path+"/", "/"+s.bucket+"/")
	})
}

// wantQuiet calls f and checks that it writes nothing to the bucket.
func (s *site) wantQuiet(t *testing.T, f func()) {
	t.Helper()
	calls := s.during(f)
	if len(calls) == 0 {
		t.Error("the bucket was not even looked at")
	}
	for _, c := range calls {
		if c.Method != http.MethodGet && c.Method != http.MethodHead {
			t.Errorf("nothing has changed, but it sends %s %s?%s, %d bytes", c.Method, c.Path, c.Query, c.In)
		}
	}
}

// wantServerSide calls f and checks that it copies without moving bodies.
func (s *site) wantServerSide(t *testing.T, f func()) {
	t.Helper()
	const most = 64 * kib
	for _, c := range s.during(f) {
		if c.In > most || c.Out > most {
			t.Errorf("a server-side copy moves %d and %d bytes with %s %s?%s", c.In, c.Out, c.Method, c.Path, c.Query)
		}
	}
}

// A tree is the content of a folder or a bucket: contents by slash-separated
// path.
type tree map[string]content

// newTree returns files whose sizes are around the limits of the format, and
// one that most clients send in parts.
func newTree(seed string) tree {
	out := make(tree)
	for name, size := range map[string]int64{
		"empty": 0, "one": 1, "dir/package": 64*kib + 1, "dir/deeper/mebibyte": mib + 1, "dir/name with ü & space+plus": 5000, "large": 17*mib + 5,
	} {
		out[name] = content{hash(seed + name), size}
	}
	return out
}

// below returns the tree as it appears inside a folder.
func (f tree) below(prefix string) tree {
	out := make(tree)
	for name, c := range f {
		out[prefix+name] = c
	}
	return out
}

// and merges two trees.
func (f tree) and(other tree) tree {
	out := maps.Clone(f)
	maps.Copy(out, other)
	return out
}

// write writes the files to a new folder. They are an hour old: programs that
// synchronise consider a file changed if it is younger than its object, whose
// time is in whole seconds.
func (f tree) write(t *testing.T) string {
	t.Helper()
	dir, old := t.TempDir(), time.Now().Add(-time.Hour)
	for name, c := range f {
		path := filepath.Join(dir, filepath.FromSlash(name))
		writeFile(t, path, c)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func writeFile(t *testing.T, path string, c content) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	file := must(os.Create(path))(t)
	_, err := io.Copy(file, c.reader())
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// wantIn fails the test unless the folder holds exactly these files.
func (f tree) wantIn(t *testing.T, dir string) {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := filepath.ToSlash(must(filepath.Rel(dir, path))(t))
		names = append(names, name)
		file := must(os.Open(path))(t)
		defer file.Close()
		if sumOf(file) != f[name].sum() {
			t.Errorf("%s has another content", name)
		}
		return nil
	})
	if want := slices.Sorted(maps.Keys(f)); err != nil || !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Errorf("%s holds %q, error %v\nwant %q", dir, names, err, want)
	}
}

// wantStored fails the test unless the bucket holds exactly these objects. It
// checks them like [site.stored].
func (s *site) wantStored(t *testing.T, want tree) {
	t.Helper()
	sums := s.stored(t)
	for key, c := range want {
		if sum, found := sums[key]; !found || sum != c.sum() {
			t.Errorf("%s is there: %v, and has another content or none", key, found)
		}
		delete(sums, key)
	}
	if len(sums) != 0 {
		t.Errorf("the bucket also holds %q", slices.Sorted(maps.Keys(sums)))
	}
}

// stored reads all objects of the bucket from both sides and returns their
// hashes. Each object must have the listed size and the bucket's scheme. Its
// bytes upstream must be the same in a plain bucket, and different in a sealed
// one.
func (s *site) stored(t *testing.T) map[string][sha256.Size]byte {
	t.Helper()
	direct, sums := s.direct(t), make(map[string][sha256.Size]byte)
	for key, size := range listSizes(t, s.sdk, s.bucket) {
		out := must(s.sdk.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &s.bucket, Key: &key}))(t)
		sums[key] = sumOf(out.Body)
		out.Body.Close()
		if got := string(out.ServerSideEncryption); got != kinds[s.kind] || aws.ToInt64(out.ContentLength) != size {
			t.Errorf("%s: encryption %q, %d bytes; want %q, %d", key, got, aws.ToInt64(out.ContentLength), kinds[s.kind], size)
		}
		under := must(direct.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &s.bucket, Key: &key}))(t)
		sum := sumOf(under.Body)
		under.Body.Close()
		if same := sum == sums[key]; size > 0 && same != (s.kind == "plain") {
			t.Errorf("%s: the store holds the very bytes: %v", key, same)
		}
	}
	if s.kind != "plain" {
		wantSealedUpstream(t, s.sdk, direct, s.bucket)
	}
	return sums
}

// wantGone fails the test unless the bucket has been deleted.
func (s *site) wantGone(t *testing.T) {
	t.Helper()
	_, err := s.sdk.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: &s.bucket})
	if statusOf(err) != http.StatusNotFound {
		t.Errorf("the bucket is still there, or HEAD fails: %v", err)
	}
}

// fetch reads a URL presigned by a client.
func (s *site) fetch(t *testing.T, url string, body content) {
	t.Helper()
	client := must(stack.HTTPClient(s.gw.CAFile))(t)
	defer client.CloseIdleConnections()
	resp := must(client.Get(url))(t)
	defer resp.Body.Close()
	v := &verifier{want: body}
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s %s", url, resp.Status, must(io.ReadAll(resp.Body))(t))
		return
	}
	if _, err := io.Copy(v, resp.Body); err != nil || v.complete() != nil {
		t.Errorf("%s: %v after %d of %d bytes", url, err, v.off, body.size)
	}
}
