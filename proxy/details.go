package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
)

// documentedElements are the elements of error documents that follow from the
// request, as Amazon S3 documents or sends them.
var documentedElements = map[string][]string{
	"NoSuchKey":                {"Key"},
	"NoSuchVersion":            {"Key", "VersionId"},
	"NoSuchUpload":             {"UploadId"},
	"InvalidRange":             {"RangeRequested"},
	"InvalidPartNumber":        {"PartNumberRequested"},
	"PreconditionFailed":       {"Condition"},
	"MethodNotAllowed":         {"Method", "ResourceType"},
	"EntityTooLarge":           {"ProposedSize", "MaxSizeAllowed"},
	"MetadataTooLarge":         {"Size", "MaxSizeAllowed"},
	"MaxMessageLengthExceeded": {"MaxMessageLengthBytes"},
}

// bucketErrors are about the request's bucket, which their documents name.
var bucketErrors = []string{
	"NoSuchBucket", "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "BucketNotEmpty", "InvalidBucketName", "NoSuchBucketPolicy",
	"NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration", "NoSuchTagSet", "NoSuchWebsiteConfiguration", "OwnershipControlsNotFoundError",
	"NoSuchPublicAccessBlockConfiguration", "ObjectLockConfigurationNotFoundError", "ReplicationConfigurationNotFoundError",
	"ServerSideEncryptionConfigurationNotFoundError",
}

// documented returns e with the elements and headers that Amazon S3's answer
// has, where e does not have them yet.
func (c *reader) documented(e *s3.Error) *s3.Error {
	names := documentedElements[e.Code]
	if slices.Contains(bucketErrors, e.Code) {
		names = []string{"BucketName"}
	}
	for _, name := range names {
		if slices.ContainsFunc(e.Details, func(d s3.Detail) bool { return d.Name == name }) {
			continue
		}
		if value := c.elementOf(e, name); value != "" {
			e = e.Detail(name, value)
		}
	}
	if isDeleteMarker(e) && e.Status == http.StatusMethodNotAllowed && e.Header.Get("Allow") == "" {
		e = e.Headers(http.Header{"Allow": {http.MethodDelete}})
	}
	return e
}

func isDeleteMarker(e *s3.Error) bool {
	return strings.EqualFold(e.Header.Get(s3.HeaderDeleteMarker), "true")
}

// elementOf is the text of an element of e's document; "" where the request does
// not tell.
func (c *reader) elementOf(e *s3.Error, name string) string {
	switch name {
	case "Key":
		return c.req.Key
	case "BucketName":
		return c.req.Bucket
	case "VersionId":
		return c.req.Query.Get("versionId")
	case "UploadId":
		return c.req.Query.Get("uploadId")
	case "RangeRequested":
		return c.req.Header.Get("Range")
	case "PartNumberRequested":
		return c.req.Query.Get("partNumber")
	case "Condition":
		return failedCondition(c.in)
	case "Method":
		return c.in.Method
	case "ResourceType":
		if isDeleteMarker(e) {
			return "DeleteMarker"
		}
		return strings.ToUpper(c.req.Route.Level.String())
	case "MaxMessageLengthBytes":
		limit := c.req.Route.BodyLimit()
		if limit == 0 {
			limit = maxDocument
		}
		return strconv.FormatInt(limit, 10)
	case "Size":
		return strconv.Itoa(userMetadataSize(c.req.Header))
	case "ProposedSize":
		return c.proposedSize()
	case "MaxSizeAllowed":
		if e.Code == s3.ErrMetadataTooLarge.Code {
			return strconv.Itoa(maxUserMetadata)
		}
		return strconv.FormatInt(maxPut, 10)
	}
	return ""
}

// proposedSize is the size of the body that the client declared.
func (c *reader) proposedSize() string {
	if decoded := c.in.Header.Get(s3.HeaderDecodedContentLength); decoded != "" {
		return decoded
	}
	if c.in.ContentLength < 0 {
		return ""
	}
	return strconv.FormatInt(c.in.ContentLength, 10)
}

// conditionHeaders are the conditions of requests, as Amazon S3 names them in
// errors. Those of a copy's source come first, for they are looked at first.
var conditionHeaders = []string{
	"x-amz-copy-source-If-Match", "x-amz-copy-source-If-Unmodified-Since", "x-amz-copy-source-If-None-Match", "x-amz-copy-source-If-Modified-Since",
	"If-Match", "If-Unmodified-Since", "If-None-Match", "If-Modified-Since", "x-amz-if-match-size", "x-amz-if-match-last-modified-time",
}

// failedCondition names the condition of r that failed with 412; "" where there
// are several that can have. If-Unmodified-Since means nothing beside If-Match,
// and the conditions of a read that tell whether it was modified give 304.
func failedCondition(r *http.Request) string {
	var sent []string
	for _, name := range conditionHeaders {
		if r.Header.Get(name) != "" {
			sent = append(sent, name)
		}
	}
	isRead := r.Method == http.MethodGet || r.Method == http.MethodHead
	if len(sent) == 1 || len(sent) > 1 && isRead {
		return sent[0]
	}
	return ""
}
