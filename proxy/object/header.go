package object

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"ssegw/proxy/field"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Prepare puts the headers of a new sealed object into the form that the store
// keeps. The errors are S3 errors: for values that the store would change (see
// [Storable]) or not take, for metadata with the name of a piece of a sealed
// header, and for more user metadata than fits in addition to the sealed
// header. sent are the client's headers, and sealed is the most characters that
// the sealed header can have.
func Prepare(store *upstream.Store, sent, header http.Header, key string, sealed int) error {
	for name := range sent {
		if lower := field.Lower(name); sealer.IsPieceName(lower) {
			return errReserved(lower)
		}
	}
	if err := Storable(store.Capabilities().Altered, header, key); err != nil {
		return err
	}
	return fits(header, sealed, store.Capabilities().MetaValue)
}

func errReserved(name string) error {
	return s3.ErrInvalidArgument.Msg("The metadata name %s is reserved in sealed objects.", name)
}

// fits returns an S3 error if the store has no room for the user metadata in
// header and a sealed header of that many characters. limit is the longest
// value that the store takes, in bytes; 0 means that there is no limit.
func fits(header http.Header, sealed, limit int) error {
	size := s3.UserMetadataSize(header)
	own, err := sealer.HeaderValues(strings.Repeat("A", sealed), limit)
	if err != nil {
		return s3.ErrMetadataTooLarge.With(err)
	}
	all := size
	for name, v := range own {
		all += len(name) - len(s3.MetaPrefix) + len(v)
	}
	if all > s3.MaxUserMetadata {
		return s3.ErrMetadataTooLarge.Detail("Size", strconv.Itoa(size))
	}
	for name, values := range header {
		lower := field.Lower(name)
		switch n := len(strings.Join(values, ",")); {
		case !strings.HasPrefix(lower, s3.MetaPrefix):
		case len(own) > 1 && sealer.IsPieceName(lower):
			return errReserved(lower)
		case limit > 0 && n > limit:
			return s3.ErrMetadataTooLarge.Msg("The object store behind the gateway accepts at most %d bytes in a value of user metadata, and %s has %d.", limit, lower, n).
				Detail("Size", strconv.Itoa(n)).Detail("MaxSizeAllowed", strconv.Itoa(limit))
		}
	}
	return nil
}

// SetHeader writes a sealed header into the headers for the store, which
// [Prepare] has accepted. It splits a header that is longer than the store's
// limit. It never replaces metadata of the client's.
func SetHeader(store *upstream.Store, header http.Header, h *sealer.Header) error {
	values, err := sealer.HeaderValues(h.Encode(), store.Capabilities().MetaValue)
	if err != nil {
		return fmt.Errorf("object: %w", err)
	}
	for name, v := range values {
		if name != sealer.MetadataKey && header.Get(name) != "" {
			return errReserved(name)
		}
		field.Set(header, name, v)
	}
	return nil
}

// SameHeader reports whether an answer of the store has the sealed header that
// o was proven with. A copy of an object to itself changes the header and can
// leave body and ETag as they are.
func (o *Object) SameHeader(answer http.Header) bool {
	return sealer.HasHeader(answer, o.Header.Encode())
}
