package proxy

import (
	"net/http"
	"slices"

	"ssegw/proxy/s3"
)

// authorize finds the client's credential and checks its limits. Anonymous
// clients have no limits here: the store's policies decide.
func authorize(c *call) error {
	if c.auth.Anonymous() {
		c.credential = nil
		return nil
	}
	credential, ok := c.gw.credentialOf(c.auth.AccessKey())
	if !ok {
		return s3.ErrAccessDenied // revoked since its signature was verified
	}
	c.credential = credential
	reads := slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, c.in.Method)
	source := c.req.CopySource
	switch {
	case credential.Access == AccessRead && !reads,
		credential.Access == AccessWrite && (!slices.Contains(objectWrites, c.req.Route.Action) || s3.GrantsAccess(c.req.Header)),
		!credential.allowsBucket(c.req.Bucket),
		source != nil && !credential.allowsBucket(source.Bucket),
		!credential.root && slices.Contains(ruleWrites, c.req.Route.Action):
		return s3.ErrAccessDenied
	}
	return nil
}

// ruleWrites are the operations on bucket rules. The store's policies do not
// cover them, so they need the root credential.
var ruleWrites = []s3.Action{"PutBucketEncryption", "DeleteBucketEncryption"}

// objectWrites are the operations that a credential with AccessWrite may use.
// All other writes change who may read what, or how a bucket behaves.
var objectWrites = []s3.Action{
	s3.PutObject, s3.PostObject, s3.DeleteObject, s3.DeleteObjects, "PutObjectTagging", "DeleteObjectTagging",
	s3.CreateMultipartUpload, s3.UploadPart, s3.CompleteMultipartUpload, s3.AbortMultipartUpload,
}
