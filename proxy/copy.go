package proxy

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// copySource is the object that a copy reads.
type copySource struct {
	*reader             // of it: with the copy's conditions and customer key
	stored  http.Header // of the upstream's answer
	total   int64       // bytes upstream
	object  *sealedObject

	guard *guard // the condition that what the copy takes the place of is what was looked at; nil: there is none
}

// size is the plaintext size.
func (s *copySource) size() int64 {
	if s.object != nil {
		return s.object.size
	}
	return s.total
}

// keep puts what is kept with the source into the headers of its copy, except the
// website redirect, which copies do not take over.
func (s *copySource) keep(h http.Header) {
	kept := http.Header{}
	if s.object != nil {
		setUncovered(kept, s.stored, s.req.Key, s.object.header.Size)
		s.object.content.set(kept)
	} else {
		copyObject(kept, s.stored)
	}
	for name, values := range kept {
		if isStored(name) && !strings.EqualFold(name, s3.HeaderWebsiteRedirect) {
			h[name] = values
		}
	}
}

// sourceHeaders are the headers of a copy that are about its source, and what
// they are called when the source is read.
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

var errAnonymousCopy = s3.ErrAccessDenied.Msg("Anonymous users cannot copy objects. Please authenticate.")

// refuseSource answers a copy whose source is malformed. A bucket that is not there
// goes first, as at stores, which look for it before they read such headers.
func (c *call) refuseSource() error {
	resp, err := c.Upstream.expect(c.ctx(), outgoing{
		method: http.MethodGet, bucket: c.req.Bucket, query: url.Values{"location": {""}}, as: c.caller(),
	})
	var refused *upstreamError
	switch {
	case err == nil:
		discard(resp)
	case errors.As(err, &refused) && refused.code == s3.ErrNoSuchBucket.Code:
		return err // in the store's words, which a HEAD would not have
	}
	return c.req.CopySourceErr
}

// source looks at the copy's source.
func (c *call) source() (*copySource, error) {
	h := http.Header{}
	h.Set(s3.HeaderChecksumMode, "ENABLED")
	for name, plain := range sourceHeaders {
		if v, ok := single(c.req.Header, name); ok {
			h.Set(plain, v)
		}
	}
	s := &copySource{reader: c.at(c.ctx(), *c.req.CopySource, h)}
	head, err := s.head(lookup{})
	if err != nil {
		return nil, c.sourceError(s.reader, err)
	}
	s.stored, s.total = head.header, head.size
	if head.header.Get(sealer.MetadataKey) == "" {
		if err := s.allowPlain(); err != nil {
			return nil, err
		}
		err = s.readConditions().check(shownTag(head.header))
	} else {
		s.object, err = s.inspect(head.header, head.size)
	}
	if errors.Is(err, s3.ErrNotModified) {
		return nil, s3.ErrPreconditionFailed
	}
	return s, err
}

// sourceError is the error of a copy whose source s the store does not show: it
// names the source.
func (c *call) sourceError(s *reader, err error) error {
	isMissing := statusOf(err) == http.StatusNotFound
	switch {
	case errors.Is(err, s3.ErrNotModified), statusOf(err) == http.StatusPreconditionFailed:
		return s3.ErrPreconditionFailed
	case isMissing && c.auth.Anonymous() && c.req.Route.Action == s3.CopyObject:
		return errAnonymousCopy
	case isMissing && c.auth.Anonymous():
		return s3.ErrAccessDenied // who is not known is not told what does not exist
	case isMissing && c.req.CopySource.VersionID != "":
		return s.documented(s3.ErrNoSuchVersion)
	}
	err = s.explained(err)
	var up *upstreamError
	if errors.Is(err, errUpstream) || !errors.As(err, &up) {
		return err
	}
	return s.documented(s.storeError(up)).With(err)
}

// explained returns the error of a HEAD with the document that it lacks: that of
// the same GET.
func (c *reader) explained(err error) error {
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
	default:
		return err
	}
	if hasDocument(err) {
		return err
	}
	header := http.Header{"Range": {"bytes=0-0"}}
	passHeaders(header, c.req.Header, s3.HeaderExpectedOwner)
	resp, explained := c.Upstream.expect(c.ctx(), outgoing{
		method: http.MethodGet, bucket: c.req.Bucket, key: c.req.Key, query: c.versionQuery(),
		header: header, as: c.caller(),
	})
	if explained == nil {
		_ = resp.Body.Close() // it has come to be since
		return err
	}
	if statusOf(explained) != statusOf(err) {
		return err
	}
	return explained
}

// hasDocument reports whether an upstream's error says more than its status.
func hasDocument(err error) bool {
	var up *upstreamError
	return errors.As(err, &up) && up.code != ""
}

// copyObject is CopyObject. Between sealed objects no byte of the body passes
// the gateway: the header is sealed anew and the store copies.
func (c *call) copyObject() error {
	if err := c.checkCopy(); err != nil {
		return err
	}
	if err := c.chooseSource(); err != nil {
		return err
	}
	var g guard
	return again(func() error { return c.copyOnce(&g) })
}

// copyOnce looks at the source and copies that, or nothing.
func (c *call) copyOnce(g *guard) error {
	src, err := c.source()
	if err != nil {
		return err
	}
	s, err := c.copySealing(src)
	if err != nil {
		return err
	}
	header := c.copyHeader(src)
	if err := c.checkSelfCopy(src, s); err != nil {
		return err
	}
	if src.object == nil && s == nil {
		return c.copyPlain(src)
	}
	if err := c.destinationConditions(src, header, g); err != nil {
		return err
	}
	if err := c.consent(); err != nil {
		return err
	}
	switch {
	case src.object != nil && c.hasChecksum(src):
		return c.copySealed(src, s, header)
	default:
		return c.copyBody(src, s, header)
	}
}

// copySealing decides how the copy is sealed: as a write would be, but the copy
// of a sealed object is never plaintext because nobody asked for anything.
func (c *call) copySealing(src *copySource) (*sealing, error) {
	s, err := c.chosenCopySealing(src)
	if err != nil {
		return nil, err
	}
	return s, c.required(s)
}

func (c *call) chosenCopySealing(src *copySource) (*sealing, error) {
	s, err := c.chosenSealing()
	if s != nil || err != nil || src.object == nil {
		return s, err
	}
	h := src.object.header
	if h.Scheme == sealer.SSEKMS {
		if s, err = c.kmsSealing(h.KeyName, ""); err != nil {
			return nil, err
		}
		return s, c.chooseBucketKey(s, h.Shared)
	}
	return c.s3Sealing(), nil
}

// checkCopy refuses what is wrong with a copy whatever its source.
func (c *call) checkCopy() error {
	for _, d := range [...]struct{ name, what string }{{s3.HeaderMetadataDirective, "metadata"}, {s3.HeaderTaggingDirective, "tagging"}} {
		switch v := c.req.Header.Get(d.name); strings.ToUpper(v) {
		case "", "COPY", "REPLACE":
		default:
			return s3.ErrArgument(d.name, v, "Unknown "+d.what+" directive.")
		}
	}
	if userMetadataSize(c.req.Header) > maxUserMetadata {
		return s3.ErrMetadataTooLarge // also where it is the source's that counts
	}
	if a := c.req.Header.Get(s3.HeaderAlgorithm); a != "" {
		if _, ok := sealer.ParseAlgorithm(strings.ToUpper(a)); !ok {
			return errAlgorithm
		}
	}
	return nil
}

// replaces reports whether a directive of the request, which checkCopy knows, is REPLACE.
func (c *call) replaces(name string) bool {
	return strings.EqualFold(c.req.Header.Get(name), "REPLACE")
}

// copyHeader is what the copy keeps beside its body: metadata of the source or
// of the request, and the request's own settings.
func (c *call) copyHeader(src *copySource) http.Header {
	header := upstreamHeader(c.req.Header)
	if !c.replaces(s3.HeaderMetadataDirective) {
		for name := range header {
			if isStored(name) && !strings.EqualFold(name, s3.HeaderWebsiteRedirect) {
				header.Del(name)
			}
		}
		src.keep(header)
	}
	passHeaders(header, c.req.Header, s3.HeaderTaggingDirective)
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", defaultContentType)
	}
	return header
}

// checkSelfCopy refuses the copy of an object onto itself that changes nothing,
// as Amazon S3 does.
func (c *call) checkSelfCopy(src *copySource, s *sealing) error {
	from := c.req.CopySource
	if from.Bucket != c.req.Bucket || from.Key != c.req.Key || from.VersionID != "" {
		return nil
	}
	changed := src.object == nil && s != nil || src.object != nil && (src.object.header.Scheme != s.scheme || src.object.header.KeyName != s.keyName)
	for _, name := range [...]string{s3.HeaderStorageClass, s3.HeaderWebsiteRedirect, s3.HeaderSSE, s3.HeaderSSEBucketKey, s3.HeaderSSECAlgorithm, s3.HeaderAlgorithm} {
		changed = changed || c.req.Header.Get(name) != ""
	}
	if changed || c.replaces(s3.HeaderMetadataDirective) {
		return nil
	}
	return s3.ErrInvalidRequest.Msg("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
}

// hasChecksum reports whether a sealed source has a checksum of the algorithm that
// the copy is to have, if it asks for one. Another one needs the body.
func (c *call) hasChecksum(src *copySource) bool {
	algorithm := c.req.Header.Get(s3.HeaderAlgorithm)
	if algorithm == "" && !src.object.factless {
		return true
	}
	sums, err := src.checksums(src.object, 0)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(sums, func(sum sealer.Checksum) bool {
		return algorithm == "" || strings.EqualFold(sum.Algorithm.String(), algorithm)
	})
}

// copySealed seals the header anew, under the copy's name and key, and lets the
// store copy body and trailer as they are.
func (c *call) copySealed(src *copySource, s *sealing, header http.Header) error {
	if err := c.prepareHeader(s, header); err != nil {
		return err
	}
	h, err := c.reseal(src, s, header)
	if err != nil {
		return err
	}
	header.Set(sealer.MetadataKey, h.Encode())
	answer, result, err := c.storeCopy(src, header)
	if err != nil {
		return err
	}
	answer.Set("ETag", result.ETag)
	c.remember(result.ETag, src.total, src.object.entryFacts())
	// The store's checksums are of sealed bytes.
	result.Sums, result.SumType = nil, ""
	sums, err := src.checksums(src.object, 0)
	if err != nil {
		return err
	}
	for _, sum := range sums {
		result.SumType = checksumType(sum)
		result.Sums = append(result.Sums, checksumXML{xml.Name{Local: "Checksum" + sum.Algorithm.String()}, checksumValue(sum, src.object.partCount())})
	}
	return c.answerCopy(answer, s, result, src)
}

// takesAltered reports whether the copy takes over headers of the source that are not those
// that were stored. Reading them is allowed where SSEGW_HEADER_DIGEST=warn.
func (c *call) takesAltered(src *copySource) bool {
	return src.object != nil && src.object.altered && !c.replaces(s3.HeaderMetadataDirective)
}

// errUnverified refuses to seal headers as authentic that cannot be verified.
var errUnverified = s3.ErrInvalidRequest.Msg("The metadata of the source cannot be verified, because the root that it was sealed under is unknown. State the metadata with x-amz-metadata-directive: REPLACE.")

// reseal makes the header of a copy: the source's object key and facts under the
// copy's name, scheme and data key.
func (c *call) reseal(src *copySource, s *sealing, header http.Header) (*sealer.Header, error) {
	if c.takesAltered(src) && src.object.factless {
		return nil, errUnverified // there is no digest of theirs to keep
	}
	k, err := src.keyOf(src.object)
	if err != nil {
		return nil, err
	}
	defer k.Wipe()
	dataKey, sealedKey, err := c.newKey(s)
	if err != nil {
		return nil, err
	}
	defer dataKey.Wipe()
	facts := *src.object.facts
	if facts.Announced, err = src.announced(); err != nil {
		return nil, err
	}
	if !c.takesAltered(src) { // whose copy is as little authentic as they are
		facts.Headers = headersDigest(header, c.req.Key, src.object.header.Size)
	}
	h, err := src.object.header.Reseal(k, sealer.SealParams{
		Scheme: s.scheme, Binding: c.binding(), DataKey: dataKey, KeyName: s.keyName, SealedDataKey: sealedKey, Shared: s.shared, Context: s.encoded,
		Root: c.State.Root(), Facts: facts,
	})
	if err != nil {
		return nil, fmt.Errorf("proxy: sealing a copy: %w", err)
	}
	return h, nil
}

// announced names the checksum of the trailer of a sealed source. Where the facts
// do not open, the trailer tells.
func (s *copySource) announced() (sealer.Announcement, error) {
	if !s.object.factless || !s.object.header.Trailer {
		return s.object.facts.Announced, nil
	}
	sums, err := s.checksums(s.object, 0)
	if err != nil || len(sums) == 0 {
		return sealer.Announcement{}, err
	}
	return sealer.Announcement{Algorithm: sums[0].Algorithm, Composite: sums[0].Composite}, nil
}

// plainCopyHeader is what the store is asked for when the copy is its own work.
func (c *call) plainCopyHeader() http.Header {
	header := upstreamHeader(c.req.Header)
	passHeaders(header, c.req.Header, s3.HeaderMetadataDirective, s3.HeaderTaggingDirective, s3.HeaderAlgorithm)
	return header
}

// copyPlain copies between objects that are not sealed: the store's own work.
func (c *call) copyPlain(src *copySource) error {
	header := c.plainCopyHeader()
	if err := c.translateConditions(header); err != nil {
		return err
	}
	answer, result, err := c.copyUpstream(src, header)
	if err != nil {
		return err
	}
	return c.answerCopy(answer, nil, result, src)
}

// copyResult is the answer of CopyObject and UploadPartCopy.
type copyResult struct {
	XMLName      xml.Name
	LastModified string        `xml:"LastModified"`
	ETag         string        `xml:"ETag"`
	SumType      string        `xml:"ChecksumType,omitempty"`
	Sums         []checksumXML `xml:",any"`
}

// copyUpstream has the store copy the source that was looked at, and no later one.
func (c *call) copyUpstream(src *copySource, header http.Header) (http.Header, *copyResult, error) {
	header.Set(s3.HeaderCopySource, c.req.CopySource.String())
	header.Set(s3.HeaderCopySourceIfMatch, src.stored.Get("ETag"))
	resp, err := c.Upstream.expect(c.ctx(), outgoing{
		method: http.MethodPut, bucket: c.req.Bucket, key: c.req.Key, query: c.req.Query, header: header, as: c.caller(),
		copies: true,
	})
	if err == nil {
		defer func() { _ = resp.Body.Close() }()
		var result *copyResult
		if result, err = readCopyResult(resp); err == nil {
			return resp.Header, result, nil
		}
	}
	if !isConditional(header) {
		err = sourceChanged(err)
	}
	return nil, nil, err
}

// readCopyResult reads a result, or the error that can follow a status of 200.
func readCopyResult(resp *http.Response) (*copyResult, error) {
	doc, err := readListing(resp.Body)
	if err != nil {
		return nil, err
	}
	result := &copyResult{}
	if err := xml.Unmarshal(doc, result); err != nil {
		return nil, fmt.Errorf("%w: answer to a copy: %w", errUpstream, err)
	}
	if result.XMLName.Local == "Error" {
		return nil, lateError(resp.Header, doc)
	}
	return result, nil
}

// answerCopy answers a copy. s is nil when the copy is not sealed.
func (c *call) answerCopy(answer http.Header, s *sealing, result *copyResult, src *copySource) error {
	h := c.w.Header()
	copyAnswer(h, answer, s != nil)
	h.Del("ETag")
	if v := src.stored.Get(s3.HeaderVersionID); v != "" {
		h.Set(s3.HeaderCopySourceVersionID, v)
	}
	if s != nil {
		s.setHeaders(h)
		result.ETag = s3.ETagShown(result.ETag, true)
	}
	result.XMLName = xml.Name{Space: "http://s3.amazonaws.com/doc/2006-03-01/", Local: result.XMLName.Local}
	for i := range result.Sums {
		result.Sums[i].XMLName.Space = ""
	}
	doc, err := xml.Marshal(result)
	if err != nil {
		return fmt.Errorf("proxy: encoding an answer: %w", err)
	}
	doc = append([]byte(xml.Header), doc...)
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	_, err = c.w.Write(doc)
	return err
}
