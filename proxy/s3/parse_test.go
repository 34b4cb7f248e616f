package s3

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 512)
	tests := []struct {
		target, bucket, key, code string
	}{
		{"/bkt", "bkt", "", ""},
		{"/bkt/", "bkt", "", ""},
		{"/bkt/k", "bkt", "k", ""},
		{"/bkt/dir/", "bkt", "dir/", ""},
		{"/bkt//lead", "bkt", "/lead", ""},
		{"/bkt/dbl//slash", "bkt", "dbl//slash", ""},
		{"/bkt//", "bkt", "/", ""},
		{"/bkt/a%2Fb", "bkt", "a/b", ""},
		{"/bkt%2Fk", "bkt", "k", ""},
		{"/bkt/%2525", "bkt", "%25", ""},
		{"/bkt/a+b%20c%2Bd", "bkt", "a+b c+d", ""},
		{"/bkt/a%5Cb", "bkt", `a\b`, ""},
		{"/bkt/~*'()!", "bkt", "~*'()!", ""},
		{"/bkt/a;b=c,d:e@f&g$", "bkt", "a;b=c,d:e@f&g$", ""},
		{"/bkt/%3Fquery%23hash", "bkt", "?query#hash", ""},
		{"/bkt/%F0%9F%98%80", "bkt", "😀", ""},
		{"/bkt/e%CC%81", "bkt", "e\u0301", ""},
		{"/bkt/%C3%A9", "bkt", "\u00e9", ""},
		{"/bkt/%01%7F", "bkt", "\x01\x7f", ""},
		{"/bkt/...", "bkt", "...", ""},
		{"/bkt/.hidden/a..b", "bkt", ".hidden/a..b", ""},
		{"/bkt/" + url.PathEscape(long), "bkt", long, ""},
		{"/bkt/" + url.PathEscape(long+"x"), "", "", "KeyTooLongError"},
		{"/probe-bsign-9f8a6b5c4d3e2f1a0b9c8d7e6f5/", "probe-bsign-9f8a6b5c4d3e2f1a0b9c8d7e6f5", "", ""},

		{"/bkt/a%00b", "", "", "InvalidURI"},
		{"/bkt/%FF", "", "", "InvalidURI"},
		{"/bkt/%C3", "", "", "InvalidURI"},
		{"/bkt/../other/k", "", "", "InvalidURI"},
		{"/bkt/%2e%2e/other/k", "", "", "InvalidURI"},
		{"/bkt/..%2fother%2fk", "", "", "InvalidURI"},
		{"/bkt/a/./b", "", "", "InvalidURI"},
		{"/bkt/.", "", "", "InvalidURI"},
		{"/bkt/a/..", "", "", "InvalidURI"},
		{"//bkt/k", "", "", "InvalidBucketName"},
		{"//", "", "", "InvalidBucketName"},
		{"/../bkt/k", "", "", "InvalidBucketName"},
		{"/metrics%2f..%2fbkt/k", "", "", "InvalidURI"},
		{"/ab/k", "", "", "InvalidBucketName"},
		{"/" + strings.Repeat("b", 64), "", "", "InvalidBucketName"},
		{"/Bucket/k", "", "", "InvalidBucketName"},
		{"/buc_ket/k", "", "", "InvalidBucketName"},
		{"/-bucket/k", "", "", "InvalidBucketName"},
		{"/bucket./k", "", "", "InvalidBucketName"},
		{"/buc..ket/k", "", "", "InvalidBucketName"},
		{"/192.168.0.1/k", "", "", "InvalidBucketName"},
		{"/buck%00et/k", "", "", "InvalidBucketName"},
		{"/b%C3%BCcket/k", "", "", "InvalidBucketName"},
	}
	for _, tt := range tests {
		t.Run(tt.target[:min(len(tt.target), 60)], func(t *testing.T) {
			r, err := Parse(newRequest(t, "GET", tt.target), nil)
			if tt.code != "" {
				if got := outcome(r, err); got != tt.code {
					t.Fatalf("got %s, want %s", got, tt.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Bucket != tt.bucket || r.Key != tt.key {
				t.Fatalf("got %q %q, want %q %q", r.Bucket, r.Key, tt.bucket, tt.key)
			}
			if r.VirtualHost || strings.TrimSuffix(r.Path, "/") != strings.TrimSuffix("/"+r.Bucket+"/"+r.Key, "/") {
				t.Errorf("path %q, virtual host %v", r.Path, r.VirtualHost)
			}
			again, err := Parse(newRequest(t, "GET", EscapePath(r.Bucket, r.Key)), nil)
			if err != nil || again.Bucket != r.Bucket || again.Key != r.Key {
				t.Errorf("not the same through EscapePath: %+v %v", again, err)
			}
		})
	}
}

func TestParseHost(t *testing.T) {
	t.Parallel()
	domains := []string{"s3.local", "Sub.S3.local", ".dot.example."}
	tests := []struct {
		host, target, bucket, key string
		virtual                   bool
	}{
		{"s3.local", "/bkt/k", "bkt", "k", false},
		{"s3.local:9000", "/bkt/k", "bkt", "k", false},
		{"other.example", "/bkt/k", "bkt", "k", false},
		{"[::1]:9000", "/bkt/k", "bkt", "k", false},
		{"bkt.s3.local", "/k", "bkt", "k", true},
		{"bkt.s3.local:9000", "/dir//k", "bkt", "dir//k", true},
		{"bkt.s3.local", "/", "bkt", "", true},
		{"bkt.s3.local", "//lead", "bkt", "/lead", true},
		{"BKT.S3.LOCAL", "/K", "bkt", "K", true},
		{"my.bkt.s3.local.", "/k", "my.bkt", "k", true},
		{"bkt.sub.s3.local", "/k", "bkt", "k", true},
		{"sub.s3.local", "/bkt/k", "bkt", "k", false},
		{"bkt.dot.example", "/k", "bkt", "k", true},
		{"xs3.local", "/bkt/k", "bkt", "k", false},
	}
	for _, tt := range tests {
		t.Run(tt.host+tt.target, func(t *testing.T) {
			hr := newRequest(t, "GET", tt.target)
			hr.Host = tt.host
			r, err := Parse(hr, domains)
			if err != nil {
				t.Fatal(err)
			}
			if r.Bucket != tt.bucket || r.Key != tt.key || r.VirtualHost != tt.virtual {
				t.Errorf("got %q %q %v", r.Bucket, r.Key, r.VirtualHost)
			}
			if want, _ := url.PathUnescape(tt.target); r.Path != want {
				t.Errorf("path %q, want %q", r.Path, want)
			}
		})
	}
	hr := newRequest(t, "GET", "/k")
	hr.Host = "-bad.s3.local"
	if got := outcome(Parse(hr, domains)); got != "InvalidBucketName" {
		t.Errorf("bad bucket in host: %s", got)
	}
}

func TestParseQueryAndHeaders(t *testing.T) {
	t.Parallel()
	r, err := Parse(newRequest(t, "PUT", "/bkt/k?partNumber=7&uploadId=a%2Bb%26c"+
		"&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=c&X-Amz-Date=d&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=s"+
		"&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&x-id=UploadPart&x-note=hi&x-amz-meta-Colour=dark%20red&X-Amz-Server-Side-Encryption=aws%3Akms",
		"Connection", "x-amz-meta-kept, close", "X-Amz-Meta-Kept", "1", "X-Amz-Meta-Two", "a", "X-Amz-Meta-Two", "b",
		"X-Amz-Server-Side-Encryption", "aws:kms"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(url.Values{"partNumber": {"7"}, "uploadId": {"a+b&c"}}, r.Query); d != "" {
		t.Error(d)
	}
	if len(r.SignedQuery) != 13 || r.SignedQuery.Get("X-Amz-Signature") != "s" || r.SignedQuery.Get("x-note") != "hi" {
		t.Errorf("signed query: %v", r.SignedQuery)
	}
	want := http.Header{
		"Connection": {"x-amz-meta-kept, close"}, "X-Amz-Meta-Kept": {"1"}, "X-Amz-Meta-Two": {"a,b"},
		"X-Amz-Server-Side-Encryption": {"aws:kms"}, "X-Amz-Meta-Colour": {"dark red"},
	}
	if d := cmp.Diff(want, r.Header); d != "" {
		t.Error(d)
	}
}

func TestParseLeavesTheRequestAlone(t *testing.T) {
	t.Parallel()
	hr := newRequest(t, "PUT", "/bkt/k?x-amz-acl=private", "X-Amz-Meta-A", "1", "X-Amz-Meta-A", "2")
	before, query := hr.Header.Clone(), hr.URL.RawQuery
	r, err := Parse(hr, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Meta-A", "changed")
	if d := cmp.Diff(before, hr.Header); d != "" || hr.URL.RawQuery != query {
		t.Errorf("%s %s", d, hr.URL.RawQuery)
	}
}

func TestParseRefusesQueriesAndHeaders(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, query string
		header      []string
		code        string
	}{
		{"duplicate", "versionId=1&versionId=1", nil, "InvalidArgument"},
		{"duplicate, encoded", "versionId=1&version%49d=2", nil, "InvalidArgument"},
		{"duplicate of an ignored one", "x-id=1&x-id=2", nil, "InvalidArgument"},
		{"duplicate signature parameter", "X-Amz-Signature=1&X-Amz-Signature=2", nil, "InvalidArgument"},
		{"semicolon", "versionId=1;acl", nil, "InvalidURI"},
		{"bad escape", "versionId=%zz", nil, "InvalidURI"},
		{"too many", strings.Repeat("x-a&", 64) + "x-b", nil, "InvalidArgument"},
		{"key not UTF-8", "%ff=1", nil, "InvalidArgument"},
		{"value not UTF-8", "versionId=%ff", nil, "InvalidArgument"},
		{"moved header contradicts", "x-amz-meta-a=1", []string{"X-Amz-Meta-A", "2"}, "InvalidArgument"},
		{"moved header contradicts one of two", "x-amz-meta-a=1", []string{"X-Amz-Meta-A", "1", "X-Amz-Meta-A", "2"}, "InvalidArgument"},
		{"moved headers contradict", "x-amz-meta-a=1&X-Amz-Meta-A=2", nil, "InvalidArgument"},
		{"moved header with a bad name", "x-amz-meta-a%0d%0ab=1", nil, "InvalidArgument"},
		{"moved header with a bad value", "x-amz-meta-a=1%0d%0aEvil:1", nil, "InvalidArgument"},
		{"two SSE headers", "", []string{HeaderSSE, "AES256", HeaderSSE, "aws:kms"}, "InvalidArgument"},
		{"two ranges", "", []string{"Range", "bytes=0-1", "Range", "bytes=2-3"}, "InvalidArgument"},
		{"two attribute lists", "", []string{HeaderObjectAttributes, "ETag", HeaderObjectAttributes, "ObjectSize"}, "GetObject"},
		{"the same in header and query", "x-amz-meta-a=1", []string{"X-Amz-Meta-A", "1"}, "GetObject"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := outcome(Parse(newRequest(t, "GET", "/bkt/k?"+tt.query, tt.header...), nil)); got != tt.code {
				t.Errorf("got %s, want %s", got, tt.code)
			}
		})
	}
}

func TestParseOddTargets(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "*", "bkt/k"} {
		hr := newRequest(t, "GET", "/")
		hr.URL = &url.URL{Path: path}
		if got := outcome(Parse(hr, nil)); got != "InvalidURI" {
			t.Errorf("%q: %s", path, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("GET", "/bkt/a%2Fb", "list-type=2", "s3.local", "")
	f.Add("PUT", "//k", "partNumber=1&uploadId=%20", "bkt.s3.local:9", "src/k?versionId=1")
	f.Add("PUT", "/bkt/%25/../x", "x-amz-meta-a=1&x-id=2", "", "/src/%ff")
	f.Fuzz(func(t *testing.T, method, path, query, host, source string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || strings.Contains(path, "?") {
			return
		}
		u.RawQuery = query
		hr := &http.Request{Method: method, URL: u, Host: host, Header: http.Header{}}
		if source != "" {
			hr.Header.Set(HeaderCopySource, source)
		}
		r, err := Parse(hr, []string{"s3.local"})
		if err != nil {
			if outcome(r, err) == "InternalError" || strings.HasPrefix(outcome(r, err), "not") {
				t.Fatal(err)
			}
			return
		}
		if r.Route.CopySource != (r.CopySource != nil || r.CopySourceErr != nil) || r.CopySource != nil && r.CopySourceErr != nil {
			t.Fatalf("%s has the source %v, %v", r.Route.Action, r.CopySource, r.CopySourceErr)
		}
		if r.Bucket == "" {
			return
		}
		escaped, err := url.ParseRequestURI(EscapePath(r.Bucket, r.Key))
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(&http.Request{Method: "GET", URL: escaped}, nil)
		if err != nil || again.Bucket != r.Bucket || again.Key != r.Key || (r.Key != "") != (r.Route.Level == Object) {
			t.Fatalf("%q %q became %+v, %v", r.Bucket, r.Key, again, err)
		}
		for k := range r.Query {
			if len(r.Query[k]) != 1 {
				t.Fatalf("%s has %d values", k, len(r.Query[k]))
			}
		}
	})
}
