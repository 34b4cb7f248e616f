package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssegw/kms"
	"ssegw/proxy/s3"
)

// Access says which operations a credential may use.
type Access uint8

const (
	AccessReadWrite Access = iota
	AccessRead             // GET, HEAD and OPTIONS
	AccessWrite            // writing and deleting objects, without their ACLs
)

// Credential is a key pair that clients sign with beside the root credential,
// and what it may do. The upstream's own policies apply too.
type Credential struct {
	AccessKey string
	SecretKey string
	Upstream  aws.CredentialsProvider // signs its requests to the upstream; nil: the gateway's own
	Access    Access
	Buckets   []string // names, or prefixes that end in *; nil: all
	KMSKeys   []string // KES keys, in the same way; nil: all

	root bool
}

// Format prints no secret, whatever the verb.
func (c Credential) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "proxy.Credential(%q)", c.AccessKey)
}

// credentialOf returns the credential of an access key.
func (s *Server) credentialOf(accessKey string) (*Credential, bool) {
	if accessKey == s.AccessKey {
		return s.root, true
	}
	if s.Credentials == nil {
		return nil, false
	}
	return s.Credentials(accessKey)
}

// caller is in whose name a request goes to the upstream. The zero value is the
// gateway itself.
type caller struct {
	anonymous   bool
	credentials aws.CredentialsProvider
	origin      *origin // nil: the store is not told
}

// isGateway reports whether the upstream takes the client for the gateway.
func (c caller) isGateway() bool { return !c.anonymous && c.credentials == nil }

// caller is the client, as the upstream is to see it.
func (c *reader) caller() caller {
	if c.credential == nil {
		return caller{anonymous: true, origin: c.origin()}
	}
	return caller{credentials: c.credential.Upstream, origin: c.origin()}
}

// ownRules are the operations on rules, which upstream policies know nothing of.
var ownRules = []s3.Action{"PutBucketEncryption", "DeleteBucketEncryption"}

// objectWrites are the operations that a credential for writing may use. Others
// change who may read what, or how a bucket behaves.
var objectWrites = []s3.Action{
	s3.PutObject, s3.PostObject, s3.DeleteObject, s3.DeleteObjects, "PutObjectTagging", "DeleteObjectTagging",
	s3.CreateMultipartUpload, s3.UploadPart, s3.CompleteMultipartUpload, s3.AbortMultipartUpload,
}

// grantsAccess reports whether the headers of a write ask for an ACL under which
// others than its owner and the bucket's may read or write the object.
func grantsAccess(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(strings.ToLower(name), "x-amz-grant-") {
			return true
		}
	}
	acl := h.Get("X-Amz-Acl")
	return acl != "" && !slices.Contains([]string{"private", "bucket-owner-read", "bucket-owner-full-control"}, acl)
}

// authorize finds the client's credential and checks its limits. Anonymous
// clients have none: the upstream's policies decide.
func (c *call) authorize() error {
	if c.auth.Anonymous() {
		c.credential = nil
		return nil
	}
	credential, ok := c.credentialOf(c.auth.AccessKey())
	if !ok {
		return s3.ErrAccessDenied // taken away since its signature was verified
	}
	c.credential = credential
	reads := slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, c.in.Method)
	source := c.req.CopySource
	switch {
	case credential.Access == AccessRead && !reads,
		credential.Access == AccessWrite && (!slices.Contains(objectWrites, c.req.Route.Action) || grantsAccess(c.req.Header)),
		!credential.allowsBucket(c.req.Bucket),
		source != nil && !credential.allowsBucket(source.Bucket),
		!credential.root && slices.Contains(ownRules, c.req.Route.Action):
		return s3.ErrAccessDenied
	}
	return nil
}

// allowsBucket reports whether a bucket may be named; "" stands for the list of all.
func (c *Credential) allowsBucket(name string) bool {
	return c.Buckets == nil || name != "" && matches(c.Buckets, name)
}

// checkKMSKey refuses KES keys that the client's credential must not use.
func (c *reader) checkKMSKey(name string) error {
	if c.credential == nil || c.credential.KMSKeys == nil || matches(c.credential.KMSKeys, name) {
		return nil
	}
	return fmt.Errorf("%w: credential %q, key %q", kms.ErrNotAllowed, c.credential.AccessKey, name)
}

// matches reports whether one of the patterns is name or, ending in *, its start.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, isPrefix := strings.CutSuffix(p, "*")
		return p == name || isPrefix && strings.HasPrefix(name, prefix)
	})
}
