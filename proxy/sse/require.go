package sse

import (
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

// met reports whether an object sealed as s meets r. A nil s is plaintext.
func (r *Requirement) met(s *Sealing) bool {
	return s != nil && (r.Scheme == 0 || r.Scheme == s.Scheme) && (r.KESKey == "" || r.KESKey == s.KeyName)
}

// Check refuses a write to a bucket that requires another encryption.
func Check(all []Requirement, bucket string, s *Sealing) error {
	refused := false
	for i := range all {
		r := &all[i]
		if !s3.MatchesAny([]string{r.Bucket}, bucket) {
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
