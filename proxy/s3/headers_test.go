package s3

import (
	"slices"
	"strings"
	"testing"
)

func TestContentHeaders(t *testing.T) {
	got := ContentHeaders()
	want := "cache-control content-disposition content-encoding content-language content-type expires"
	if strings.Join(got, " ") != want || !slices.IsSorted(got) {
		t.Errorf("got %v", got)
	}
	got[0] = "changed"
	if ContentHeaders()[0] != "cache-control" {
		t.Error("the list is shared with callers")
	}
}

func TestNamesOfClassesAndLevels(t *testing.T) {
	for c, want := range map[Class]string{Seal: "seal", Unseal: "unseal", Rewrite: "rewrite", Own: "own", Forward: "forward", Refuse: "refuse", 99: "invalid"} {
		if c.String() != want {
			t.Errorf("class %d is %s, want %s", c, c, want)
		}
	}
	for l, want := range map[Level]string{Service: "service", Bucket: "bucket", Object: "object", 99: "invalid"} {
		if l.String() != want {
			t.Errorf("level %d is %s, want %s", l, l, want)
		}
	}
}
