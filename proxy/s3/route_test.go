package s3

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// newRequest returns a request as a server receives it for the raw target.
func newRequest(t testing.TB, method, target string, header ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// headersFor returns the headers that op needs in addition to its URL.
func headersFor(name string) []string {
	switch Action(name) {
	case CopyObject, UploadPartCopy:
		return []string{HeaderCopySource, "src/key"}
	case PostObject:
		return []string{"Content-Type", "multipart/form-data; boundary=x"}
	}
	return nil
}

// url returns the operation's URL in path style with the given query keys.
func (op apiOperation) url(extra ...string) string {
	path, fixed, _ := strings.Cut(op.target, "?")
	switch op.name {
	case "ListBuckets", "ListDirectoryBuckets", "WriteGetObjectResponse":
	default:
		path = "/bkt" + path
	}
	var query []string
	if fixed != "" {
		query = append(query, fixed)
	}
	for _, k := range slices.Concat(strings.Fields(op.required), extra) {
		query = append(query, k+"=1")
	}
	query = append(query, "x-id="+op.name)
	return path + "?" + strings.Join(query, "&")
}

func TestEveryOperationOfTheModelIsARoute(t *testing.T) {
	t.Parallel()
	for _, op := range apiOperations {
		extra := []string{}
		want := Action(op.name)
		if op.name == "ListDirectoryBuckets" {
			extra = append(extra, "max-directory-buckets")
		}
		for _, optional := range append([]string{""}, strings.Fields(op.optional)...) {
			q := slices.Clone(extra)
			if optional != "" && !slices.Contains(q, optional) {
				q = append(q, optional)
			}
			r, err := Parse(newRequest(t, op.method, op.url(q...), headersFor(op.name)...), nil)
			if err != nil {
				t.Errorf("%s %s: %v", op.method, op.url(q...), err)
				continue
			}
			if r.Route.Action != want {
				t.Errorf("%s %s is %s, want %s", op.method, op.url(q...), r.Route.Action, want)
			}
			if optional != "" && r.Query.Get(optional) != "1" {
				t.Errorf("%s: lost parameter %s", op.name, optional)
			}
		}
	}
}

func TestRoutesAreTheModelAndThreeMore(t *testing.T) {
	t.Parallel()
	var got, want []string
	for _, r := range Routes() {
		got = append(got, string(r.Action))
	}
	for _, op := range apiOperations {
		want = append(want, op.name)
	}
	want = append(want, string(PostObject), string(Preflight), string(Preflight))
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRoutesAreUnambiguous(t *testing.T) {
	t.Parallel()
	seen := map[string]Action{}
	for _, r := range Routes() {
		q := slices.Sorted(slices.Values(r.Query))
		id := r.Method + " " + r.Level.String() + " " + strings.Join(q, "&")
		if r.CopySource {
			id += " copy"
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s are both %s", r.Action, other, id)
		}
		seen[id] = r.Action
		for _, k := range r.Optional {
			if slices.Contains(r.Query, k) {
				t.Errorf("%s: %s is needed and optional", r.Action, k)
			}
		}
		if readOnly := r.Method == "GET" || r.Method == "HEAD" || r.Method == "OPTIONS" || r.Action == "SelectObjectContent"; readOnly == r.Write {
			t.Errorf("%s: Write is %v", r.Action, r.Write)
		}
	}
}

func TestClassesOfTheDesign(t *testing.T) {
	t.Parallel()
	want := map[Class]string{
		Seal:    "PutObject PostObject CreateMultipartUpload UploadPart UploadPartCopy CompleteMultipartUpload CopyObject",
		Unseal:  "GetObject HeadObject GetObjectAttributes",
		Rewrite: "ListObjects ListObjectsV2 ListObjectVersions ListParts ListMultipartUploads AbortMultipartUpload ListBuckets",
		Own:     "GetBucketEncryption PutBucketEncryption DeleteBucketEncryption UpdateObjectEncryption",
		Refuse: "PutBucketReplication SelectObjectContent GetObjectTorrent WriteGetObjectResponse CreateSession RenameObject ListDirectoryBuckets " +
			"PutObjectAnnotation GetObjectAnnotation ListObjectAnnotations DeleteObjectAnnotation",
	}
	got := map[Class][]string{}
	for _, r := range Routes() {
		if r.Class != Forward {
			got[r.Class] = append(got[r.Class], string(r.Action))
		}
	}
	for class, names := range want {
		slices.Sort(got[class])
		if d := cmp.Diff(slices.Sorted(slices.Values(strings.Fields(names))), got[class]); d != "" {
			t.Errorf("class %s: %s", class, d)
		}
	}
}

func TestRequestsThatAreNoPlainOperation(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method, target string
		header         []string
		want           string // action, or error code
	}{
		// Sub-resources that other servers take for the plain operation.
		{"PUT", "/bkt/k?encryption", nil, "UpdateObjectEncryption"},
		{"PUT", "/bkt/k?renameObject", nil, "RenameObject"},
		{"PUT", "/bkt/k?annotation", nil, "PutObjectAnnotation"},
		{"DELETE", "/bkt/k?annotation", nil, "DeleteObjectAnnotation"},
		{"DELETE", "/bkt/k?retention", nil, "MethodNotAllowed"},
		{"DELETE", "/bkt/k?legal-hold", nil, "MethodNotAllowed"},
		{"DELETE", "/bkt/k?acl", nil, "MethodNotAllowed"},
		{"DELETE", "/bkt/k?attributes", nil, "MethodNotAllowed"},
		{"DELETE", "/bkt?ownershipControls", nil, "DeleteBucketOwnershipControls"},
		{"DELETE", "/bkt?publicAccessBlock", nil, "DeletePublicAccessBlock"},
		{"DELETE", "/bkt?versioning", nil, "MethodNotAllowed"},
		{"DELETE", "/bkt?object-lock", nil, "MethodNotAllowed"},
		{"DELETE", "/bkt?versions", nil, "MethodNotAllowed"},
		{"DELETE", "/bkt?legal-hold", nil, "NotImplemented"},
		{"DELETE", "/bkt?someday", nil, "NotImplemented"},
		{"GET", "/bkt/k?versions", nil, "InvalidRequest"},
		{"GET", "/bkt?attributes", nil, "NotImplemented"},
		{"GET", "/bkt/k?encryption", nil, "MethodNotAllowed"},
		{"GET", "/bkt/k?uploads", nil, "InvalidRequest"},
		{"HEAD", "/bkt/k?acl", nil, "MethodNotAllowed"},
		{"HEAD", "/bkt?acl", nil, "MethodNotAllowed"},
		{"PUT", "/bkt/k?attributes", nil, "MethodNotAllowed"},
		{"PUT", "/bkt/k?uploads", nil, "MethodNotAllowed"},
		{"PUT", "/bkt/k?append&position=0", nil, "NotImplemented"},
		{"PUT", "/bkt/k?versionId=1", nil, "NotImplemented"},
		{"PUT", "/bkt/k?X-Ignored=1", nil, "PutObject"},
		{"POST", "/bkt/k?tagging", nil, "MethodNotAllowed"},
		{"GET", "/bkt?events=x", nil, "NotImplemented"},
		{"GET", "/bkt/k?lambdaArn=x", nil, "NotImplemented"},
		// Sub-resources are recognised by their exact names.
		{"PUT", "/bkt/k?Tagging", nil, "NotImplemented"},
		{"PUT", "/bkt/k?%74agging", nil, "PutObjectTagging"},
		{"PUT", "/bkt/k?tagging=x", nil, "PutObjectTagging"},
		{"PUT", "/bkt/k?tagging&acl", nil, "InvalidArgument"},
		{"GET", "/bkt/k?uploadId=1&partNumber=1", nil, "InvalidArgument"},
		// Incomplete multipart requests.
		{"PUT", "/bkt/k?uploadId=1", nil, "MethodNotAllowed"},
		{"PUT", "/bkt/k?partNumber=1", nil, "InvalidArgument"},
		{"POST", "/bkt/k", nil, "MethodNotAllowed"},
		// Empty values that some stores treat as absent parameters.
		{"DELETE", "/bkt/k?uploadId=", nil, "NoSuchUpload"},
		{"DELETE", "/bkt/k?versionId", nil, "InvalidArgument"},
		{"PUT", "/bkt/k?uploadId=1&partNumber=", nil, "InvalidArgument"},
		{"DELETE", "/bkt?analytics&id=", nil, "InvalidArgument"},
		{"GET", "/bkt?list-type=1", nil, "InvalidArgument"},
		// Copy sources.
		{"PUT", "/bkt/k", []string{HeaderCopySource, "src/k"}, "CopyObject"},
		{"PUT", "/bkt/k", []string{HeaderCopySource, ""}, "CopyObject"}, // with a CopySourceErr
		{"PUT", "/bkt/k?partNumber=1&uploadId=u", []string{HeaderCopySource, "src/k"}, "UploadPartCopy"},
		{"PUT", "/bkt/k?X-Amz-Copy-Source=src%2Fk", nil, "CopyObject"},
		{"PUT", "/bkt/k?acl", []string{HeaderCopySource, "src/k"}, "InvalidArgument"},
		{"PUT", "/bkt", []string{HeaderCopySource, "src/k"}, "InvalidArgument"},
		{"GET", "/bkt/k", []string{HeaderCopySource, "src/k"}, "InvalidArgument"},
		{"PUT", "/bkt/k", []string{HeaderCopySource, "src/k", HeaderCopySource, "src/l"}, "InvalidArgument"},
		// Forms and other POSTs.
		{"POST", "/bkt", []string{"Content-Type", "multipart/form-data; boundary=b"}, "PostObject"},
		{"POST", "/bkt/", []string{"Content-Type", "Multipart/Form-Data; boundary=b"}, "PostObject"},
		{"POST", "/bkt", []string{"Content-Type", "application/json"}, "PreconditionFailed"},
		{"POST", "/bkt/k", []string{"Content-Type", "multipart/form-data; boundary=b"}, "MethodNotAllowed"},
		{"POST", "/bkt?delete", []string{"Content-Type", "multipart/form-data; boundary=b"}, "DeleteObjects"},
		{"POST", "/WriteGetObjectResponse", nil, "WriteGetObjectResponse"},
		{"GET", "/WriteGetObjectResponse", nil, "InvalidBucketName"},
		{"POST", "/", nil, "MethodNotAllowed"},
		// Methods.
		{"OPTIONS", "/bkt/k?uploadId=&partNumber=1&whatever", nil, "Preflight"},
		{"OPTIONS", "/", nil, "MethodNotAllowed"},
		{"TRACE", "/bkt/k", nil, "MethodNotAllowed"},
		{"PATCH", "/bkt/k", nil, "MethodNotAllowed"},
		{"get", "/bkt/k", nil, "MethodNotAllowed"},
		{"HEAD", "/", nil, "MethodNotAllowed"},
		{"DELETE", "/", nil, "MethodNotAllowed"},
		{"PUT", "/", nil, "MethodNotAllowed"},
		// Forms of URLs that clients send.
		{"GET", "/bkt/?location=", nil, "GetBucketLocation"},
		{"GET", "/bkt/?versions=&metadata=true", nil, "ListObjectVersions"},
		{"GET", "/bkt?lifecycle&withUpdatedAt=true", nil, "GetBucketLifecycleConfiguration"},
		{"GET", "/bkt/", nil, "ListObjects"},
		{"GET", "/?x-id=ListBuckets", nil, "ListBuckets"},
		{"GET", "/?max-directory-buckets=3", nil, "ListDirectoryBuckets"},
		// Presigned requests: signatures of version 2, and headers that SDKs
		// move into the query.
		{"GET", "/bkt/k?AWSAccessKeyId=a&Expires=1&Signature=s", nil, "GetObject"},
		{"GET", "/bkt/k?Expires=1&Signature=s", nil, "NotImplemented"},
		{"PUT", "/bkt/k?X-Amz-Signature=s&Content-Type=a&Cache-Control=b&Content-MD5=c", nil, "PutObject"},
		{"PUT", "/bkt/k?AWSAccessKeyId=a&content-type=a&content-md5=c", nil, "PutObject"},
		{"PUT", "/bkt/k?X-Amz-Signature=s&Content-Type=a&content-type=a", nil, "InvalidArgument"},
		{"PUT", "/bkt/k?X-Amz-Signature=s&Content-Type=a", []string{"Content-Type", "a"}, "PutObject"},
		{"PUT", "/bkt/k?X-Amz-Signature=s&Content-Type=a", []string{"Content-Type", "b"}, "PutObject"},
		{"PUT", "/bkt/k?X-Amz-Signature=s&X-Amz-SignedHeaders=content-type%3Bhost&Content-Type=a", []string{"Content-Type", "b"}, "InvalidArgument"},
		{"PUT", "/bkt/k?AWSAccessKeyId=a&Content-Type=a", []string{"Content-Type", "b"}, "InvalidArgument"},
		{"PUT", "/bkt/k?X-Amz-Signature=s&Content-MD5=a", []string{"Content-Md5", "b"}, "InvalidArgument"},
		{"GET", "/bkt/k?X-Amz-Signature=s&Range=a&If-Match=b&If-None-Match=c&If-Modified-Since=d&If-Unmodified-Since=e", nil, "GetObject"},
		{"GET", "/bkt/k?AWSAccessKeyId=a&Range=a&If-Match=b&If-None-Match=c&If-Modified-Since=d&If-Unmodified-Since=e", nil, "GetObject"},
		{"GET", "/bkt/k?X-Amz-Signature=s&Range=a", []string{"Range", "b"}, "InvalidArgument"},
		{"GET", "/bkt/k?Range=a", nil, "NotImplemented"},
		{"PUT", "/bkt/k?X-Amz-Signature=s&Content-Type=a%0Ab", nil, "InvalidArgument"},
		{"GET", "/bkt/k?X-Amz-Signature=s&X-Amz-SignedHeaders=host%3Brange&range=bytes%3D0-1", nil, "GetObject"},
		{"GET", "/bkt/k?X-Amz-Signature=s&X-Amz-SignedHeaders=host&if-range=x", nil, "NotImplemented"},
		{"PUT", "/bkt/k?Content-Type=a", nil, "NotImplemented"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			if got := outcome(Parse(newRequest(t, tt.method, tt.target, tt.header...), nil)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// outcome returns the action or the error code of a parsed request.
func outcome(r *Request, err error) string {
	var e *Error
	switch {
	case err == nil:
		return string(r.Route.Action)
	case errors.As(err, &e):
		return e.Code
	default:
		return "not an *Error: " + err.Error()
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	limits := map[Action]int64{}
	for _, r := range Routes() {
		limits[r.Action] = r.BodyLimit()
	}
	for action, want := range map[Action]int64{
		PutObject: 0, PutBucketEncryption: 1 << 20, "PutBucketPolicy": 1 << 20, DeleteObjects: 4 << 20, CompleteMultipartUpload: 4 << 20,
	} {
		if got, ok := limits[action]; !ok || got != want {
			t.Errorf("%s: limit %d, want %d", action, got, want)
		}
	}
}
