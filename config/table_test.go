package config

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of settings into README.md and docs/CONFIGURATION.md")

const (
	tableBegins = "<!-- config:begin -->\n"
	tableEnds   = "<!-- config:end -->"
)

func TestSettings(t *testing.T) {
	if settings[0].group == "" {
		t.Error("the first setting opens no group")
	}
	seen := map[string]bool{}
	for _, s := range settings {
		if !strings.HasPrefix(s.name, "SSEGW_") && !strings.HasPrefix(s.name, "MINIO_KMS_KES_") {
			t.Errorf("field %s: not a variable of the gateway: %q", s.field, s.name)
		}
		if !strings.HasSuffix(s.doc, ".") {
			t.Errorf("field %s: doc is not a sentence: %q", s.field, s.doc)
		}
		if rest, ok := strings.CutPrefix(s.name, "MINIO_"); ok && s.alias != "SSEGW_"+rest {
			t.Errorf("%s must also be SSEGW_%s, not %q", s.name, rest, s.alias)
		}
		if s.values != nil && !slices.Contains(s.values, s.def) {
			t.Errorf("%s: default %q is not one of its values", s.name, s.def)
		}
		if s.path != "" && s.path != "file" && s.path != "file or folder" {
			t.Errorf("%s: path tag %q", s.name, s.path)
		}
		if s.required && s.def != "" {
			t.Errorf("%s is required and has a default", s.name)
		}
		for _, name := range s.variables() {
			if seen[name] {
				t.Errorf("two settings read %s", name)
			}
			seen[name] = true
		}
	}
}

func TestSecretsAreSecrets(t *testing.T) {
	var got []string
	for _, s := range settings {
		if s.secret {
			got = append(got, s.name)
		}
	}
	want := []string{"SSEGW_SECRET_KEY", "SSEGW_UPSTREAM_SECRET_KEY", "MINIO_KMS_KES_API_KEY", "MINIO_KMS_KES_KEY_PASSWORD"}
	if !slices.Equal(got, want) {
		t.Errorf("secrets %v, want %v", got, want)
	}
}

// checkTable reports rows that are malformed, and missing ones.
func checkTable(t *testing.T, table string, wantRows int, want []string) {
	t.Helper()
	rows := 0
	for row := range strings.Lines(table) {
		if !strings.HasPrefix(row, "|") {
			continue
		}
		if n := strings.Count(row, "|") - strings.Count(row, `\|`); n != 4 {
			t.Errorf("row with %d cell borders: %s", n, row)
		}
		if strings.HasPrefix(row, "| `") {
			rows++
		}
	}
	if rows != wantRows {
		t.Errorf("%d rows for %d settings", rows, wantRows)
	}
	for _, text := range want {
		if !strings.Contains(table, text) {
			t.Errorf("the table lacks %s", text)
		}
	}
}

func TestTables(t *testing.T) {
	want := []string{
		"\n## Addresses and TLS\n\n| variable | meaning | default |\n|---|---|---|\n| `SSEGW_ADDRESS` | Address for S3 clients, mc and health checks. | `:9000` |\n",
		"| `SSEGW_DOMAIN` | Comma-separated host names for virtual-host requests: BUCKET.DOMAIN. | none |\n",
		"| `SSEGW_SECRET_KEY`<br>`SSEGW_SECRET_KEY_FILE` | Secret key of the root credential, at least 8 characters. Well-known defaults are refused. | none |\n",
	}
	for _, s := range settings {
		for _, name := range s.variables() {
			want = append(want, "`"+name+"`")
		}
	}
	checkTable(t, Tables(), len(settings), want)
}

func TestCommonTable(t *testing.T) {
	want := []string{
		"| `SSEGW_SECRET_KEY` | Secret key of the root credential, at least 8 characters. Well-known defaults are refused. | none |\n",
	}
	for _, s := range settings {
		if s.required && !s.common {
			t.Errorf("README.md does not list %s, which is required", s.name)
		}
	}
	checkTable(t, CommonTable(), 10, want)
}

// TestDocuments compares the tables in the documents with those of this
// package. Write them with
//
//	go test ./config -run TestDocuments -update
func TestDocuments(t *testing.T) {
	for file, want := range map[string]string{
		"../README.md":             CommonTable(),
		"../docs/CONFIGURATION.md": Tables(),
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		before, rest, hasBegin := strings.Cut(string(text), tableBegins)
		table, after, hasEnd := strings.Cut(rest, tableEnds)
		switch {
		case !hasBegin || !hasEnd:
			t.Errorf("%s lacks the lines %s and %s around the settings", file, strings.TrimSpace(tableBegins), tableEnds)
		case table == want:
		case !*update:
			t.Errorf("the settings in %s are out of date: go test ./config -run TestDocuments -update", file)
		default:
			if err := os.WriteFile(file, []byte(before+tableBegins+want+tableEnds+after), 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}
