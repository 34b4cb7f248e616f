package admin

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/jobs"
)

// generated is what `mc batch generate ALIAS keyrotate` prints, filled in.
const generated = `keyrotate:
  apiVersion: v1
  bucket: photos
  prefix: 2026/
  encryption:
    type: sse-kms # valid values are sse-s3 and sse-kms
    key: new-key # valid only for sse-kms
    context: eyJhIjoiYiJ9 # valid only for sse-kms

  # optional flags based filtering criteria
  # for all objects
  flags:
    filter:
      newerThan: "7d10h31s" # match objects newer than this value (e.g. 7d10h31s)
      olderThan: "1d" # match objects older than this value (e.g. 7d10h31s)
      createdAfter: "2026-11-25" # match objects created after "date"
      createdBefore: "2026-11-26T00:00:00Z" # match objects created before "date"
      tags:
        - key: "name"
          value: "pick*" # match objects with tag 'name', with all values starting with 'pick'
      metadata:
        - key: "content-type"
          value: "image/*" # match objects with 'content-type', with all values starting with 'image/'
      kmskey: "key-id" # match objects with KMS key-id (applicable only for sse-kms)
    notify:
      endpoint: "https://notify.endpoint" # notification endpoint to receive job status events
      token: "Bearer xxxxx" # optional authentication token for the notification endpoint
    retry:
      attempts: 10 # number of retries for the job before giving up
      delay: "500ms" # least amount of delay between each retry
`

func TestParseBatch(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	got, err := parseBatch([]byte(generated), now)
	if err != nil {
		t.Fatal(err)
	}
	want := &jobs.Job{Kind: jobs.Rekey, Bucket: "photos", Prefix: "2026/", Settings: jobs.Settings{
		Scheme: jobs.SchemeKMS, Key: "new-key", Context: "eyJhIjoiYiJ9", Attempts: 10, Delay: 500 * time.Millisecond,
		Notify: jobs.Notify{Endpoint: "https://notify.endpoint", Token: "Bearer xxxxx"},
		Filter: jobs.Filter{
			Key: "key-id", After: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC), Before: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC),
			Tags: []jobs.Pair{{Name: "name", Value: "pick*"}}, Metadata: []jobs.Pair{{Name: "content-type", Value: "image/*"}},
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	file, err := describeBatch(got)
	if err != nil || strings.Contains(string(file), "xxxxx") {
		t.Fatalf("%s, %v", file, err)
	}
	again, err := parseBatch(file, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	want.Settings.Notify.Token = ""
	if diff := cmp.Diff(want, again); diff != "" {
		t.Errorf("described as\n%s(-want +got):\n%s", file, diff)
	}
}

// TestDescribeAges: a job of the command line can have ages.
func TestDescribeAges(t *testing.T) {
	t.Parallel()
	j := &jobs.Job{Kind: jobs.Rekey, Bucket: "photos", Settings: jobs.Settings{Key: "k", Filter: jobs.Filter{NewerThan: 72 * time.Hour, OlderThan: time.Minute}}}
	file, err := describeBatch(j)
	if err != nil || !strings.Contains(string(file), "newerThan: 72h0m0s") || !strings.Contains(string(file), "olderThan: 1m0s") {
		t.Errorf("%s, %v", file, err)
	}
}

// TestParseBatchRefuses: what the gateway cannot do is refused by name.
func TestParseBatchRefuses(t *testing.T) {
	t.Parallel()
	for old, cases := range map[string][][2]string{
		"key: new-key":            {{"", "key is missing"}},
		"type: sse-kms":           {{"type: sse-c", "sse-c"}, {"type: sse-s3", "sse-kms only"}},
		"apiVersion: v1":          {{"apiVersion: v2", "v2"}},
		"bucket: photos":          {{"", "bucket is missing"}},
		"olderThan: \"1d\"":       {{"olderThan: soon", "olderThan"}, {"olderThan: \"-1h\"", "olderThan"}},
		"createdAfter: \"2026-11": {{"createdAfter: \"date\" # \"2026-11", "createdAfter"}},
		"kmskey:":                 {{"size:", "size"}},
		"attempts: 10":            {{"attempts: -1", "attempts"}},
		"delay: \"500ms\"":        {{"delay: \"never\"", "delay"}},
		"https://notify.endpoint": {{"notify.endpoint", "notify"}},
		"keyrotate:":              {{"replicate:\n  a: 1\nother:", "field other"}, {"expire:", "keyrotate"}},
	} {
		for _, c := range cases {
			if !strings.Contains(generated, old) {
				t.Fatalf("%q is not in the file", old)
			}
			_, err := parseBatch([]byte(strings.Replace(generated, old, c[0], 1)), time.Now())
			var refused *apiError
			if !errors.As(err, &refused) || !strings.Contains(refused.message, c[1]) {
				t.Errorf("%q instead of %q: %v", c[0], old, err)
			}
		}
	}
	if _, err := parseBatch(nil, time.Now()); err == nil {
		t.Error("accepts an empty file")
	}
}
