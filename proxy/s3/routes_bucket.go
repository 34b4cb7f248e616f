package s3

import "slices"

var bucketRoutes = slices.Concat(bucketMain, bucketReads, bucketWrites, bucketRemovals)

// bucketMain are the operations on a bucket itself and on its contents.
var bucketMain = []Route{
	document(CreateBucket, Forward, "PUT"),
	{Action: HeadBucket, Class: Forward, Method: "HEAD", Level: Bucket},
	{Action: DeleteBucket, Class: Forward, Method: "DELETE", Level: Bucket, Write: true},
	{Action: ListObjects, Class: Rewrite, Method: "GET", Level: Bucket, Optional: listV1Keys},
	{Action: ListObjectsV2, Class: Rewrite, Method: "GET", Level: Bucket, Query: keys("list-type"), Optional: listV2Keys},
	{Action: ListObjectVersions, Class: Rewrite, Method: "GET", Level: Bucket, Query: keys("versions"), Optional: versionKeys},
	{Action: ListMultipartUploads, Class: Rewrite, Method: "GET", Level: Bucket, Query: keys("uploads"), Optional: uploadKeys},
	{Action: DeleteObjects, Class: Forward, Method: "POST", Level: Bucket, Query: keys("delete"), Write: true, XMLBody: true},
	{Action: PostObject, Class: Seal, Method: "POST", Level: Bucket, Write: true},
	{Action: Preflight, Class: Forward, Method: "OPTIONS", Level: Bucket},
}

var bucketReads = []Route{
	read(GetBucketEncryption, Own, keys("encryption")),
	read(GetBucketLocation, Forward, keys("location")),

	read("GetBucketAbac", Forward, keys("abac")),
	read("GetBucketAccelerateConfiguration", Forward, keys("accelerate")),
	read("GetBucketAcl", Forward, keys("acl")),
	read("GetBucketCors", Forward, keys("cors")),
	read("GetBucketLifecycleConfiguration", Forward, keys("lifecycle"), "withUpdatedAt"),
	read("GetBucketLogging", Forward, keys("logging")),
	read("GetBucketMetadataConfiguration", Forward, keys("metadataConfiguration")),
	read("GetBucketMetadataTableConfiguration", Forward, keys("metadataTable")),
	read("GetBucketNotificationConfiguration", Forward, keys("notification")),
	read("GetBucketOwnershipControls", Forward, keys("ownershipControls")),
	read(GetBucketPolicy, Forward, keys("policy")),
	read("GetBucketPolicyStatus", Forward, keys("policyStatus")),
	read("GetBucketReplication", Forward, keys("replication")),
	read("GetBucketRequestPayment", Forward, keys("requestPayment")),
	read("GetBucketTagging", Forward, keys("tagging")),
	read("GetBucketVersioning", Forward, keys("versioning")),
	read("GetBucketWebsite", Forward, keys("website")),
	read("GetObjectLockConfiguration", Forward, keys("object-lock")),
	read("GetPublicAccessBlock", Forward, keys("publicAccessBlock")),

	read("GetBucketAnalyticsConfiguration", Forward, keys("analytics", "id")),
	read("ListBucketAnalyticsConfigurations", Forward, keys("analytics"), pageKey...),
	read("GetBucketIntelligentTieringConfiguration", Forward, keys("intelligent-tiering", "id")),
	read("ListBucketIntelligentTieringConfigurations", Forward, keys("intelligent-tiering"), pageKey...),
	read("GetBucketInventoryConfiguration", Forward, keys("inventory", "id")),
	read("ListBucketInventoryConfigurations", Forward, keys("inventory"), pageKey...),
	read("GetBucketMetricsConfiguration", Forward, keys("metrics", "id")),
	read("ListBucketMetricsConfigurations", Forward, keys("metrics"), pageKey...),

	// Sessions of directory buckets would carry encryption settings and
	// credentials past the gateway.
	read("CreateSession", Refuse, keys("session")),
}

var bucketWrites = []Route{
	document(PutBucketEncryption, Own, "PUT", "encryption"),
	// Copies that the store makes under other names could not be opened.
	document(PutBucketReplication, Refuse, "PUT", "replication"),

	document("PutBucketAbac", Forward, "PUT", "abac"),
	document("PutBucketAccelerateConfiguration", Forward, "PUT", "accelerate"),
	document("PutBucketAcl", Forward, "PUT", "acl"),
	document("PutBucketAnalyticsConfiguration", Forward, "PUT", "analytics", "id"),
	document("PutBucketCors", Forward, "PUT", "cors"),
	document("PutBucketIntelligentTieringConfiguration", Forward, "PUT", "intelligent-tiering", "id"),
	document(PutBucketInventory, Forward, "PUT", "inventory", "id"),
	document("PutBucketLifecycleConfiguration", Forward, "PUT", "lifecycle"),
	document(PutBucketLogging, Forward, "PUT", "logging"),
	document("PutBucketMetricsConfiguration", Forward, "PUT", "metrics", "id"),
	document("PutBucketNotificationConfiguration", Forward, "PUT", "notification"),
	document("PutBucketOwnershipControls", Forward, "PUT", "ownershipControls"),
	document(PutBucketPolicy, Forward, "PUT", "policy"),
	document("PutBucketRequestPayment", Forward, "PUT", "requestPayment"),
	document("PutBucketTagging", Forward, "PUT", "tagging"),
	document("PutBucketVersioning", Forward, "PUT", "versioning"),
	document("PutBucketWebsite", Forward, "PUT", "website"),
	document("PutObjectLockConfiguration", Forward, "PUT", "object-lock"),
	document("PutPublicAccessBlock", Forward, "PUT", "publicAccessBlock"),

	document("CreateBucketMetadataConfiguration", Forward, "POST", "metadataConfiguration"),
	document("CreateBucketMetadataTableConfiguration", Forward, "POST", "metadataTable"),
	document("UpdateBucketMetadataAnnotationTableConfiguration", Forward, "PUT", "metadataAnnotationTable"),
	document("UpdateBucketMetadataInventoryTableConfiguration", Forward, "PUT", "metadataInventoryTable"),
	document("UpdateBucketMetadataJournalTableConfiguration", Forward, "PUT", "metadataJournalTable"),
}

var bucketRemovals = []Route{
	remove(DeleteBucketEncryption, Own, "encryption"),

	remove("DeleteBucketAnalyticsConfiguration", Forward, "analytics", "id"),
	remove("DeleteBucketCors", Forward, "cors"),
	remove("DeleteBucketIntelligentTieringConfiguration", Forward, "intelligent-tiering", "id"),
	remove("DeleteBucketInventoryConfiguration", Forward, "inventory", "id"),
	remove("DeleteBucketLifecycle", Forward, "lifecycle"),
	remove("DeleteBucketMetadataConfiguration", Forward, "metadataConfiguration"),
	remove("DeleteBucketMetadataTableConfiguration", Forward, "metadataTable"),
	remove("DeleteBucketMetricsConfiguration", Forward, "metrics", "id"),
	remove("DeleteBucketOwnershipControls", Forward, "ownershipControls"),
	remove("DeleteBucketPolicy", Forward, "policy"),
	remove("DeleteBucketReplication", Forward, "replication"),
	remove("DeleteBucketTagging", Forward, "tagging"),
	remove("DeleteBucketWebsite", Forward, "website"),
	remove("DeletePublicAccessBlock", Forward, "publicAccessBlock"),
}
