package s3

import "slices"

// ElementsOf returns the elements that Amazon S3 documents or sends in the
// error document of a code, except those of all errors. Their text follows from
// the request.
func ElementsOf(code string) []string {
	if slices.Contains(bucketErrors, code) {
		return []string{"BucketName"}
	}
	return documentedElements[code]
}

// documentedElements are the elements by code.
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

// bucketErrors are the codes of errors about a bucket, whose documents name it.
var bucketErrors = []string{
	"NoSuchBucket", "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "BucketNotEmpty", "InvalidBucketName", "NoSuchBucketPolicy",
	"NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration", "NoSuchTagSet", "NoSuchWebsiteConfiguration", "OwnershipControlsNotFoundError",
	"NoSuchPublicAccessBlockConfiguration", "ObjectLockConfigurationNotFoundError", "ReplicationConfigurationNotFoundError",
	"ServerSideEncryptionConfigurationNotFoundError",
}
