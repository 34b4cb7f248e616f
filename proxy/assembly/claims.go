package assembly

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"ssegw/proxy/object"
	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/state"
	"ssegw/sealer"
)

// Claims are the size and checksum of the whole object that the headers of a
// Complete give.
type Claims struct {
	size      int64            // plaintext bytes; -1: not given
	sumType   string           // FULL_OBJECT, COMPOSITE or ""
	algorithm sealer.Algorithm // of sum; 0: no checksum
	sum       string           // base64, with or without the number of parts
}

// ReadClaims reads the headers of a Complete. A value that no object can have
// is the S3 error InvalidRequest.
func ReadClaims(h http.Header) (Claims, error) {
	k := Claims{size: -1, sumType: strings.ToUpper(h.Get(s3.HeaderChecksumType))}
	if k.sumType != "" && k.sumType != s3.FullObject && k.sumType != s3.Composite {
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

// validWhole reports whether text can be the checksum of an object: a digest in
// base64, and for a composite one a hyphen and the number of parts.
func validWhole(a sealer.Algorithm, text string) bool {
	digest, parts, counted := strings.Cut(text, "-")
	if _, err := strconv.ParseUint(parts, 10, 31); counted && err != nil {
		return false
	}
	_, ok := sigv4.DecodeChecksum(a.String(), digest)
	return ok
}

// Check compares the claims with the part table and the checksum of the object.
// A claimed checksum of another algorithm cannot be verified, and is refused.
// Errors are those of S3.
func (k Claims) Check(u *state.Upload, table *sealer.PartTable, sum sealer.Checksum) error {
	switch {
	case k.sumType != "" && k.sumType != u.Type:
		return s3.ErrInvalidRequest.Msg("The upload was created using the %s checksum mode. The complete request must use the same checksum mode.",
			cmp.Or(u.Type, NoChecksum))
	case k.size >= 0 && k.size != table.Size():
		return s3.ErrInvalidRequest.Msg("The provided 'x-amz-mp-object-size' header value %d does not match what was computed: %d", k.size, table.Size())
	case k.algorithm == 0:
		return nil
	case k.algorithm != sum.Algorithm:
		return s3.ErrInvalidRequest.Msg("The %s checksum of the object cannot be verified: the parts were not uploaded with it.", k.algorithm)
	case k.sum != s3.ChecksumText(sum.Digest) && k.sum != object.ChecksumValue(sum, len(table.Parts)):
		return s3.ErrBadDigest.Msg("The %s you specified did not match the calculated checksum.", k.algorithm)
	}
	return nil
}

// listedChecksum is a checksum that a Complete lists for a part.
type listedChecksum struct {
	algorithm sealer.Algorithm
	text      string
}

// checksums returns the checksums that are listed for the part.
func (l *ListedPart) checksums() (listed []listedChecksum) {
	for _, o := range l.Other {
		name, ok := strings.CutPrefix(o.XMLName.Local, "Checksum")
		if a, known := sealer.ParseAlgorithm(name); ok && known && o.Value != "" {
			listed = append(listed, listedChecksum{a, o.Value})
		}
	}
	return listed
}

// checkSums compares the checksum that is listed for a part with that of the
// attempt. If the object's checksum is composite, every part must list one.
func (l *ListedPart) checkSums(u *state.Upload, p *state.Part) error {
	const invalid = "Invalid Base64 or multiple checksums present in request"
	listed, want := l.checksums(), u.Announced()
	if len(listed) == 0 {
		if want.Composite {
			return s3.ErrInvalidRequest.Msg("The upload was created using a %s checksum. The complete request must include the checksum "+
				"for each part. It was missing for part %d in the request.", strings.ToLower(u.Algorithm), p.Number)
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
		return s3.ErrBadDigest.Msg("The %s you specified for part %d did not match what we received.", strings.ToLower(sum.algorithm.String()), p.Number)
	}
	if known := p.Sum(sum.algorithm); known == nil || sum.text != s3.ChecksumText(known.Digest) {
		return l.invalid(u)
	}
	return nil
}

// invalid returns the S3 error for an entry that fits no attempt.
func (l *ListedPart) invalid(u *state.Upload) error {
	return s3.ErrInvalidPart.Detail("UploadId", u.ID).Detail("PartNumber", strconv.Itoa(*l.Number)).Detail("ETag", strings.Trim(l.ETag, `"`))
}

// Table returns the part table and the object's checksum. The table has
// checksums of parts only if the client chose the algorithm. An attempt without
// the upload's checksum is an error that wraps [sealer.ErrNotAuthentic].
func Table(u *state.Upload, chosen []*state.Part) (*sealer.PartTable, sealer.Checksum, error) {
	want := u.Announced()
	table := &sealer.PartTable{Algorithm: want.Algorithm, Composite: want.Composite}
	for _, p := range chosen {
		sum := p.Sum(want.Algorithm)
		if sum == nil {
			return nil, sealer.Checksum{}, errNoSum
		}
		table.Parts = append(table.Parts, sealer.Part{Number: p.Number, Size: p.Size, Nonce: p.Nonce, Digest: sum.Digest})
	}
	sum, err := payload.Combine(want.Algorithm, want.Composite, table.Parts)
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

var errNoSum = fmt.Errorf("part record without a checksum: %w", sealer.ErrNotAuthentic)

// NoChecksum is the checksum type that Amazon S3 shows if Create announced
// none.
const NoChecksum = "null"
