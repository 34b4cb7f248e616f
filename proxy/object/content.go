package object

import (
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/field"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// SetContent writes the content of an object into an answer's headers, or into
// those of a request to the store.
func SetContent(h http.Header, c sealer.Content) {
	for name, value := range c {
		field.Set(h, name, s3.WireValue(name, value))
	}
}

// SetUncovered writes the content headers that the headers digest does not
// cover as the store has them: those that are not part of it, and empty ones.
func SetUncovered(h, stored http.Header, key string, size int64) {
	own := sealer.HeaderNames(stored)
	for name, values := range stored {
		lower := field.Lower(name)
		if slices.Contains(own, lower) || !s3.IsStored(lower) {
			continue
		}
		v := strings.Trim(strings.Join(values, ","), " \t")
		if v == "" || !sealer.InContent(lower, key, size) {
			field.Set(h, lower, v)
		}
	}
}
