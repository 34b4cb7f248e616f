package proxy

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"ssegw/proxy/s3"
)

// The operations on a bucket's default encryption are the gateway's own: the
// upstream never sees a rule.

// ownBucket checks that a request about a rule may be made: by a client with a
// credential, about a bucket that the store lets it see.
func (c *call) ownBucket() error {
	if c.auth.Anonymous() {
		return s3.ErrAccessDenied
	}
	resp, err := c.Upstream.expect(c.ctx(), outgoing{method: http.MethodHead, bucket: c.req.Bucket, as: c.caller()})
	// A HEAD's error has no document that could be passed on.
	switch {
	case statusOf(err) == http.StatusNotFound:
		return s3.ErrNoSuchBucket
	case statusOf(err) == http.StatusForbidden:
		return s3.ErrAccessDenied
	case err != nil:
		return err
	}
	return resp.Body.Close()
}

// getBucketEncryption is GetBucketEncryption.
func (c *call) getBucketEncryption() error {
	if err := c.ownBucket(); err != nil {
		return err
	}
	rule, ok, err := c.State.rule(c.ctx(), c.req.Bucket)
	if err != nil {
		return err
	}
	if !ok {
		return s3.ErrEncryptionNotFound
	}
	doc := (&s3.Encryption{Algorithm: rule.Algorithm, KeyID: rule.KeyID, BucketKey: rule.BucketKey, Blocked: rule.Blocked}).Marshal()
	c.w.Header().Set("Content-Type", "application/xml")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(doc)))
	_, err = c.w.Write(doc)
	return err
}

// putBucketEncryption is PutBucketEncryption. The KES key is tried first: a
// rule that no write could follow is not stored.
func (c *call) putBucketEncryption() error {
	doc, _, err := c.document()
	if err != nil {
		return err
	}
	e, err := s3.ParseEncryption(doc)
	if err != nil {
		return err
	}
	if err := c.ownBucket(); err != nil {
		return err
	}
	if e.Algorithm == s3.AWSKMS {
		name, err := c.keyName(e.KeyID)
		if err != nil {
			return err
		}
		ctx, cancel := c.kmsContext()
		defer cancel()
		err = c.KMS.Check(ctx, name)
		if c.audit(useCheck, name, err); err != nil {
			return err
		}
	}
	rule := Rule{Algorithm: e.Algorithm, KeyID: e.KeyID, BucketKey: e.BucketKey}
	if !slices.Contains(e.Blocked, "NONE") {
		rule.Blocked = e.Blocked
	}
	err = c.State.changeRule(c.ctx(), c.req.Bucket, func(old *Rule) (_ *Rule, err error) {
		if old != nil {
			rule.SealedOnly = old.SealedOnly
		} else if rule.SealedOnly, err = c.bucketEmpty(); err != nil {
			return nil, err
		}
		return &rule, nil
	})
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// bucketEmpty reports whether the bucket has neither objects nor versions, nor uploads
// that could become objects without being sealed.
func (c *call) bucketEmpty() (bool, error) {
	for _, query := range []url.Values{
		{"uploads": {""}, "max-uploads": {"1"}}, {"versions": {""}, "max-keys": {"1"}}, {"list-type": {"2"}, "max-keys": {"1"}},
	} {
		resp, err := c.Upstream.expect(c.ctx(), outgoing{method: http.MethodGet, bucket: c.req.Bucket, query: query})
		if status := statusOf(err); status == http.StatusNotImplemented || status == http.StatusMethodNotAllowed {
			continue // a store without versions, or uploads
		}
		if err != nil {
			return false, err
		}
		listing, err := parseListing(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return false, err
		}
		if len(listing.Entries) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// deleteBucketEncryption is DeleteBucketEncryption. It succeeds without a rule too.
func (c *call) deleteBucketEncryption() error {
	if err := c.ownBucket(); err != nil {
		return err
	}
	err := c.State.changeRule(c.ctx(), c.req.Bucket, func(*Rule) (*Rule, error) { return nil, nil })
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// deleteBucket is DeleteBucket. A rule ends with its bucket: one of the same
// name starts without. A rule that was set in between is of the new bucket. Who may
// not change rules does not end one in this way: it waits for the bucket's return.
func (c *call) deleteBucket() error {
	rule, had, err := c.State.freshRule(c.ctx(), c.req.Bucket)
	if err != nil {
		return err
	}
	resp, err := c.forwarded()
	if err != nil {
		return err
	}
	defer discard(resp)
	if had && c.credential != nil && c.credential.root {
		err := c.State.changeRule(c.ctx(), c.req.Bucket, func(old *Rule) (*Rule, error) {
			if old == nil || old.Set != rule.Set {
				return old, nil
			}
			return nil, nil
		})
		if err != nil {
			return err
		}
	}
	copyAnswer(c.w.Header(), resp.Header, false)
	c.w.WriteHeader(resp.StatusCode)
	return nil
}
