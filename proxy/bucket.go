package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"
)

// createBucket is CreateBucket.
func createBucket(c *call) error { return forwardAs(c, outgoing(c), relocate) }

// relocate is the edit of CreateBucket. It replaces the gateway's region with
// the store's.
func relocate(c *call, doc []byte) ([]byte, bool, error) {
	own := s3.Relocate(doc, c.gw.Region, c.gw.Upstream.Region())
	return own, !bytes.Equal(own, doc), s3.RefuseBucket(doc, c.gw.State.Bucket())
}

// getBucketLocation is GetBucketLocation. Clients sign for the region in the
// answer, so it is the gateway's own, if the gateway has one.
func getBucketLocation(c *call) error {
	if c.gw.Region == sigv4.AnyRegion {
		return forward(c)
	}
	resp, err := sendOn(c, outgoing(c))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return passAnswer(c, resp, s3.Location(c.gw.Region), "application/xml")
}

// getBucketPolicy is GetBucketPolicy, whose answer is JSON.
func getBucketPolicy(c *call) error {
	resp, err := sendOn(c, outgoing(c))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := upstream.ReadDocument(resp.Body)
	if err != nil {
		return err
	}
	if len(doc) > 0 && !json.Valid(doc) {
		return fmt.Errorf("%w: its answer to GetBucketPolicy is not JSON", upstream.ErrUnavailable)
	}
	return passAnswer(c, resp, doc, "application/json")
}

// putBucketPolicy is PutBucketPolicy. A policy is JSON and about its own
// bucket, so it cannot name the state bucket as an XML element.
func putBucketPolicy(c *call) error { return forwardAs(c, outgoing(c), refuseSSEPolicy) }

// refuseSSEPolicy is the edit of PutBucketPolicy. It changes nothing.
func refuseSSEPolicy(_ *call, doc []byte) ([]byte, bool, error) {
	if sse.InPolicy(doc) {
		return nil, false, sse.ErrPolicy
	}
	return doc, false, nil
}
