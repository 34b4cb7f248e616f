package s3

import (
	"net/url"
	"strings"
)

// CopySource is the object named by x-amz-copy-source.
type CopySource struct {
	Bucket, Key string
	VersionID   string // "" for the current version

	// Spaced is the key with each unescaped + read as a space, or "" if there
	// is no unescaped +. Amazon S3 reads the header that way, other stores do
	// not, and clients send both forms.
	Spaced string
}

// ParseCopySource parses the value of x-amz-copy-source:
// "[/]bucket/key[?versionId=id]", percent-encoded. Bucket and key follow the
// same rules as in a request. The error is InvalidArgument, also for URLs, or
// NotImplemented for access points and other ARNs.
func ParseCopySource(s string) (*CopySource, error) {
	raw, query, hasQuery := strings.Cut(s, "?")
	path, err := url.PathUnescape(raw)
	if err != nil {
		return nil, errCopySource(s, "Invalid copy source encoding").With(err)
	}
	path = strings.TrimPrefix(path, "/")
	switch lower := strings.ToLower(path); {
	case strings.HasPrefix(lower, "arn:"):
		return nil, ErrNotImplemented.Msg("Access points are not implemented as a copy source.")
	case strings.HasPrefix(lower, "http://"), strings.HasPrefix(lower, "https://"):
		return nil, errCopySource(s, "Copy Source must not be a URL.")
	}
	src := &CopySource{}
	var ok bool
	if src.Bucket, src.Key, ok = strings.Cut(path, "/"); CheckBucket(src.Bucket) != nil {
		return nil, errCopySource(s, "Invalid copy source bucket name")
	}
	if err := CheckKey(src.Key); err != nil || !ok {
		return nil, errCopySource(src.Key, "Invalid copy source object key").With(err)
	}
	if strings.Contains(raw, "+") {
		spaced, _ := url.QueryUnescape(raw) // cannot fail: PathUnescape accepted raw
		_, src.Spaced, _ = strings.Cut(strings.TrimPrefix(spaced, "/"), "/")
	}
	if !hasQuery {
		return src, nil
	}
	version, ok := strings.CutPrefix(query, "versionId=")
	if ok {
		src.VersionID, err = url.QueryUnescape(version)
	}
	if !ok || err != nil || src.VersionID == "" || strings.ContainsAny(version, "&;") || !isHeaderValue(src.VersionID) {
		return nil, errCopySource(s, "Copy Source may only be followed by a versionId.")
	}
	return src, nil
}

func errCopySource(value, message string) *Error {
	return ErrArgument(HeaderCopySource, value, message)
}

// String returns the source as the value of the header: percent-encoded,
// without a leading slash.
func (c *CopySource) String() string {
	s := EscapePath(c.Bucket, c.Key)[1:]
	if c.VersionID != "" {
		s += "?versionId=" + url.QueryEscape(c.VersionID)
	}
	return s
}
