package s3

import "slices"

var objectRoutes = slices.Concat(objectMain, objectUploads, objectAttributes, objectRefused)

// objectMain are the operations on an object itself.
var objectMain = []Route{
	{Action: PutObject, Class: Seal, Method: "PUT", Level: Object, Write: true},
	{Action: CopyObject, Class: Seal, Method: "PUT", Level: Object, CopySource: true, Write: true},
	{Action: GetObject, Class: Unseal, Method: "GET", Level: Object, Optional: readKeys},
	{Action: HeadObject, Class: Unseal, Method: "HEAD", Level: Object, Optional: readKeys},
	{Action: GetObjectAttributes, Class: Unseal, Method: "GET", Level: Object, Query: keys("attributes"), Optional: versionKey},
	{Action: DeleteObject, Class: Forward, Method: "DELETE", Level: Object, Optional: versionKey, Write: true},
	{Action: UpdateObjectEncryption, Class: Own, Method: "PUT", Level: Object, Query: keys("encryption"), Optional: versionKey, Write: true, XMLBody: true},
	{Action: Preflight, Class: Forward, Method: "OPTIONS", Level: Object},
}

var objectUploads = []Route{
	{Action: CreateMultipartUpload, Class: Seal, Method: "POST", Level: Object, Query: keys("uploads"), Write: true},
	{Action: UploadPart, Class: Seal, Method: "PUT", Level: Object, Query: keys("partNumber", "uploadId"), Write: true},
	{Action: UploadPartCopy, Class: Seal, Method: "PUT", Level: Object, Query: keys("partNumber", "uploadId"), CopySource: true, Write: true},
	{Action: CompleteMultipartUpload, Class: Seal, Method: "POST", Level: Object, Query: keys("uploadId"), Write: true, XMLBody: true},
	{Action: AbortMultipartUpload, Class: Rewrite, Method: "DELETE", Level: Object, Query: keys("uploadId"), Write: true},
	{Action: ListParts, Class: Rewrite, Method: "GET", Level: Object, Query: keys("uploadId"), Optional: partKeys},
}

// objectAttributes are operations on what a store keeps for an object apart
// from its bytes.
var objectAttributes = []Route{
	{Action: "GetObjectAcl", Class: Forward, Method: "GET", Level: Object, Query: keys("acl"), Optional: versionKey},
	{Action: "PutObjectAcl", Class: Forward, Method: "PUT", Level: Object, Query: keys("acl"), Optional: versionKey, Write: true, XMLBody: true},
	{Action: "GetObjectTagging", Class: Forward, Method: "GET", Level: Object, Query: keys("tagging"), Optional: versionKey},
	{Action: "PutObjectTagging", Class: Forward, Method: "PUT", Level: Object, Query: keys("tagging"), Optional: versionKey, Write: true, XMLBody: true},
	{Action: "DeleteObjectTagging", Class: Forward, Method: "DELETE", Level: Object, Query: keys("tagging"), Optional: versionKey, Write: true},
	{Action: "GetObjectLegalHold", Class: Forward, Method: "GET", Level: Object, Query: keys("legal-hold"), Optional: versionKey},
	{Action: "PutObjectLegalHold", Class: Forward, Method: "PUT", Level: Object, Query: keys("legal-hold"), Optional: versionKey, Write: true, XMLBody: true},
	{Action: "GetObjectRetention", Class: Forward, Method: "GET", Level: Object, Query: keys("retention"), Optional: versionKey},
	{Action: "PutObjectRetention", Class: Forward, Method: "PUT", Level: Object, Query: keys("retention"), Optional: versionKey, Write: true, XMLBody: true},
	{Action: "RestoreObject", Class: Forward, Method: "POST", Level: Object, Query: keys("restore"), Optional: versionKey, Write: true, XMLBody: true},
}

// objectRefused are operations that would read ciphertext as plaintext, store
// plaintext next to the object, or change the name that the object is bound to.
var objectRefused = []Route{
	{Action: "GetObjectTorrent", Class: Refuse, Method: "GET", Level: Object, Query: keys("torrent")},
	{Action: SelectObjectContent, Class: Refuse, Method: "POST", Level: Object, Query: keys("select"), Optional: keys("select-type"), XMLBody: true},
	{Action: "RenameObject", Class: Refuse, Method: "PUT", Level: Object, Query: keys("renameObject"), Write: true},
	{Action: "PutObjectAnnotation", Class: Refuse, Method: "PUT", Level: Object, Query: keys("annotation"), Optional: keys("annotationName", "versionId"), Write: true},
	{Action: "GetObjectAnnotation", Class: Refuse, Method: "GET", Level: Object, Query: keys("annotation", "annotationName"), Optional: versionKey},
	{Action: "ListObjectAnnotations", Class: Refuse, Method: "GET", Level: Object, Query: keys("annotation"),
		Optional: keys("annotation-prefix", "continuation-token", "max-annotation-results", "versionId")},
	{Action: "DeleteObjectAnnotation", Class: Refuse, Method: "DELETE", Level: Object, Query: keys("annotation"), Optional: keys("annotationName", "versionId"), Write: true},
}
