package proxy

import (
	"testing"

	"ssegw/proxy/assembly"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// TestAnnouncedChecksums: which algorithm goes with which type.
func TestAnnouncedChecksums(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ algorithm, typ, want string }{
		{"", "", ""},
		{"", s3.FullObject, "refused"},
		{"CRC32", "", s3.Composite},
		{"CRC32", s3.FullObject, s3.FullObject},
		{"CRC32C", s3.Composite, s3.Composite},
		{"CRC64NVME", "", s3.FullObject},
		{"CRC64NVME", s3.Composite, "refused"},
		{"SHA256", "", s3.Composite},
		{"SHA256", s3.FullObject, "refused"},
		{"SHA1", s3.Composite, s3.Composite},
		{"SHA1", "OTHER", "refused"},
		{"ROT13", "", "refused"},
	} {
		u := &state.Upload{Algorithm: c.algorithm, Type: c.typ}
		err := assembly.CheckAnnounced(u)
		if refused := c.want == "refused"; refused != (err != nil) || !refused && u.Type != c.want {
			t.Errorf("%s %q: %q, %v, want %s", c.algorithm, c.typ, u.Type, err, c.want)
		}
	}
}
