package s3

// Query keys shared by several rows.
var (
	responseKeys = []string{
		"response-cache-control", "response-content-disposition", "response-content-encoding",
		"response-content-language", "response-content-type", "response-expires",
	}
	readKeys   = append([]string{"partNumber", "versionId"}, responseKeys...)
	versionKey = []string{"versionId"}
	pageKey    = []string{"continuation-token"}
	listV1Keys = []string{"delimiter", "encoding-type", "marker", "max-keys", "prefix"}
	// metadata and unsorted are MinIO's.
	listV2Keys = []string{
		"continuation-token", "delimiter", "encoding-type", "fetch-owner", "max-keys", "metadata", "prefix", "start-after", "unsorted",
	}
	versionKeys = []string{"delimiter", "encoding-type", "key-marker", "max-keys", "metadata", "prefix", "version-id-marker"}
	uploadKeys  = []string{"delimiter", "encoding-type", "key-marker", "max-uploads", "prefix", "upload-id-marker"}
	partKeys    = []string{"encoding-type", "max-parts", "part-number-marker"}
)

var serviceRoutes = []Route{
	{Action: ListBuckets, Class: Rewrite, Method: "GET", Level: Service,
		Optional: []string{"bucket-region", "continuation-token", "max-buckets", "prefix"}},
	// Only x-id or its own parameter distinguishes it from ListBuckets, and
	// x-id is ignored.
	{Action: "ListDirectoryBuckets", Class: Refuse, Method: "GET", Level: Service,
		Query: []string{"max-directory-buckets"}, Optional: pageKey},
	{Action: WriteGetObjectResponse, Class: Refuse, Method: "POST", Level: Service, Write: true},
}

// read, remove and document return rows for sub-resources of buckets, which
// nearly all have one of these forms.
func read(a Action, c Class, query []string, optional ...string) Route {
	return Route{Action: a, Class: c, Method: "GET", Level: Bucket, Query: query, Optional: optional}
}

func remove(a Action, c Class, query ...string) Route {
	return Route{Action: a, Class: c, Method: "DELETE", Level: Bucket, Query: query, Write: true}
}

func document(a Action, c Class, method string, query ...string) Route {
	return Route{Action: a, Class: c, Method: method, Level: Bucket, Query: query, Write: true, XMLBody: true}
}

func keys(k ...string) []string { return k }
