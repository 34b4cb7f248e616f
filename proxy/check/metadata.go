package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// fewMetadata is the number of bytes of user metadata below which clients may
// have too little.
const fewMetadata = 1024

// errMetadata is returned for metadata that the store took and did not keep.
var errMetadata = errors.New("the store does not keep user metadata")

// checkMetadataSize finds how much user metadata the store accepts: in one
// value, and in addition to the sealed header of an SSE-KMS object with a
// checksum and without a context.
func (k *checker) checkMetadataSize(ctx context.Context, object string) Finding {
	const remedy = "use another store: a sealed object needs its header"
	if err := k.prober().MetaValue(ctx); err != nil {
		return unexpected(err)
	}
	limit := k.Upstream.Capabilities().MetaValue
	sealed := sealer.EncodedSize(sealer.SSEKMS, k.KMS.DefaultKey(), nil)
	own, err := sealedMetadata(sealed, limit)
	if err != nil {
		return failed(remedy, "the store accepts at most %d bytes in a value of user metadata, which is too little for the %d bytes of a sealed header", limit, sealed)
	}
	header := fmt.Sprintf("a sealed header of up to %d bytes", sealed)
	if limit > 0 {
		header += fmt.Sprintf(", which takes %d values because the store accepts at most %d bytes in one", len(own), limit)
	}
	all := s3.MaxUserMetadata - s3.UserMetadataSize(own) // what the gateway leaves for clients
	taken, err := largest(all, func(n int) (bool, error) {
		err := k.keepsMetadata(ctx, object, withClients(own, n, limit))
		// Stores also answer 500 to too much metadata. With the header alone, a
		// 500 means something else.
		if errors.Is(err, errMetadata) || upstream.StatusOf(err)/100 == 4 || n > 0 && upstream.AnswerOf(err) != nil {
			return false, nil
		}
		return err == nil, err
	})
	switch {
	case err != nil:
		return unexpected(err)
	case taken < 0:
		return failed(remedy, "the store does not accept %s", header)
	case taken < fewMetadata:
		return warning("tell clients that the store refuses more than that", "the store accepts only %d of the %d bytes that clients have on Amazon S3, in addition to %s", taken, all, header)
	}
	return okay("%d bytes for clients, in addition to %s", taken, header)
}

// keepsMetadata stores a probe with user metadata. It returns errMetadata if
// the store does not return all of it.
func (k *checker) keepsMetadata(ctx context.Context, object string, metadata http.Header) error {
	if err := k.put(ctx, object, []byte("probe"), metadata.Clone()); err != nil {
		return err
	}
	stored, err := k.head(ctx, object)
	if err == nil && s3.UserMetadataSize(stored) != s3.UserMetadataSize(metadata) {
		err = errMetadata
	}
	return err
}

// sealedMetadata returns metadata like that with a sealed header of so many
// bytes. limit is the longest value in bytes; 0 means that there is no limit.
func sealedMetadata(sealed, limit int) (http.Header, error) {
	values, err := sealer.HeaderValues(strings.Repeat("A", sealed), limit)
	h := http.Header{}
	for name, v := range values {
		h.Set(name, v)
	}
	return h, err
}

// withClients returns metadata with n more bytes for clients, names included,
// in values of at most limit bytes. It leaves out a rest that is too short for
// a name.
func withClients(own http.Header, n, limit int) http.Header {
	h := maps.Clone(own)
	for i := 10; ; i++ { // names of two digits
		name := fmt.Sprintf("c%d", i)
		size := n - len(name)
		if limit > 0 {
			size = min(size, limit)
		}
		if size < 1 {
			return h
		}
		h.Set(s3.MetaPrefix+name, strings.Repeat("c", size))
		n -= len(name) + size
	}
}

// largest returns the largest n up to limit for which ok returns true, or up to
// 15 less, or -1 if there is none. ok must return true for all smaller n too.
func largest(limit int, ok func(int) (bool, error)) (int, error) {
	if yes, err := ok(limit); yes || err != nil {
		return limit, err
	}
	if yes, err := ok(0); !yes || err != nil {
		return -1, err
	}
	low, high := 0, limit // ok(low) is true, ok(high) is false
	for high-low > 16 {
		middle := (low + high) / 2
		yes, err := ok(middle)
		if err != nil {
			return -1, err
		}
		if yes {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}
