package stack

import (
	"errors"
	"testing"
)

func TestSelectable(t *testing.T) {
	const creds, calls = "var c = credentials.NewStaticV2(a)\n\n", "func main() {\n\ttestA()\n\tif tls {\n\t\ttestB()\n\t}\n}\n"
	got, err := selectable([]byte(constraint + creds + calls))
	want := "var c = credentials.NewStaticV4(a)\n\nfunc init() { mintMain = allTests }\n\nfunc allTests() {\n" +
		"\tmintTest(\"testA\", testA)\n\tif tls {\n\t\tmintTest(\"testB\", testB)\n\t}\n}\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	for _, source := range []string{
		"", creds + calls, constraint + calls, constraint + creds + "func main() {\n}\n", constraint + creds + calls + calls,
	} {
		if _, err := selectable([]byte(source)); !errors.Is(err, errOtherTests) {
			t.Errorf("%q: %v", source, err)
		}
	}
}
