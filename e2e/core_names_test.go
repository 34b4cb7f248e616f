package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// coreListings lists the same objects in several ways.
func coreListings(t *testing.T, c coreSide, bucket string) {
	want := map[string]int64{}
	for i := range 25 {
		key, s := fmt.Sprintf("dir-%d/%02d", i%3, i), c.schemes[i%len(c.schemes)]
		if c.put(t, bucket, key, s, content{uint64(i), int64(i * 1000)}) {
			want[key] = int64(i * 1000)
		}
	}
	for i, s := range c.schemes {
		key := fmt.Sprintf("parts/%d", i)
		if c.putAs(t, bucket, key, s, content{uint64(i), 5*mib + int64(i)}, true) {
			want[key] = 5*mib + int64(i)
		}
	}
	for name, list := range map[string]func(max int32) (map[string]int64, error){
		"v1": func(n int32) (map[string]int64, error) { return c.listV1(t, bucket, n) },
		"v2": func(n int32) (map[string]int64, error) { return c.listV2(t, bucket, n) },
	} {
		for _, n := range []int32{1000, 7} {
			if got, err := list(n); err != nil || !maps.Equal(got, want) {
				t.Errorf("%s, %d a page: %v, error %v; want %v", name, n, got, err, want)
			}
		}
	}
	out := must(c.client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Delimiter: aws.String("/")}))(t)
	var prefixes []string
	for _, p := range out.CommonPrefixes {
		prefixes = append(prefixes, aws.ToString(p.Prefix))
	}
	if !slices.Equal(prefixes, []string{"dir-0/", "dir-1/", "dir-2/", "parts/"}) || len(out.Contents) != 0 {
		t.Errorf("with a delimiter: %q, %d objects", prefixes, len(out.Contents))
	}
	after := must(c.client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, StartAfter: aws.String("dir-2/99")}))(t)
	if len(after.Contents) != len(c.schemes) {
		t.Errorf("after dir-2/99: %d objects, want %d", len(after.Contents), len(c.schemes))
	}
}

func (c coreSide) listV1(t *testing.T, bucket string, n int32) (map[string]int64, error) {
	sizes := map[string]int64{}
	in := &s3.ListObjectsInput{Bucket: &bucket, MaxKeys: &n}
	for {
		out, err := c.client.ListObjects(t.Context(), in)
		if err != nil {
			return nil, err
		}
		for _, o := range out.Contents {
			sizes[aws.ToString(o.Key)] = aws.ToInt64(o.Size)
			in.Marker = o.Key
		}
		if !aws.ToBool(out.IsTruncated) || len(out.Contents) == 0 {
			return sizes, nil
		}
	}
}

func (c coreSide) listV2(t *testing.T, bucket string, n int32) (map[string]int64, error) {
	sizes := map[string]int64{}
	pages := s3.NewListObjectsV2Paginator(c.client, &s3.ListObjectsV2Input{Bucket: &bucket, MaxKeys: &n})
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		if err != nil {
			return nil, err
		}
		for _, o := range out.Contents {
			sizes[aws.ToString(o.Key)] = aws.ToInt64(o.Size)
		}
	}
	return sizes, nil
}

// oddKeys are object keys that need care in URLs, signatures and documents.
var oddKeys = []string{
	"a b", "a+b", "a%b", "100%25", "ü", "日本語/キー", "\U0001f680", "a&b=c", "a?b#c", "a'b\"c", "<a>", "a//b", "dir/", "./a", "a/../b", ".", "..",
	"_a", "-", "~", "a:b", "a;b", "a,b", "a@b", "a$b", "a*b", "a!b", "(a)", "[a]", "{a}", "a|b", "a\\b", "a^b", "a`b", " a", "a ", "a\tb", "a\nb", "a\u00a0b",
	strings.Repeat("k", 255), strings.Repeat("k", 256), strings.Repeat("x/", 400), strings.Repeat("ü", 500),
}

// coreKeys writes, reads, lists and deletes objects under odd keys. The gateway
// takes and shows the keys that the store takes and shows under the same name,
// except those that are not a path, and folders if the store keeps no metadata
// with them.
func coreKeys(t *testing.T, c coreSide, bucket string) {
	s := c.schemes[len(c.schemes)-1]
	taken := c.putKeys(t, bucket, s, oddKeys)
	got := listSizes(t, c.client, bucket)
	if c.store != nil {
		c.wantKeysOfStore(t, bucket, taken, keys(got))
	}
	for key := range got {
		if _, err := c.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
			t.Errorf("DELETE %q: %v", key, err)
		}
	}
	if got := listSizes(t, c.client, bucket); len(got) != 0 {
		t.Errorf("LIST after all deletes: %q", keys(got))
	}
}

// wantKeysOfStore compares the keys that the gateway took and shows with what
// the store does with them.
func (c coreSide) wantKeysOfStore(t *testing.T, bucket string, taken, shown []string) {
	t.Helper()
	reference, store := bucket+"-reference", coreSide{client: c.store}
	makeBucket(t, c.store, reference)
	store.putKeys(t, reference, "", taken)
	if want := keys(listSizes(t, c.store, reference)); !slices.Equal(shown, want) {
		t.Errorf("LIST: %q\nwant %q", shown, want)
	}
	for _, key := range oddKeys {
		elements := strings.Split(key, "/")
		if slices.Contains(taken, key) || strings.HasSuffix(key, "/") || slices.Contains(elements, ".") || slices.Contains(elements, "..") {
			continue
		}
		if len(store.putKeys(t, reference, "", []string{key})) == 0 {
			continue
		}
		if _, kept := listSizes(t, c.store, reference)[key]; kept {
			t.Errorf("%q is refused, and the store takes it", key)
		}
	}
}

// putKeys writes and reads an object under each of the keys and returns those
// that are taken. Others must be refused with a 4xx error.
func (c coreSide) putKeys(t *testing.T, bucket string, s scheme, keys []string) (taken []string) {
	t.Helper()
	for i, key := range keys {
		body := content{uint64(i), int64(100 + i)}
		err := (sdkClient{c.client, c.keyName}).put(t.Context(), bucket, key, s, body)
		if err == nil {
			taken = append(taken, key)
			c.want(t, bucket, key, s, body)
		} else if status := statusOf(err); status < 400 || status >= 500 {
			t.Errorf("PUT %q: %v", key, err)
		}
	}
	return taken
}

// metadataCases are user metadata by name. Only some stores keep those after
// the first four.
var metadataCases = []struct {
	name     string
	metadata map[string]string
}{
	{"none", map[string]string{}},
	{"short", map[string]string{"colour": "blue"}},
	{"dash", map[string]string{"a-b-c": "x"}},
	{"many", map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5", "f": "6", "g": "7", "h": "8"}},
	{"underscore", map[string]string{"a_b": "x"}},
	{"dot", map[string]string{"a.b": "x"}},
	{"200", map[string]string{"long": strings.Repeat("m", 200)}},
	{"256", map[string]string{"long": strings.Repeat("m", 256)}},
	{"257", map[string]string{"long": strings.Repeat("m", 257)}},
	{"1000", map[string]string{"long": strings.Repeat("m", 1000)}},
	{"spaces", map[string]string{"a": "x  y"}},
	{"utf-8", map[string]string{"a": "Größe"}},
	{"encoded", map[string]string{"a": "=?UTF-8?Q?Gr=C3=B6=C3=9Fe?="}},
}

const alwaysKept = 4

// keptName returns a function that gives the name under which the store keeps
// user metadata: some replace underscores by hyphens.
func keptName(t *testing.T, c coreSide, bucket string) func(string) string {
	t.Helper()
	key := "probe"
	_ = must(c.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Metadata: map[string]string{"a_b": "x"}}))(t)
	head := must(c.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key}))(t)
	if head.Metadata["a-b"] == "" {
		return func(name string) string { return name }
	}
	return func(name string) string { return strings.ReplaceAll(name, "_", "-") }
}

// coreMetadata writes content headers and user metadata. With a sealed object
// they come back as they were written, or the write is refused. Names come back
// as those of plaintext objects do.
func coreMetadata(t *testing.T, c coreSide, bucket string) {
	kept := keptName(t, c, bucket)
	for _, s := range c.schemes {
		for i, m := range metadataCases {
			t.Run(m.name+"-"+s.name(), func(t *testing.T) {
				key, body := m.name+"-"+s.name(), content{70, 1000}
				in := c.write(&s3.PutObjectInput{
					Bucket: &bucket, Key: &key, Body: body.reader(), Metadata: m.metadata, ContentType: aws.String("image/png"), CacheControl: aws.String("no-cache"),
					ContentDisposition: aws.String("inline"), ContentLanguage: aws.String("de"), ContentEncoding: aws.String("gzip"),
				}, s)
				if _, err := c.client.PutObject(t.Context(), in); err != nil {
					if status := statusOf(err); i < alwaysKept || s != "" && (status < 400 || status >= 500) {
						t.Errorf("PUT: %v", err)
					}
					return
				}
				c.want(t, bucket, key, s, body)
				head := must(c.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key}))(t)
				if got := []string{aws.ToString(head.ContentType), aws.ToString(head.CacheControl), aws.ToString(head.ContentDisposition), aws.ToString(head.ContentLanguage), aws.ToString(head.ContentEncoding)}; !slices.Equal(got, []string{"image/png", "no-cache", "inline", "de", "gzip"}) {
					t.Errorf("content headers %q", got)
				}
				same := func(a, b string) bool { return decoded(a) == decoded(b) }
				want := map[string]string{}
				for name, value := range m.metadata {
					want[kept(name)] = value
				}
				if (s != "" || i < alwaysKept) && !maps.EqualFunc(head.Metadata, want, same) {
					t.Errorf("metadata %q", head.Metadata)
				}
			})
		}
	}
}
