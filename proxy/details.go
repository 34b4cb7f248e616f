package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
)

// documented returns e with the elements and headers that Amazon S3 sends with
// its code, unless e has them already.
func documented(c *call, e *s3.Error) *s3.Error {
	return documentedFor(c, c.object(), e)
}

// documentedFor is documented for an error about the object of r.
func documentedFor(c *call, r *object.Reader, e *s3.Error) *s3.Error {
	for _, name := range s3.ElementsOf(e.Code) {
		if slices.ContainsFunc(e.Details, func(d s3.Detail) bool { return d.Name == name }) {
			continue
		}
		if value := elementOf(c, r, e, name); value != "" {
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

// elementOf returns the text of an element of e's document, or "" if the
// request does not have it.
func elementOf(c *call, r *object.Reader, e *s3.Error, name string) string {
	switch name {
	case "Key":
		return r.Name.Key
	case "BucketName":
		return r.Name.Bucket
	case "VersionId":
		return r.Version.Get("versionId")
	case "UploadId":
		return c.req.Query.Get("uploadId")
	case "RangeRequested":
		return r.Header.Get("Range")
	case "PartNumberRequested":
		if len(r.Part) > 0 {
			return r.Part[0]
		}
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
		return strconv.Itoa(s3.UserMetadataSize(c.req.Header))
	case "ProposedSize":
		return proposedSize(c)
	case "MaxSizeAllowed":
		if e.Code == s3.ErrMetadataTooLarge.Code {
			return strconv.Itoa(s3.MaxUserMetadata)
		}
		return strconv.FormatInt(maxPut, 10)
	}
	return ""
}

// proposedSize returns the body size that the client declared, or "".
func proposedSize(c *call) string {
	if decoded := c.in.Header.Get(s3.HeaderDecodedContentLength); decoded != "" {
		return decoded
	}
	if c.in.ContentLength < 0 {
		return ""
	}
	return strconv.FormatInt(c.in.ContentLength, 10)
}

// conditionHeaders are the condition headers as Amazon S3 spells them in
// errors. Those of a copy's source are evaluated first.
var conditionHeaders = []string{
	"x-amz-copy-source-If-Match", "x-amz-copy-source-If-Unmodified-Since", "x-amz-copy-source-If-None-Match", "x-amz-copy-source-If-Modified-Since",
	"If-Match", "If-Unmodified-Since", "If-None-Match", "If-Modified-Since", "x-amz-if-match-size", "x-amz-if-match-last-modified-time",
}

// failedCondition returns the condition of r that failed with 412, or "" if it
// could be one of several. On a read it is the first of them: If-Match takes
// precedence over If-Unmodified-Since, and the other two fail with 304.
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
