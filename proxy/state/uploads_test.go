package state

import (
	"encoding/json"
	"testing"
	"time"

	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// TestStoreID checks that StoreID removes exactly what SealedID adds.
func TestStoreID(t *testing.T) {
	t.Parallel()
	tag := upstream.RandomTag()
	for id, want := range map[string]string{
		"x" + sealedMark + tag:                    "x",
		"x" + sealedMark + tag + sealedMark + tag: "x" + sealedMark + tag,
		"x" + sealedMark + tag[1:]:                "x" + sealedMark + tag[1:],
		"x" + sealedMark + tag + "0":              "x" + sealedMark + tag + "0",
		"x":                                       "x",
		"":                                        "",
		sealedMark:                                sealedMark,
		"2~a-b.c_d":                               "2~a-b.c_d",
	} {
		if got := StoreID(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
	if id := SealedID("x"); StoreID(id) != "x" || id == SealedID("x") {
		t.Errorf("%q", id)
	}
}

// TestUploadRecord pins the JSON of upload records, which other versions of the
// gateway read (FORMAT.md 15.1).
func TestUploadRecord(t *testing.T) {
	started := time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC)
	records := map[string]Upload{
		`{"bucket":"b","key":"k","id":"i","header":"h","algorithm":"CRC32","type":"COMPOSITE","started":"2026-11-26T01:02:03Z"}`: {
			Bucket: "b", Key: "k", ID: "i", Encoded: "h", Algorithm: "CRC32", Type: "COMPOSITE", Started: started, Header: &sealer.Parsed{},
		},
		`{"bucket":"b","key":"k","id":"i","plain":true,"started":"2026-11-26T01:02:03Z"}`: {
			Bucket: "b", Key: "k", ID: "i", Plain: true, Started: started,
		},
	}
	for want, u := range records {
		got, err := json.Marshal(u)
		if err != nil || string(got) != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
	}
}
