package state

import (
	"testing"

	"ssegw/proxy/upstream"
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
