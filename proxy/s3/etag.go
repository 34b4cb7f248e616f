package s3

import "strings"

// ETagShown returns the entity tag that clients see for the upstream's: always in double quotes, and for sealed objects
// with "-1" appended unless it has a hyphen, so that no client takes it for the MD5 of the plaintext. A weak
// tag becomes a strong one: S3 knows no others. An empty tag stays empty.
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
