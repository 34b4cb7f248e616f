// Package s3op has the words of the reference model in proxy/model: operations
// of clients and their answers, and what a bucket holds. See
// docs/ARCHITECTURE.md for the map of the module.
package s3op

// Op is one of the operations below: a request of a client, or an event.
type Op any

// As is an operation of a client with a limited credential. The KMS is asked
// for its keys while the operation is carried out.
type As struct {
	Op
	Who string
}

// Reaches returns the buckets of an operation, whether it only reads, and
// whether it needs the root credential.
func Reaches(op Op) (buckets []string, reads, root bool) {
	switch op := op.(type) {
	case Get:
		return []string{op.Bucket}, true, false
	case GetTags:
		return []string{op.Bucket}, true, false
	case List:
		return []string{op.Bucket}, true, false
	case Put:
		return []string{op.Bucket}, false, false
	case PutTags:
		return []string{op.Bucket}, false, false
	case Delete:
		return []string{op.Bucket}, false, false
	case Copy:
		return []string{op.From.Bucket, op.To.Bucket}, false, false
	case Update:
		return []string{op.Bucket}, false, false
	}
	return nil, false, true
}

// PutVersioning is PutBucketVersioning.
type PutVersioning struct{ Bucket, Status string }

// GetVersioning is GetBucketVersioning.
type GetVersioning struct{ Bucket string }

// PutRule is PutBucketEncryption.
type PutRule struct {
	Bucket string
	Rule   Rule
}

// DeleteRule is DeleteBucketEncryption.
type DeleteRule struct{ Bucket string }

// GetRule is GetBucketEncryption.
type GetRule struct{ Bucket string }

// EncryptJob is `mc admin` or `ssegw encrypt` on a bucket with a rule: it seals
// what is in plaintext. When nothing is, the bucket becomes sealed-only. In a
// bucket that is sealed-only already, plaintext has no author to trust, and
// stays. So do older versions.
type EncryptJob struct{ Bucket string }

// RekeyJob is `ssegw rekey` on a bucket: what is sealed under the KMS gets
// another key. Plaintext stays, and what is sealed under customers' keys.
type RekeyJob struct{ Bucket, Key string }

// VerifyJob is `ssegw verify` on a bucket: it reads all sealed versions but
// those under customers' keys.
type VerifyJob struct{ Bucket string }

// Restart is another process of the gateway in place of the old one. Clients
// notice nothing.
type Restart struct{}

// Put is PutObject.
type Put struct {
	Name
	Body    Body
	Meta    map[string]string
	Tags    map[string]string
	Ask     Sealing
	Sum     string // algorithm of the client's checksum; "": none
	If      Condition
	Damaged bool // the body is not the one that was signed, or its checksum is that of another
}

// Plant is the store's operator, who writes an object in plaintext without the
// gateway.
type Plant struct {
	Name
	Body Body
}

// Get is GetObject or HeadObject.
type Get struct {
	Name
	Head  bool
	Range *Range // nil: all
	Key   string // of the customer
	Sums  bool   // asks for checksums
	If    Condition
}

// Attributes is GetObjectAttributes.
type Attributes struct {
	Name
	Key string // of the customer
}

// Delete is DeleteObject.
type Delete struct {
	Name
	If   Condition
	Size int64 // that the object must have; negative: any
}

// DeleteMany is DeleteObjects.
type DeleteMany struct {
	Bucket  string
	Objects []Name // in this bucket
}

// Copy is CopyObject.
type Copy struct {
	From, To Name
	Ask      Sealing
	Sum      string            // algorithm that the copy shall have; "": the source's
	Key      string            // of the source's customer
	Replace  bool              // the metadata
	Meta     map[string]string // if it is replaced
	Retag    bool              // replaces the tags
	Tags     map[string]string // if they are replaced
	If       Condition         // on the object that is replaced
	FromIf   Condition         // on the source
}

// Update is UpdateObjectEncryption: another key of the KMS for an object.
type Update struct {
	Name
	Key       string
	BucketKey bool
}

// PutTags is PutObjectTagging, or with no tags DeleteObjectTagging.
type PutTags struct {
	Name
	Tags map[string]string
}

// GetTags is GetObjectTagging.
type GetTags struct{ Name }

// List is ListObjects, ListObjectsV2 or, with Versions, ListObjectVersions.
type List struct {
	Bucket, Prefix, After string
	Max                   int // entries
	Versions              bool
}

// Create is CreateMultipartUpload.
type Create struct {
	Name
	Meta      map[string]string
	Tags      map[string]string
	Ask       Sealing
	Sum       string // algorithm of the checksum; "": not announced
	Composite bool
}

// UploadPart is UploadPart, with the customer's key if there is one.
type UploadPart struct {
	ID     string
	Number int
	Body   Body
	Sum    string // algorithm of the client's checksum; "": none
}

// UploadPartCopy is UploadPartCopy.
type UploadPartCopy struct {
	ID     string
	Number int
	From   Name
	Range  *Range // within the source; nil: all
	Key    string // of the source's customer
	FromIf Condition
}

// Complete is CompleteMultipartUpload.
type Complete struct {
	ID     string
	Listed []Listed // at least one
	If     Condition
}

// Abort is AbortMultipartUpload.
type Abort struct{ ID string }

// ListParts is ListParts.
type ListParts struct{ ID string }

// ListUploads is ListMultipartUploads.
type ListUploads struct{ Bucket string }

// Answer is what a client gets.
type Answer struct {
	Status     int
	Code       string // of an S3 error
	Headless   bool   // an error without a document has no code, as that of HEAD
	ETag       string
	Version    string
	Marker     bool // it is about a delete marker
	Body       []byte
	Size       int64  // Content-Length
	Range      string // Content-Range
	Meta, Tags map[string]string
	TagCount   int
	Sealing    Sealing           // as the headers show it
	Sums       map[string]string // checksums by algorithm
	Entries    []Entry
	Truncated  bool
	UploadID   string
	Rule       *Rule
	Versioning string
	Count      int // objects that a job changed
}

// Entry is an entry of a listing of objects, parts or uploads, or of the
// answer to DeleteMany.
type Entry struct {
	Key     string // of an object, or an upload
	ID      string // of an upload, or a version
	Number  int    // of a part
	ETag    string
	Size    int64
	Marker  bool
	Latest  bool
	Created string // ID of a new marker
}
