package proxy

import "ssegw/proxy/s3"

// operations are the operations that need code. All others of the table are
// forwarded or refused, as their class says.
var operations = map[s3.Action]func(*call) error{
	s3.PutObject:              (*call).putObject,
	s3.PostObject:             (*call).postObject,
	s3.GetObject:              (*call).getObject,
	s3.HeadObject:             (*call).headObject,
	s3.GetObjectAttributes:    (*call).getObjectAttributes,
	s3.DeleteObject:           (*call).deleteObject,
	s3.UpdateObjectEncryption: (*call).updateObjectEncryption,

	s3.CopyObject:     (*call).copyObject,
	s3.UploadPartCopy: (*call).uploadPartCopy,

	s3.CreateMultipartUpload:   (*call).createMultipartUpload,
	s3.UploadPart:              (*call).uploadPart,
	s3.CompleteMultipartUpload: (*call).completeMultipartUpload,
	s3.AbortMultipartUpload:    (*call).abortMultipartUpload,
	s3.ListParts:               (*call).listParts,
	s3.ListMultipartUploads:    (*call).listMultipartUploads,

	s3.ListBuckets:        (*call).listBuckets,
	s3.ListObjects:        (*call).listObjects,
	s3.ListObjectsV2:      (*call).listObjects,
	s3.ListObjectVersions: (*call).listObjects,

	s3.GetBucketEncryption:    (*call).getBucketEncryption,
	s3.PutBucketEncryption:    (*call).putBucketEncryption,
	s3.DeleteBucketEncryption: (*call).deleteBucketEncryption,
	s3.DeleteBucket:           (*call).deleteBucket,
}

// handlerOf returns what serves a route. An operation that has to be sealed,
// opened, rewritten or answered by the gateway, and has no code for it, is
// refused: forwarding it would store or show what nobody sealed or opened.
func handlerOf(r s3.Route) func(*call) error {
	if h, ok := operations[r.Action]; ok {
		return h
	}
	if r.Class == s3.Forward {
		return (*call).forward
	}
	return refuse
}

var errAnonymous = s3.ErrAccessDenied.Msg("Anonymous users cannot invoke this API. Please authenticate.")

// refuse answers an operation that the gateway does not have. On Amazon S3 nobody
// may call SelectObjectContent without a signature, whatever the bucket's policy.
func refuse(c *call) error {
	if c.req.Route.Action == s3.SelectObjectContent && c.auth.Anonymous() {
		return errAnonymous
	}
	return s3.ErrNotImplemented
}
