package sse

import (
	"encoding/json"
	"strings"

	"ssegw/proxy/s3"
)

// ErrPolicy refuses a policy that would refuse every write.
var ErrPolicy = s3.ErrNotImplemented.Msg("The object store does not see the encryption headers that a condition on s3:x-amz-server-side-encryption is about. " +
	"The setting SSEGW_REQUIRE of the gateway protects a bucket in the same way.")

// InPolicy reports whether a bucket policy has conditions on the headers of
// server-side encryption, which the store does not see. It returns false for a
// policy that is not JSON: the store refuses that.
func InPolicy(policy []byte) bool {
	var doc any
	if json.Unmarshal(policy, &doc) != nil {
		return false
	}
	var search func(v any) bool
	search = func(v any) bool {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				if search(item) {
					return true
				}
			}
		case map[string]any:
			for name, item := range v {
				if strings.HasPrefix(strings.ToLower(name), "s3:"+s3.SSEPrefix) || search(item) {
					return true
				}
			}
		}
		return false
	}
	return search(doc)
}
