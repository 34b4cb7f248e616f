package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// claims are what the headers of a Complete say of the whole object.
type claims struct {
	size      int64            // plaintext bytes; -1: nothing
	sumType   string           // FULL_OBJECT, COMPOSITE or ""
	algorithm sealer.Algorithm // of sum; 0: there is none
	sum       string           // as checksum headers carry it, with or without the number of parts
}

// readClaims reads the headers, whatever the upload is.
func readClaims(h http.Header) (claims, error) {
	k := claims{size: -1, sumType: strings.ToUpper(h.Get(s3.HeaderChecksumType))}
	if k.sumType != "" && k.sumType != fullObject && k.sumType != composite {
		return k, s3.ErrInvalidRequest.Msg("Value for x-amz-checksum-type header is invalid.")
	}
	if v := h.Get(s3.HeaderMPObjectSize); v != "" {
		var err error
		switch k.size, err = strconv.ParseInt(v, 10, 64); {
		case err != nil:
			return k, s3.ErrInvalidRequest.Msg("Value for x-amz-mp-object-size header is invalid: '%s'", v)
		case k.size < 0:
			return k, s3.ErrInvalidRequest.Msg("Value for x-amz-mp-object-size header is less than zero: '%d'", k.size)
		}
	}
	for name := range h {
		algorithm, ok := strings.CutPrefix(strings.ToLower(name), s3.ChecksumPrefix)
		a, known := sealer.ParseAlgorithm(strings.ToUpper(algorithm))
		if !ok || !known {
			continue
		}
		if k.algorithm != 0 {
			return k, s3.ErrInvalidRequest.Msg("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		k.algorithm, k.sum = a, h.Get(name)
	}
	if k.algorithm != 0 && !validWhole(k.algorithm, k.sum) {
		return k, s3.ErrInvalidRequest.Msg("Value for %s header is invalid.", sigv4.HeaderName(k.algorithm.String()))
	}
	return k, nil
}

// validWhole reports whether a text can be the checksum of a whole object: one of
// the checksums of its parts ends in their number.
func validWhole(a sealer.Algorithm, text string) bool {
	digest, parts, counted := strings.Cut(text, "-")
	if _, err := strconv.ParseUint(parts, 10, 31); counted && err != nil {
		return false
	}
	_, ok := sigv4.DecodeChecksum(a.String(), digest)
	return ok
}

// check holds the claims against what was uploaded. A checksum that does not
// follow from the parts' is refused, not ignored.
func (k claims) check(u *upload, table *sealer.PartTable, sum sealer.Checksum) error {
	switch {
	case k.sumType != "" && k.sumType != u.Type:
		return s3.ErrInvalidRequest.Msg("The upload was created using the %s checksum mode. The complete request must use the same checksum mode.",
			cmp.Or(u.Type, noChecksum))
	case k.size >= 0 && k.size != table.Size():
		return s3.ErrInvalidRequest.Msg("The provided 'x-amz-mp-object-size' header value %d does not match what was computed: %d", k.size, table.Size())
	case k.algorithm == 0:
		return nil
	case k.algorithm != sum.Algorithm:
		return s3.ErrInvalidRequest.Msg("The %s checksum of the object cannot be verified: the parts were not uploaded with it.", k.algorithm)
	case k.sum != checksumText(sum.Digest) && k.sum != checksumValue(sum, len(table.Parts)):
		return s3.ErrBadDigest.Msg("The %s you specified did not match the calculated checksum.", k.algorithm)
	}
	return nil
}

// listedChecksum is a checksum that a Complete lists for a part.
type listedChecksum struct {
	algorithm sealer.Algorithm
	text      string
}

// checksums are those that are listed for the part.
func (l *completedPart) checksums() (listed []listedChecksum) {
	for _, o := range l.Other {
		name, ok := strings.CutPrefix(o.XMLName.Local, "Checksum")
		if a, known := sealer.ParseAlgorithm(name); ok && known && o.Value != "" {
			listed = append(listed, listedChecksum{a, o.Value})
		}
	}
	return listed
}

// checkSums holds the checksum that is listed for a part against that of its
// attempt. Where the object's is made of the parts', each has to be listed.
func (l *completedPart) checkSums(u *upload, p *part) error {
	const invalid = "Invalid Base64 or multiple checksums present in request"
	listed, want := l.checksums(), u.announced()
	if len(listed) == 0 {
		if want.Composite {
			return s3.ErrInvalidRequest.Msg("The upload was created using a %s checksum. The complete request must include the checksum "+
				"for each part. It was missing for part %d in the request.", strings.ToLower(u.Algorithm), p.number)
		}
		return nil
	}
	if len(listed) > 1 {
		var all strings.Builder
		for _, sum := range listed {
			fmt.Fprintf(&all, "%s:%s;", sum.algorithm, sum.text)
		}
		return s3.ErrArgument("Checksum", all.String(), invalid)
	}
	sum := listed[0]
	_, ok := sigv4.DecodeChecksum(sum.algorithm.String(), sum.text)
	switch {
	case !ok:
		return s3.ErrArgument("Checksum", sum.text, invalid)
	case u.Algorithm != "" && sum.algorithm != want.Algorithm:
		return s3.ErrBadDigest.Msg("The %s you specified for part %d did not match what we received.", strings.ToLower(sum.algorithm.String()), p.number)
	}
	if known := p.sum(sum.algorithm); known == nil || sum.text != checksumText(known.Digest) {
		return u.invalidPart(l)
	}
	return nil
}

// invalidPart refuses an entry of a Complete that is of no attempt.
func (u *upload) invalidPart(l *completedPart) error {
	return s3.ErrInvalidPart.Detail("UploadId", u.ID).Detail("PartNumber", strconv.Itoa(*l.Number)).Detail("ETag", strings.Trim(l.ETag, `"`))
}

// tableOf returns the part table and the object's checksum. Parts have checksums
// in the table where the client chose the algorithm: the default one is of the
// object only.
func (c *call) tableOf(u *upload, chosen []*part) (*sealer.PartTable, sealer.Checksum, error) {
	want := u.announced()
	table := &sealer.PartTable{Algorithm: want.Algorithm, Composite: want.Composite}
	for _, p := range chosen {
		sum := p.sum(want.Algorithm)
		if sum == nil {
			return nil, sealer.Checksum{}, c.integrity("upload", errMismatch)
		}
		table.Parts = append(table.Parts, sealer.Part{Number: p.number, Size: p.Size, Nonce: p.Nonce, Digest: sum.Digest})
	}
	sum, err := objectChecksum(want.Algorithm, want.Composite, table.Parts)
	if err != nil {
		return nil, sealer.Checksum{}, err
	}
	if u.Algorithm == "" {
		table.Algorithm = 0
		for i := range table.Parts {
			table.Parts[i].Digest = nil
		}
	}
	return table, sum, nil
}
