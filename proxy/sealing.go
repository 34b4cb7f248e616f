package proxy

import (
	"ssegw/proxy/sse"
	"ssegw/sealer"
)

// writeSealing returns how the object of a write is sealed, or nil for
// plaintext.
func writeSealing(c *call) (*sse.Sealing, error) {
	return chosenSealing(c, sse.Request.Choose)
}

// copySealing returns how a copy is sealed, or nil for plaintext.
func copySealing(c *call, src *copySource) (*sse.Sealing, error) {
	var source *sealer.Header
	if src.object != nil {
		source = src.object.Header
	}
	return chosenSealing(c, func(r sse.Request, d sse.Default) (*sse.Sealing, error) { return r.ChooseCopy(d, source) })
}

// chosenSealing calls choose with the bucket's rule, and refuses a result that
// the bucket's requirements exclude.
func chosenSealing(c *call, choose func(sse.Request, sse.Default) (*sse.Sealing, error)) (*sse.Sealing, error) {
	rule, _, err := c.gw.State.Rule(c.ctx(), c.req.Bucket)
	if err != nil {
		return nil, err
	}
	s, err := choose(c.encryption(), sse.Default{
		Algorithm: rule.Algorithm, KeyID: rule.KeyID, BucketKey: rule.BucketKey, Blocked: rule.Blocked, Otherwise: c.gw.AutoEncryption,
	})
	if err != nil {
		return nil, err
	}
	return s, sse.Check(c.gw.Require, c.req.Bucket, s)
}
