package proxy

import (
	"encoding/json"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// Requirement is one way in which a bucket lets its objects be sealed. A bucket
// with requirements refuses writes that meet none of them.
type Requirement struct {
	Bucket string        // a name, or a prefix that ends in *
	Scheme sealer.Scheme // 0: any, as long as the object is sealed
	KESKey string        // of SSE-KMS; "": any
}

// met reports whether an object that is sealed as s says, nil: not at all, meets r.
func (r *Requirement) met(s *sealing) bool {
	return s != nil && (r.Scheme == 0 || r.Scheme == s.scheme) && (r.KESKey == "" || r.KESKey == s.keyName)
}

// required refuses a write that is sealed otherwise than its bucket requires.
func (c *call) required(s *sealing) error {
	refused := false
	for i := range c.Require {
		r := &c.Require[i]
		if !matches([]string{r.Bucket}, c.req.Bucket) {
			continue
		}
		if r.met(s) {
			return nil
		}
		refused = true
	}
	if refused {
		return s3.ErrAccessDenied.Msg("The bucket does not accept objects that are encrypted in this way.")
	}
	return nil
}

// errPolicyOnSSE refuses a policy that would refuse every write.
var errPolicyOnSSE = s3.ErrNotImplemented.Msg("The object store does not see the encryption headers that a condition on s3:x-amz-server-side-encryption is about. " +
	"The setting SSEGW_REQUIRE of the gateway protects a bucket in the same way.")

// conditionsOnSSE reports whether a bucket policy has conditions on the headers of
// server-side encryption, which end at the gateway. What is not JSON is for the
// store to refuse.
func conditionsOnSSE(policy []byte) bool {
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
				if strings.HasPrefix(strings.ToLower(name), "s3:"+ssePrefix) || search(item) {
					return true
				}
			}
		}
		return false
	}
	return search(doc)
}
