package s3

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table of operations into docs/S3.md")

const (
	documentFile = "../../docs/S3.md"
	tableBegins  = "<!-- operations:begin -->\n"
	tableEnds    = "<!-- operations:end -->"
)

// TestDocument compares the table of operations in docs/S3.md with the routes.
func TestDocument(t *testing.T) {
	t.Parallel()
	old, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(old), tableBegins)
	_, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", documentFile, tableBegins, tableEnds)
	}
	want := before + tableBegins + operationsTable() + tableEnds + after
	if *update {
		if err := os.WriteFile(documentFile, []byte(want), 0o644); err != nil { //nolint:gosec // documentation may be read by anyone
			t.Fatal(err)
		}
		return
	}
	if d := gocmp.Diff(string(old), want); d != "" {
		t.Errorf("run go test ./proxy/s3 -run TestDocument -update (-have +want):\n%s", d)
	}
}

// operationsTable returns the table of operations in Markdown.
func operationsTable() string {
	var b strings.Builder
	b.WriteString("| operation | request | class |\n|---|---|---|\n")
	for _, r := range Routes() {
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", r.Action, requestLine(r), r.Class)
	}
	return b.String()
}

// requestLine shows the parts of a request that select the route.
func requestLine(r Route) string {
	line := r.Method + " " + map[Level]string{Service: "/", Bucket: "/bucket", Object: "/bucket/key"}[r.Level]
	if r.Action == WriteGetObjectResponse {
		line = r.Method + " " + writeGetObjectResponsePath
	}
	if q := strings.Join(r.Query, "&"); q != "" {
		line += "?" + cmp.Or(map[string]string{"list-type": "list-type=2"}[q], q)
	}
	if r.CopySource {
		line += ", x-amz-copy-source"
	}
	return line
}
