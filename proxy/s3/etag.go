package s3

import "strings"

// ETagShown returns the entity tag that clients see for the upstream's tag. It
// is always in double quotes. For a sealed object it has "-1" appended unless
// it contains a hyphen, so that no client takes it for the MD5 of the
// plaintext. A weak tag becomes a strong one, because S3 has no weak tags. An
// empty tag stays empty.
func ETagShown(upstream string, sealed bool) string {
	tag := strings.Trim(strings.TrimPrefix(upstream, "W/"), `"`)
	if tag == "" {
		return ""
	}
	if sealed && !strings.Contains(tag, "-") {
		tag += "-1"
	}
	return `"` + tag + `"`
}
