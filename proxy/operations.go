package proxy

import "ssegw/proxy/s3"

// operations are the handlers of the operations that need code. All others in
// the routing table are forwarded or refused, depending on their class.
var operations = map[s3.Action]func(*call) error{
	s3.PutObject:              putObject,
	s3.PostObject:             postObject,
	s3.GetObject:              getObject,
	s3.HeadObject:             headObject,
	s3.GetObjectAttributes:    getObjectAttributes,
	s3.DeleteObject:           deleteObject,
	s3.DeleteObjects:          deleteObjects,
	s3.UpdateObjectEncryption: updateObjectEncryption,

	s3.CopyObject:     copyObject,
	s3.UploadPartCopy: uploadPartCopy,

	s3.CreateMultipartUpload:   createMultipartUpload,
	s3.UploadPart:              uploadPart,
	s3.CompleteMultipartUpload: completeMultipartUpload,
	s3.AbortMultipartUpload:    abortMultipartUpload,
	s3.ListParts:               listParts,
	s3.ListMultipartUploads:    listMultipartUploads,

	s3.ListBuckets:        listBuckets,
	s3.ListObjects:        listObjects,
	s3.ListObjectsV2:      listObjects,
	s3.ListObjectVersions: listObjects,

	s3.CreateBucket:           createBucket,
	s3.GetBucketLocation:      getBucketLocation,
	s3.GetBucketPolicy:        getBucketPolicy,
	s3.PutBucketPolicy:        putBucketPolicy,
	s3.GetBucketEncryption:    getBucketEncryption,
	s3.PutBucketEncryption:    putBucketEncryption,
	s3.DeleteBucketEncryption: deleteBucketEncryption,
	s3.DeleteBucket:           deleteBucket,
}

// handlerOf returns the handler of a route. Only operations of class s3.Forward
// work without code of their own. All others are refused: forwarding them would
// store plaintext, or return sealed bytes.
func handlerOf(r s3.Route) func(*call) error {
	if h, ok := operations[r.Action]; ok {
		return h
	}
	if r.Class == s3.Forward {
		return forward
	}
	return refuse
}

var errAnonymous = s3.ErrAccessDenied.Msg("Anonymous users cannot invoke this API. Please authenticate.")

// refuse answers an operation that the gateway does not implement. Like Amazon
// S3 it denies SelectObjectContent without a signature, whatever the bucket
// policy.
func refuse(c *call) error {
	if c.req.Route.Action == s3.SelectObjectContent && c.auth.Anonymous() {
		return errAnonymous
	}
	return s3.ErrNotImplemented
}
