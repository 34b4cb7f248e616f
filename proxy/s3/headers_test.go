package s3

import "testing"

func TestNamesOfClassesAndLevels(t *testing.T) {
	t.Parallel()
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
