package proxy

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"ssegw/proxy/assembly"
	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// copyObject is CopyObject. Between sealed objects no byte of the body passes
// the gateway: it seals a new header, and the store copies the rest.
func copyObject(c *call) error {
	if err := checkCopy(c); err != nil {
		return err
	}
	from, err := chooseSource(c)
	if err != nil {
		return err
	}
	var g guard
	return retryChanged(func() error { return copyOnce(c, from, &g) })
}

// copyOnce reads the source's headers and copies that very object. If it has
// changed meanwhile, the error is object.ErrChanged.
func copyOnce(c *call, from s3.CopySource, g *guard) error {
	src, err := openSource(c, from)
	if err != nil {
		return err
	}
	defer src.wipe()
	s, err := copySealing(c, src)
	if err != nil {
		return err
	}
	header := copyHeader(c, src)
	if err := checkSelfCopy(c, src, s); err != nil {
		return err
	}
	if src.object == nil && s == nil {
		return copyPlain(c, src)
	}
	if err := destinationConditions(c, src, header, g); err != nil {
		return err
	}
	if err := askConsent(c); err != nil {
		return err
	}
	if src.object != nil && hasChecksum(c, src) {
		return copySealed(c, src, s, header)
	}
	return copyBody(c, src, s, header)
}

// checkCopy refuses invalid headers of a copy, before its source is known.
func checkCopy(c *call) error {
	for _, d := range [...]struct{ name, what string }{{s3.HeaderMetadataDirective, "metadata"}, {s3.HeaderTaggingDirective, "tagging"}} {
		switch v := c.req.Header.Get(d.name); strings.ToUpper(v) {
		case "", "COPY", "REPLACE":
		default:
			return s3.ErrArgument(d.name, v, "Unknown "+d.what+" directive.")
		}
	}
	if s3.UserMetadataSize(c.req.Header) > s3.MaxUserMetadata {
		return s3.ErrMetadataTooLarge // also if the copy keeps the source's metadata
	}
	if a := c.req.Header.Get(s3.HeaderAlgorithm); a != "" {
		if _, ok := sealer.ParseAlgorithm(strings.ToUpper(a)); !ok {
			return assembly.ErrAlgorithm
		}
	}
	return nil
}

// refuseSource answers a copy with a malformed source. Stores check the bucket
// first, so a missing bucket is the error then.
func refuseSource(c *call) error {
	_, err := c.store().Exec(c.ctx(), upstream.Request{
		Method: http.MethodGet, Bucket: c.req.Bucket, Query: url.Values{"location": {""}},
	})
	if upstream.IsCode(err, s3.ErrNoSuchBucket) {
		return err // the store's document; a HEAD would have none
	}
	return c.req.CopySourceErr
}

var errAnonymousCopy = s3.ErrAccessDenied.Msg("Anonymous users cannot copy objects. Please authenticate.")

// copySource is the object that a copy reads.
type copySource struct {
	*object.Reader // with the copy's source conditions and customer key
	from           s3.CopySource
	stored         http.Header // of the store's answer
	total          int64       // stored bytes
	can            upstream.Capabilities
	listed         *s3.Entry      // its entry in an earlier listing; nil: none
	tagged         bool           // the copy needs a PUT, because the store loses the tags of others
	object         *object.Object // nil: the source is not sealed

	guard  *guard              // the condition that the copy replaces the object it read; nil: none
	opened []*sealer.ObjectKey // by read
}

// openSource reads the headers of the copy's source, and authenticates them if
// it is sealed.
func openSource(c *call, from s3.CopySource) (*copySource, error) {
	h := http.Header{}
	h.Set(s3.HeaderChecksumMode, "ENABLED")
	for name, plain := range sourceHeaders {
		if v, ok := s3.FirstValue(c.req.Header, name); ok {
			h.Set(plain, v)
		}
	}
	s := &copySource{Reader: c.access().At(from, h), from: from, can: c.gw.Upstream.Capabilities()}
	head, err := s.Head(c.ctx(), object.Request{})
	if err != nil {
		return nil, sourceError(c, s.Reader, err)
	}
	s.stored, s.total = head.Header, head.Size
	if !head.Sealed() {
		if err := allowPlain(c, s.Reader); err != nil {
			return nil, err
		}
		err = object.ConditionsOf(s.Header).Check(object.ShownTag(head.Header))
	} else if c.own {
		s.object, err = s.VerifyOwn(c.ctx(), head.Header, head.Size)
	} else {
		s.object, err = s.Inspect(c.ctx(), head.Header, head.Size)
	}
	if errors.Is(err, s3.ErrNotModified) {
		return nil, s3.ErrPreconditionFailed
	}
	return s, err
}

// sourceHeaders maps the headers of a copy that apply to its source to the
// headers of a read.
var sourceHeaders = map[string]string{
	s3.HeaderCopySourceIfMatch:       "If-Match",
	s3.HeaderCopySourceIfNoneMatch:   "If-None-Match",
	s3.HeaderCopySourceIfModified:    "If-Modified-Since",
	s3.HeaderCopySourceIfUnmodified:  "If-Unmodified-Since",
	s3.HeaderCopySourceSSECAlgorithm: s3.HeaderSSECAlgorithm,
	s3.HeaderCopySourceSSECKey:       s3.HeaderSSECKey,
	s3.HeaderCopySourceSSECKeyMD5:    s3.HeaderSSECKeyMD5,
	s3.HeaderSourceExpectedOwner:     s3.HeaderExpectedOwner,
}

// sourceError returns the client's error for a source that the store did not
// return. The error names the source, not the copy.
func sourceError(c *call, s *object.Reader, err error) error {
	isMissing := upstream.StatusOf(err) == http.StatusNotFound
	switch {
	case errors.Is(err, s3.ErrNotModified), upstream.StatusOf(err) == http.StatusPreconditionFailed:
		return s3.ErrPreconditionFailed
	case isMissing && c.auth.Anonymous() && c.req.Route.Action == s3.CopyObject:
		return errAnonymousCopy
	case isMissing && c.auth.Anonymous():
		return s3.ErrAccessDenied // anonymous clients do not learn which objects exist
	case isMissing && s.Version.Has("versionId"):
		return documentedFor(c, s, s3.ErrNoSuchVersion)
	}
	err = s.Explain(c.ctx(), err)
	var up *upstream.Error
	if errors.Is(err, upstream.ErrUnavailable) || !errors.As(err, &up) {
		return err
	}
	return documentedFor(c, s, up.S3(true)).With(err)
}

// wipe overwrites the keys of the source.
func (s *copySource) wipe() {
	if s.object != nil {
		s.object.Wipe()
	}
	for _, k := range s.opened {
		k.Wipe()
	}
}

// size returns the plaintext size of the source in bytes.
func (s *copySource) size() int64 {
	if s.object != nil {
		return s.object.Size
	}
	return s.total
}

// keep adds the source's content headers and metadata to those of its copy.
// Copies do not keep the website redirect.
func (s *copySource) keep(h http.Header) {
	kept := http.Header{}
	if s.object != nil {
		object.SetUncovered(kept, s.stored, s.Name.Key, s.object.Header.Size)
		object.SetContent(kept, s.object.Content)
	} else {
		upstream.CopyObject(kept, s.stored)
	}
	for name, values := range kept {
		if s3.IsStored(name) && !strings.EqualFold(name, s3.HeaderWebsiteRedirect) {
			h[name] = values
		}
	}
}

// copyHeader returns the headers that are stored with the copy: the metadata of
// the source or of the request, and the settings of the request.
func copyHeader(c *call, src *copySource) http.Header {
	header := upstream.RequestHeader(c.req.Header)
	if !isReplaced(c, s3.HeaderMetadataDirective) {
		for name := range header {
			if s3.IsStored(name) && !strings.EqualFold(name, s3.HeaderWebsiteRedirect) {
				header.Del(name)
			}
		}
		src.keep(header)
	}
	upstream.PassHeaders(header, c.req.Header, s3.HeaderTaggingDirective)
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", s3.DefaultContentType)
	}
	return header
}

// isReplaced reports whether a directive of the request is REPLACE. checkCopy
// has validated it.
func isReplaced(c *call, name string) bool {
	return strings.EqualFold(c.req.Header.Get(name), "REPLACE")
}

// checkSelfCopy refuses a copy of an object to itself that changes nothing, as
// Amazon S3 does.
func checkSelfCopy(c *call, src *copySource, s *sse.Sealing) error {
	if !isSelfCopy(c, src) || src.from.VersionID != "" {
		return nil
	}
	changed := src.object == nil && s != nil || src.object != nil && (src.object.Header.Scheme != s.Scheme || src.object.Header.KeyName != s.KeyName)
	for _, name := range [...]string{s3.HeaderStorageClass, s3.HeaderWebsiteRedirect, s3.HeaderSSE, s3.HeaderSSEBucketKey, s3.HeaderSSECAlgorithm, s3.HeaderAlgorithm} {
		changed = changed || c.req.Header.Get(name) != ""
	}
	if changed || isReplaced(c, s3.HeaderMetadataDirective) {
		return nil
	}
	return s3.ErrInvalidRequest.Msg("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
}

// copyPlain copies plaintext to plaintext. The store does all the work.
func copyPlain(c *call, src *copySource) error {
	header := plainCopyHeader(c)
	if err := c.object().StoreConditions(c.ctx(), header); err != nil {
		return err
	}
	// Stores that honour conditions in a PutObject ignore them in a CopyObject.
	if err := c.object().CheckIgnored(c.ctx(), header, upstream.Conditions{}); err != nil {
		return err
	}
	answer, result, err := copyAtStore(c, src, c.req.Query, header)
	if err != nil {
		return err
	}
	return answerCopy(c, answer, nil, result, src)
}

// plainCopyHeader returns the headers of a copy that the store makes by itself.
func plainCopyHeader(c *call) http.Header {
	header := upstream.RequestHeader(c.req.Header)
	upstream.PassHeaders(header, c.req.Header, s3.HeaderMetadataDirective, s3.HeaderTaggingDirective, s3.HeaderAlgorithm)
	return header
}

// copyAtStore has the store copy the source, if possible on the condition that
// it is still the object that was read.
func copyAtStore(c *call, src *copySource, query url.Values, header http.Header) (http.Header, *upstream.CopyResult, error) {
	header.Set(s3.HeaderCopySource, src.from.String())
	src.setGuard(header)
	answer, result, err := c.store().Copy(c.ctx(), c.req.Bucket, c.req.Key, query, header)
	if err == nil && !src.isGuarded() {
		err = src.confirm(c.ctx()) // the store may have copied a successor
	}
	if err != nil && !object.IsConditional(header) {
		err = object.SourceChanged(err)
	}
	return answer, result, err
}

// hasChecksum reports whether a sealed source has the checksum that the copy
// needs. To compute another one the gateway has to read the body.
func hasChecksum(c *call, src *copySource) bool {
	algorithm := c.req.Header.Get(s3.HeaderAlgorithm)
	if algorithm == "" && !src.object.Factless {
		return true
	}
	sums, err := src.Checksums(c.ctx(), src.object, 0)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(sums, func(sum sealer.Checksum) bool {
		return algorithm == "" || strings.EqualFold(sum.Algorithm.String(), algorithm)
	})
}

// copySealed seals a new header, for the copy's name and data key. The store
// copies body and trailer as they are.
func copySealed(c *call, src *copySource, s *sse.Sealing, header http.Header) error {
	if err := prepareHeader(c, s, header); err != nil {
		return err
	}
	if err := reseal(c, src, s, header); err != nil {
		return err
	}
	sums, err := src.Checksums(c.ctx(), src.object, 0) // the copy may replace the source
	if err != nil {
		return err
	}
	answer, result, err := storeCopy(c, src, header)
	if err != nil {
		return err
	}
	answer.Set("ETag", result.ETag)
	c.gw.caches.Remember(c.name(), result.ETag, src.total, src.object.Entry())
	// The store's checksums cover sealed bytes.
	result.Sums, result.SumType = nil, ""
	for _, sum := range sums {
		result.SumType = object.ChecksumType(sum)
		result.Sums = append(result.Sums, s3.NewChecksumElement(sum.Algorithm.String(), object.ChecksumValue(sum, src.object.PartCount())))
	}
	return answerCopy(c, answer, s, result, src)
}

// takesAltered reports whether the copy keeps headers of the source that are
// altered or unverified. The client sees such headers only under
// SSEGW_HEADER_DIGEST=warn or with an unknown root.
func takesAltered(c *call, src *copySource) bool {
	return src.object != nil && src.object.Altered && !isReplaced(c, s3.HeaderMetadataDirective)
}

// reseal adds the sealed header of a copy to the headers for the store: the
// source's object key and facts, sealed for the copy's name, scheme and data
// key.
func reseal(c *call, src *copySource, s *sse.Sealing, header http.Header) error {
	if takesAltered(c, src) && src.object.Factless {
		return errUnverified // the digest to keep is unknown
	}
	k, err := src.KeyOf(c.ctx(), src.object)
	if err != nil {
		return err
	}
	defer k.Wipe()
	dataKey, sealedKey, err := c.keys().New(c.ctx(), c.name(), s)
	if err != nil {
		return err
	}
	defer dataKey.Wipe()
	facts := *src.object.Facts
	if facts.Announced, err = src.Announced(c.ctx(), src.object); err != nil {
		return err
	}
	if !takesAltered(c, src) { // altered headers keep their digest, so that the copy fails verification too
		facts.Headers = sealer.NewContent(header, c.req.Key, src.object.Header.Size).Digest()
	}
	h, err := src.object.Header.Reseal(k, sealer.SealParams{
		Scheme: s.Scheme, Binding: c.name(), DataKey: dataKey, KeyName: s.KeyName, SealedDataKey: sealedKey, Shared: s.Shared, Context: s.Context,
		Root: c.gw.State.Root(), Facts: facts,
	})
	if err != nil {
		return fmt.Errorf("proxy: sealing a copy: %w", err)
	}
	return object.SetHeader(c.gw.Upstream, header, h)
}

// errUnverified refuses to copy unverified headers, because the copy would
// vouch for them.
var errUnverified = s3.ErrInvalidRequest.Msg("The metadata of the source cannot be verified, because the root that it was sealed under is unknown. State the metadata with x-amz-metadata-directive: REPLACE.")

// answerCopy answers a copy. s is nil if the copy is not sealed.
func answerCopy(c *call, answer http.Header, s *sse.Sealing, result *upstream.CopyResult, src *copySource) error {
	h := c.w.Header()
	upstream.CopyAnswer(h, answer, s != nil)
	h.Del("ETag")
	if v := src.stored.Get(s3.HeaderVersionID); v != "" {
		h.Set(s3.HeaderCopySourceVersionID, v)
	}
	if s != nil {
		s.SetHeaders(h)
		result.ETag = s3.ETagShown(result.ETag, true)
	}
	result.XMLName = xml.Name{Space: "http://s3.amazonaws.com/doc/2006-03-01/", Local: result.XMLName.Local}
	for i := range result.Sums {
		result.Sums[i].XMLName.Space = ""
	}
	return c.w.sendXML(http.StatusOK, result)
}
