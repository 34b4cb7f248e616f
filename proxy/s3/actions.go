package s3

// The actions that the gateway's code names. Actions that are only forwarded or
// refused are not among them.
const (
	AbortMultipartUpload    Action = "AbortMultipartUpload"
	CompleteMultipartUpload Action = "CompleteMultipartUpload"
	CopyObject              Action = "CopyObject"
	CreateBucket            Action = "CreateBucket"
	CreateMultipartUpload   Action = "CreateMultipartUpload"
	DeleteBucket            Action = "DeleteBucket"
	DeleteBucketEncryption  Action = "DeleteBucketEncryption"
	DeleteObject            Action = "DeleteObject"
	DeleteObjects           Action = "DeleteObjects"
	GetBucketEncryption     Action = "GetBucketEncryption"
	GetBucketLocation       Action = "GetBucketLocation"
	GetBucketPolicy         Action = "GetBucketPolicy"
	GetObject               Action = "GetObject"
	GetObjectAttributes     Action = "GetObjectAttributes"
	HeadBucket              Action = "HeadBucket"
	HeadObject              Action = "HeadObject"
	ListBuckets             Action = "ListBuckets"
	ListMultipartUploads    Action = "ListMultipartUploads"
	ListObjects             Action = "ListObjects"
	ListObjectsV2           Action = "ListObjectsV2"
	ListObjectVersions      Action = "ListObjectVersions"
	ListParts               Action = "ListParts"
	Preflight               Action = "Preflight" // OPTIONS, the CORS preflight, which has no name in the API
	PostObject              Action = "PostObject"
	PutBucketEncryption     Action = "PutBucketEncryption"
	PutBucketInventory      Action = "PutBucketInventoryConfiguration"
	PutBucketLogging        Action = "PutBucketLogging"
	PutBucketPolicy         Action = "PutBucketPolicy"
	PutBucketReplication    Action = "PutBucketReplication"
	PutObject               Action = "PutObject"
	SelectObjectContent     Action = "SelectObjectContent"
	UpdateObjectEncryption  Action = "UpdateObjectEncryption"
	UploadPart              Action = "UploadPart"
	UploadPartCopy          Action = "UploadPartCopy"
	WriteGetObjectResponse  Action = "WriteGetObjectResponse"
)

// writeGetObjectResponsePath is the fixed path of the one operation whose path
// has neither bucket nor key.
const writeGetObjectResponsePath = "/WriteGetObjectResponse"
