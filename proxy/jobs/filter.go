package jobs

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
)

// Filter selects objects. All conditions that are set have to hold.
type Filter struct {
	Key    string    `json:"key,omitempty"`   // the KES key that the object is sealed under
	After  time.Time `json:"after,omitzero"`  // last modified at this time or later
	Before time.Time `json:"before,omitzero"` // last modified before this time

	// Ages count from Job.Created, in nanoseconds. So a command that is given
	// again asks for the same.
	NewerThan time.Duration `json:"newerThan,omitempty"` // younger than this
	OlderThan time.Duration `json:"olderThan,omitempty"` // older than this

	Tags     []Pair `json:"tags,omitempty"`     // the object has one of these tags
	Metadata []Pair `json:"metadata,omitempty"` // it has one of these headers or user metadata
}

// Pair is a name and a pattern of its value, in which * stands for any
// characters and ? for one.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// matches reports whether a value has the pattern.
func (p Pair) matches(value string) bool {
	pattern := regexp.QuoteMeta(p.Value)
	pattern = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(pattern)
	return regexp.MustCompile(`(?s)^(?:` + pattern + `)$`).MatchString(value)
}

// filter is a Filter that was checked, with times in the place of ages.
type filter struct{ Filter }

// prepare checks the filter of a job that was created at a time.
func (f Filter) prepare(created time.Time) (*filter, error) {
	for _, p := range append(f.Tags, f.Metadata...) {
		if p.Name == "" {
			return nil, fmt.Errorf("%w: a filter has a value without a name", ErrInvalid)
		}
	}
	if f.Key != "" {
		key, err := sse.KeyName(f.Key, "")
		if err != nil {
			return nil, err
		}
		f.Key = key
	}
	if at := created.Add(-f.NewerThan); f.NewerThan > 0 && at.After(f.After) {
		f.After = at
	}
	if at := created.Add(-f.OlderThan); f.OlderThan > 0 && (f.Before.IsZero() || at.Before(f.Before)) {
		f.Before = at
	}
	return &filter{f}, nil
}

// matchesEntry reports whether an entry of a listing can match.
func (f *filter) matchesEntry(e *s3.Entry) bool {
	if f.After.IsZero() && f.Before.IsZero() {
		return true
	}
	at, err := time.Parse(time.RFC3339Nano, e.LastModified)
	return err == nil && !at.Before(f.After) && (f.Before.IsZero() || at.Before(f.Before))
}

// check returns the result of an object that does not match.
func (f *filter) check(ctx context.Context, r *object.Reader, o *object.Object, stored http.Header) error {
	no := &because{ResultFiltered}
	switch {
	case f.Key != "" && o.Header.KeyName != f.Key:
		return no
	case len(f.Metadata) > 0 && !hasHeader(stored, f.Metadata):
		return no
	case len(f.Tags) == 0:
		return nil
	case stored.Get(s3.HeaderTaggingCount) == "":
		return no
	}
	tags, err := r.Store.Tags(ctx, r.Name.Bucket, r.Name.Key, r.VersionQuery())
	if err != nil {
		return err
	}
	for _, p := range f.Tags {
		for name, values := range tags {
			if strings.EqualFold(name, p.Name) && p.matches(strings.Join(values, "")) {
				return nil
			}
		}
	}
	return no
}

// hasHeader reports whether an object has one of these headers. User metadata
// may be named with and without its prefix.
func hasHeader(stored http.Header, pairs []Pair) bool {
	for name, values := range stored {
		if !s3.IsStored(name) {
			continue
		}
		for _, p := range pairs {
			isNamed := strings.EqualFold(name, p.Name) || strings.EqualFold(name, s3.MetaPrefix+p.Name)
			if isNamed && p.matches(strings.Join(values, ",")) {
				return true
			}
		}
	}
	return false
}
