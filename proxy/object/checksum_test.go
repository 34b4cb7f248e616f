package object

import (
	"testing"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// TestChecksumShown checks that a composite checksum ends in the number of
// parts.
func TestChecksumShown(t *testing.T) {
	t.Parallel()
	sum := sealer.Checksum{Algorithm: sealer.ChecksumSHA256, Composite: true, Digest: make([]byte, 32)}
	if got, want := ChecksumValue(sum, 3), s3.ChecksumText(sum.Digest)+"-3"; got != want || ChecksumType(sum) != s3.Composite {
		t.Errorf("%s %s, want %s", got, ChecksumType(sum), want)
	}
	sum.Composite = false
	if got, want := ChecksumValue(sum, 3), s3.ChecksumText(sum.Digest); got != want || ChecksumType(sum) != s3.FullObject {
		t.Errorf("%s %s, want %s", got, ChecksumType(sum), want)
	}
}
