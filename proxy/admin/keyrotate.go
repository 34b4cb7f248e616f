package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"ssegw/proxy/jobs"
)

// batchFile is the file of `mc batch start`, with MinIO's names.
type batchFile struct {
	KeyRotate *keyRotate `yaml:"keyrotate"`
	Replicate any        `yaml:"replicate,omitempty"`
	Expire    any        `yaml:"expire,omitempty"`
}

type keyRotate struct {
	APIVersion string           `yaml:"apiVersion"`
	Bucket     string           `yaml:"bucket"`
	Prefix     string           `yaml:"prefix,omitempty"`
	Encryption rotateEncryption `yaml:"encryption"`
	Flags      rotateFlags      `yaml:"flags,omitempty"`
}

type rotateEncryption struct {
	Type    string `yaml:"type"`
	Key     string `yaml:"key,omitempty"`
	Context string `yaml:"context,omitempty"`
}

type rotateFlags struct {
	Filter rotateFilter `yaml:"filter,omitempty"`
	Notify rotateNotify `yaml:"notify,omitempty"`
	Retry  rotateRetry  `yaml:"retry,omitempty"`
}

type rotateFilter struct {
	NewerThan     string       `yaml:"newerThan,omitempty"`
	OlderThan     string       `yaml:"olderThan,omitempty"`
	CreatedAfter  string       `yaml:"createdAfter,omitempty"`
	CreatedBefore string       `yaml:"createdBefore,omitempty"`
	Tags          []rotatePair `yaml:"tags,omitempty"`
	Metadata      []rotatePair `yaml:"metadata,omitempty"`
	KMSKey        string       `yaml:"kmskey,omitempty"`
	KMSKeyID      string       `yaml:"kmskeyid,omitempty"` // what MinIO reads, against its own template
}

type rotatePair struct {
	Key   string `yaml:"key"`
	Value string `yaml:"value"`
}

type rotateNotify struct {
	Endpoint string `yaml:"endpoint,omitempty"`
	Token    string `yaml:"token,omitempty"`
}

type rotateRetry struct {
	Attempts int    `yaml:"attempts,omitempty"`
	Delay    string `yaml:"delay,omitempty"`
}

const (
	typeS3  = "sse-s3"
	typeKMS = "sse-kms"
)

var errKind = &apiError{http.StatusNotImplemented, "NotImplemented", "Of MinIO's batch jobs, the gateway has keyrotate. Replication and expiry belong to the object store behind it."}

// errFile refuses a file.
func errFile(format string, args ...any) error {
	return &apiError{http.StatusBadRequest, "XMinioAdminInvalidArgument", fmt.Sprintf(format, args...)}
}

// parseBatch reads the file of a batch job. Members that it does not know are
// refused by name.
func parseBatch(file []byte, now time.Time) (*jobs.Job, error) {
	var f batchFile
	d := yaml.NewDecoder(bytes.NewReader(file))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, errFile("The file of the job: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	r := f.KeyRotate
	switch {
	case f.Replicate != nil || f.Expire != nil:
		return nil, errKind
	case r == nil:
		return nil, errFile("The file has no job. \"mc batch generate ALIAS keyrotate\" prints one to fill in.")
	case r.APIVersion != "v1":
		return nil, errFile("The apiVersion %q is not v1.", r.APIVersion)
	case r.Bucket == "":
		return nil, errFile("The bucket is missing.")
	}
	j := &jobs.Job{Kind: jobs.Rekey, Bucket: r.Bucket, Prefix: r.Prefix}
	s := &j.Settings
	switch e := r.Encryption; {
	case e.Type == typeS3 && (e.Key != "" || e.Context != ""):
		return nil, errFile("A key and a context are for sse-kms only.")
	case e.Type == typeS3:
		s.Scheme = jobs.SchemeS3
	case e.Type == typeKMS && e.Key == "":
		return nil, errFile("The key is missing.")
	case e.Type == typeKMS:
		s.Scheme, s.Key, s.Context = jobs.SchemeKMS, e.Key, e.Context
	default:
		return nil, errFile("The encryption type %q is neither %s nor %s.", e.Type, typeS3, typeKMS)
	}
	return j, r.Flags.settings(s, now)
}

// settings writes the flags into the settings of a job that starts now.
func (f *rotateFlags) settings(s *jobs.Settings, now time.Time) (err error) {
	in := &f.Filter
	out := &s.Filter
	if out.Key = in.KMSKey; out.Key == "" {
		out.Key = in.KMSKeyID
	}
	for _, t := range [...]struct {
		name, text string
		of         func(string) (time.Time, error)
		to         *time.Time
	}{
		{"newerThan", in.NewerThan, ago(now), &out.After}, {"olderThan", in.OlderThan, ago(now), &out.Before},
		{"createdAfter", in.CreatedAfter, parseTime, &out.After}, {"createdBefore", in.CreatedBefore, parseTime, &out.Before},
	} {
		if t.text == "" {
			continue
		}
		at, err := t.of(t.text)
		if err != nil {
			return errFile("%s: %q is no %s.", t.name, t.text, map[bool]string{true: "age, such as 7d10h31s", false: "date, such as 2026-01-31 or 2026-01-31T10:00:00Z"}[strings.HasSuffix(t.name, "Than")])
		}
		isLater := t.to == &out.After && at.After(*t.to)
		if t.to.IsZero() || isLater || t.to == &out.Before && at.Before(*t.to) {
			*t.to = at
		}
	}
	for _, p := range in.Tags {
		out.Tags = append(out.Tags, jobs.Pair{Name: p.Key, Value: p.Value})
	}
	for _, p := range in.Metadata {
		out.Metadata = append(out.Metadata, jobs.Pair{Name: p.Key, Value: p.Value})
	}
	if f.Notify.Endpoint != "" {
		if u, err := url.Parse(f.Notify.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return errFile("notify: %q is not the URL of an endpoint.", f.Notify.Endpoint)
		}
		s.Notify = jobs.Notify{Endpoint: f.Notify.Endpoint, Token: f.Notify.Token}
	}
	if f.Retry.Attempts < 0 {
		return errFile("retry: %d attempts.", f.Retry.Attempts)
	}
	s.Attempts = f.Retry.Attempts
	if f.Retry.Delay != "" {
		if s.Delay, err = time.ParseDuration(f.Retry.Delay); err != nil || s.Delay < 0 {
			return errFile("retry: the delay %q is no duration, such as 500ms.", f.Retry.Delay)
		}
	}
	return nil
}

// ago returns a function that parses an age, such as 7d10h31s, and returns the
// time so long before now.
func ago(now time.Time) func(string) (time.Time, error) {
	return func(text string) (time.Time, error) {
		days, rest, ok := strings.Cut(text, "d")
		if !ok {
			days, rest = "0", text
		}
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return time.Time{}, err
		}
		var age time.Duration
		if rest != "" {
			if age, err = time.ParseDuration(rest); err != nil {
				return time.Time{}, err
			}
		}
		if age < 0 {
			return time.Time{}, errors.New("a negative age")
		}
		return now.Add(-age).AddDate(0, 0, -int(n)), nil
	}
}

// parseTime parses a date, with or without a time.
func parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	return time.Parse(time.DateOnly, text)
}

// describeBatch returns the file that starts an equal job. It leaves out the
// token of the endpoint to notify.
func describeBatch(j *jobs.Job) ([]byte, error) {
	s := &j.Settings
	r := keyRotate{APIVersion: "v1", Bucket: j.Bucket, Prefix: j.Prefix, Encryption: rotateEncryption{Type: typeKMS, Key: s.Key, Context: s.Context}}
	if s.Scheme == jobs.SchemeS3 {
		r.Encryption.Type = typeS3
	}
	f := &r.Flags.Filter
	if f.KMSKey = s.Filter.Key; !s.Filter.After.IsZero() {
		f.CreatedAfter = s.Filter.After.Format(time.RFC3339)
	}
	if !s.Filter.Before.IsZero() {
		f.CreatedBefore = s.Filter.Before.Format(time.RFC3339)
	}
	if age := s.Filter.NewerThan; age > 0 {
		f.NewerThan = age.String()
	}
	if age := s.Filter.OlderThan; age > 0 {
		f.OlderThan = age.String()
	}
	for _, p := range s.Filter.Tags {
		f.Tags = append(f.Tags, rotatePair{p.Name, p.Value})
	}
	for _, p := range s.Filter.Metadata {
		f.Metadata = append(f.Metadata, rotatePair{p.Name, p.Value})
	}
	r.Flags.Notify.Endpoint = s.Notify.Endpoint
	if r.Flags.Retry.Attempts = s.Attempts; s.Delay > 0 {
		r.Flags.Retry.Delay = s.Delay.String()
	}
	return yaml.Marshal(batchFile{KeyRotate: &r})
}
