package s3

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCopySource(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want *CopySource
		code string
	}{
		{"src/key", &CopySource{Bucket: "src", Key: "key"}, ""},
		{"/src/key", &CopySource{Bucket: "src", Key: "key"}, ""},
		{"%2Fsrc%2Fkey", &CopySource{Bucket: "src", Key: "key"}, ""},
		{"src//key", &CopySource{Bucket: "src", Key: "/key"}, ""},
		{"src/a+b%20c%2B", &CopySource{Bucket: "src", Key: "a+b c+", Spaced: "a b c+"}, ""},
		{"%2Fsrc%2Fa+b?versionId=v+1", &CopySource{Bucket: "src", Key: "a+b", Spaced: "a b", VersionID: "v 1"}, ""},
		{"src/+", &CopySource{Bucket: "src", Key: "+", Spaced: " "}, ""},
		{"src/a%3FversionId=1", &CopySource{Bucket: "src", Key: "a?versionId=1"}, ""},
		{"src/k?versionId=v%2B1", &CopySource{Bucket: "src", Key: "k", VersionID: "v+1"}, ""},
		{"src/k?versionId=null", &CopySource{Bucket: "src", Key: "k", VersionID: "null"}, ""},
		{"src/héé", &CopySource{Bucket: "src", Key: "héé"}, ""},
		{"", nil, "InvalidArgument"},
		{"/", nil, "InvalidArgument"},
		{"src", nil, "InvalidArgument"},
		{"src/", nil, "InvalidArgument"},
		{"//src/k", nil, "InvalidArgument"},
		{"src/k%zz", nil, "InvalidArgument"},
		{"src/k?", nil, "InvalidArgument"},
		{"src/k?versionId=", nil, "InvalidArgument"},
		{"src/k?versionId=1&acl", nil, "InvalidArgument"},
		{"src/k?acl", nil, "InvalidArgument"},
		{"src/k?versionId=1%0d%0a", nil, "InvalidArgument"},
		{"http://169.254.169.254/src/k", nil, "InvalidArgument"},
		{"HTTPS%3A//host/k", nil, "InvalidArgument"},
		{"arn:aws:s3:us-east-1:1:accesspoint/ap/object/k", nil, "NotImplemented"},
		{"src/../state/k", nil, "InvalidArgument"},
		{"src/%2e%2e/k", nil, "InvalidArgument"},
		{"../state/k", nil, "InvalidArgument"},
		{"Src/k", nil, "InvalidArgument"},
		{"src/%00", nil, "InvalidArgument"},
		{"src/%ff", nil, "InvalidArgument"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseCopySource(tt.in)
			if tt.code != "" {
				if code := outcome(&Request{}, err); code != tt.code {
					t.Fatalf("got %q, want %s", code, tt.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzCopySource(f *testing.F) {
	for _, s := range []string{"src/key", "/src/a%20b?versionId=1", "src/%2525", "arn:aws:s3:::x", "src/a?b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCopySource(s)
		if err != nil {
			return
		}
		if CheckBucket(c.Bucket) != nil || CheckKey(c.Key) != nil || c.Spaced != "" && CheckKey(c.Spaced) != nil {
			t.Fatalf("accepted %q %q %q", c.Bucket, c.Key, c.Spaced)
		}
		again, err := ParseCopySource(c.String())
		c.Spaced = "" // the + is escaped
		if err != nil || *again != *c {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}
