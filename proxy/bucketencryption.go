package proxy

import (
	"net/http"
	"slices"

	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// getBucketEncryption is GetBucketEncryption.
func getBucketEncryption(c *call) error {
	if err := checkRuleAccess(c); err != nil {
		return err
	}
	rule, ok, err := c.gw.State.Rule(c.ctx(), c.req.Bucket)
	if err != nil {
		return err
	}
	if !ok {
		return s3.ErrEncryptionNotFound
	}
	doc := (&s3.Encryption{Algorithm: rule.Algorithm, KeyID: rule.KeyID, BucketKey: rule.BucketKey, Blocked: rule.Blocked}).Marshal()
	return c.w.sendDocument(http.StatusOK, doc)
}

// putBucketEncryption is PutBucketEncryption. It tries the KES key first, so
// that no rule is stored that writes could not follow.
func putBucketEncryption(c *call) error {
	doc, _, err := openDocument(c)
	if err != nil {
		return err
	}
	e, err := s3.ParseEncryption(doc)
	if err != nil {
		return err
	}
	if err := checkRuleAccess(c); err != nil {
		return err
	}
	if e.Algorithm == s3.AWSKMS {
		name, err := sse.KeyName(e.KeyID, c.gw.KMS.DefaultKey())
		if err != nil {
			return err
		}
		if err := c.keys().Check(c.ctx(), sealer.Binding{Bucket: c.req.Bucket}, name); err != nil {
			return err
		}
	}
	rule := state.Rule{Algorithm: e.Algorithm, KeyID: e.KeyID, BucketKey: e.BucketKey}
	if !slices.Contains(e.Blocked, "NONE") {
		rule.Blocked = e.Blocked
	}
	err = c.gw.State.ChangeRule(c.ctx(), c.req.Bucket, func(old *state.Rule) (_ *state.Rule, err error) {
		if old != nil {
			rule.SealedOnly = old.SealedOnly
		} else if rule.SealedOnly, err = c.gw.Upstream.Own().IsEmpty(c.ctx(), c.req.Bucket); err != nil {
			return nil, upstream.OwnFailed("is the bucket empty?", err)
		}
		return &rule, nil
	})
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// deleteBucketEncryption is DeleteBucketEncryption. It also succeeds if there
// is no rule.
func deleteBucketEncryption(c *call) error {
	if err := checkRuleAccess(c); err != nil {
		return err
	}
	err := c.gw.State.ChangeRule(c.ctx(), c.req.Bucket, func(*state.Rule) (*state.Rule, error) { return nil, nil })
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// checkRuleAccess refuses a request about a bucket's rule unless the client has
// a credential, with which the store lets it see the bucket.
func checkRuleAccess(c *call) error {
	if c.auth.Anonymous() {
		return s3.ErrAccessDenied
	}
	resp, err := c.store().Send(c.ctx(), upstream.Request{Method: http.MethodHead, Bucket: c.req.Bucket})
	// A HEAD's error has no document to pass on.
	switch {
	case upstream.StatusOf(err) == http.StatusNotFound:
		return s3.ErrNoSuchBucket
	case upstream.StatusOf(err) == http.StatusForbidden:
		return s3.ErrAccessDenied
	case err != nil:
		return err
	}
	return resp.Body.Close()
}

// deleteBucket is DeleteBucket. It also removes the bucket's rule, so that a
// new bucket of the same name has none. A rule set meanwhile belongs to a new
// bucket and stays. Only the root credential may change rules: after a delete
// with another credential the rule stays, and applies to the next bucket of the
// name.
func deleteBucket(c *call) error {
	rule, had, err := c.gw.State.FreshRule(c.ctx(), c.req.Bucket)
	if err != nil {
		return err
	}
	resp, err := sendOn(c, outgoing(c))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if had && c.credential != nil && c.credential.root {
		err := c.gw.State.ChangeRule(c.ctx(), c.req.Bucket, func(old *state.Rule) (*state.Rule, error) {
			if old == nil || old.Set != rule.Set {
				return old, nil
			}
			return nil, nil
		})
		if err != nil {
			return err
		}
	}
	upstream.CopyAnswer(c.w.Header(), resp.Header, false)
	c.w.WriteHeader(resp.StatusCode)
	return nil
}
