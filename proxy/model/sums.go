package model

import (
	"ssegw/proxy/model/s3op"
	//nolint:gosec // S3's ETag
	//nolint:gosec // a checksum of S3

	"fmt"
)

// whole is the checksum of an object. A sealed object always has one; of others
// the store decides.
func whole(o *s3op.Object, algorithm string) s3op.Sum {
	if o.Scheme == s3op.Plain {
		return s3op.Sum{}
	}
	if algorithm == "" {
		algorithm = s3op.DefaultSum
	}
	return s3op.Sum{Algorithm: algorithm, Value: s3op.SumOf(algorithm, o.Body)}
}

// sums checks the checksums that an answer shows of an object. A sealed object
// has exactly one. Those of others are the store's, and right.
func sums(o *s3op.Object, shown map[string]string) error {
	if o.Scheme != s3op.Plain && o.Sum.Algorithm != "" {
		if len(shown) != 1 || shown[o.Sum.Algorithm] != o.Sum.Value {
			return fmt.Errorf("checksums %v, not %v", shown, o.Sum)
		}
		return nil
	}
	if err := s3op.RightSums(shown, o.Body); err != nil || o.Scheme == s3op.Plain {
		return err
	}
	for algorithm, value := range shown {
		o.Sum = s3op.Sum{Algorithm: algorithm, Value: value}
	}
	if len(shown) != 1 {
		return fmt.Errorf("%d checksums", len(shown))
	}
	return nil
}
