package s3op

import (
	"fmt"
	"maps"
)

// Listed is a part that a Complete names.
type Listed struct {
	Number int
	ETag   string
}

// Config is how the gateway, its KMS and its store are set up.
type Config struct {
	DefaultKey string           // of the KMS
	Keys       map[string]bool  // that the KMS has
	MinPart    int              // bytes of a part that is not the last
	Limits     map[string]Limit // of credentials besides the root one
	Store      Store
}

// Limit is what a credential may do.
type Limit struct {
	Buckets  []string
	Keys     []string // of the KMS
	ReadOnly bool
}

// Store is what the store does in another way than Amazon S3.
type Store struct {
	AbortsAgain    bool // an upload that has ended can be aborted
	QuietMarkers   bool // the answer to a delete does not tell of a marker without an ID of its own
	CompletesBlind bool // the answer to a Complete in plaintext has no ETag
	DeletesNothing bool // a delete of what is not there succeeds under an If-Match
	HidesMarkers   bool // an operation on a marker, or on a missing version, may be that on a missing object
	LosesListed    bool // a listing has no ETag of an object whose tags were changed
	QuietCopies    bool // the answer to a copy names no version
	Truncates      bool // a listing of versions that ends with the page may say that there is more
}

// Values of Bucket.Versioning.
const (
	Enabled   = "Enabled"
	Suspended = "Suspended"
)

// Rule is a bucket's default encryption.
type Rule struct {
	Sealing
	BlockCustomer bool // refuses writes with customers' keys
}

// Scheme is how an object is encrypted.
type Scheme string

// The schemes.
const (
	Plain    Scheme = ""
	S3       Scheme = "AES256"
	KMS      Scheme = "aws:kms"
	Customer Scheme = "SSE-C"
)

// Sealing is a scheme and its key: that of the KMS, or the name of the
// customer's.
type Sealing struct {
	Scheme    Scheme
	KeyName   string
	Context   string // of the client, for the KMS
	BucketKey string // "true", or "" in a request that leaves it open, "false"
}

// Name is the name of an object. Version is "" for the latest one.
type Name struct{ Bucket, Key, Version string }

// Body is a plaintext. It prints as its size.
type Body []byte

func (b Body) String() string { return fmt.Sprintf("<%d bytes>", len(b)) }

// Condition is a condition on the object that a request is about: an ETag, "*",
// or "" for none.
type Condition struct{ Match, NoneMatch string }

// MetaOf is the metadata of an object for which a client sent m.
func MetaOf(m map[string]string) map[string]string {
	out := map[string]string{"content-type": "binary/octet-stream"}
	maps.Copy(out, m)
	return out
}

// Range is a range of bytes. Last is -1 for all that follows; First is -1 for
// the last bytes, Last of them.
type Range struct{ First, Last int64 }

// String returns r as a value of the header Range.
func (r Range) String() string {
	switch {
	case r.First < 0:
		return fmt.Sprintf("bytes=-%d", r.Last)
	case r.Last < 0:
		return fmt.Sprintf("bytes=%d-", r.First)
	}
	return fmt.Sprintf("bytes=%d-%d", r.First, r.Last)
}

// Of returns the range of an object of a size; ok is false if it has no byte.
func (r Range) Of(size int64) (first, length int64, ok bool) {
	switch {
	case r.First < 0:
		length = min(r.Last, size)
		return size - length, length, length > 0
	case r.First >= size:
		return 0, 0, false
	case r.Last < 0:
		return r.First, size - r.First, true
	}
	return r.First, min(r.Last, size-1) - r.First + 1, true
}
