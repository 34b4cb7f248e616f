package config

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of settings into README.md")

const (
	readme      = "../README.md"
	tableBegins = "<!-- config:begin -->\n"
	tableEnds   = "<!-- config:end -->"
)

func TestSettings(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range settings {
		if !strings.HasPrefix(s.name, "SSEGW_") && !strings.HasPrefix(s.name, "MINIO_KMS_KES_") {
			t.Errorf("field %s: no variable of ours: %q", s.field, s.name)
		}
		if !strings.HasSuffix(s.doc, ".") {
			t.Errorf("field %s: doc is no sentence: %q", s.field, s.doc)
		}
		if rest, ok := strings.CutPrefix(s.name, "MINIO_"); ok && s.alias != "SSEGW_"+rest {
			t.Errorf("%s must also be SSEGW_%s, not %q", s.name, rest, s.alias)
		}
		if s.values != nil && !slices.Contains(s.values, s.def) {
			t.Errorf("%s: default %q is none of its values", s.name, s.def)
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

func TestTable(t *testing.T) {
	table := Table()
	rows := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	if len(rows) != len(settings)+2 {
		t.Errorf("%d rows for %d settings", len(rows), len(settings))
	}
	for _, row := range rows {
		if n := strings.Count(row, "|") - strings.Count(row, `\|`); n != 4 {
			t.Errorf("row with %d cell borders: %s", n, row)
		}
	}
	for _, s := range settings {
		for _, name := range s.variables() {
			if !strings.Contains(table, "`"+name+"`") {
				t.Errorf("the table lacks %s", name)
			}
		}
	}
	for _, want := range []string{
		"| `SSEGW_ADDRESS` | Address that S3 clients, mc and health checks use. | `:9000` |\n",
		"| `SSEGW_DOMAIN` | Host names, separated by commas, for virtual-host requests: BUCKET.DOMAIN. | none |\n",
		"| `SSEGW_SECRET_KEY`<br>`SSEGW_SECRET_KEY_FILE` | Secret key of the root credential; at least 8 characters. Well-known defaults are refused. | none |\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks the row %s", want)
		}
	}
}

// The table in README.md is Table's. Write it with
//
//	go test ./config -run TestREADME -update
func TestREADME(t *testing.T) {
	text, err := os.ReadFile(readme)
	if errors.Is(err, fs.ErrNotExist) {
		return // nothing to be out of date
	}
	if err != nil {
		t.Fatal(err)
	}
	before, rest, hasBegin := strings.Cut(string(text), tableBegins)
	table, after, hasEnd := strings.Cut(rest, tableEnds)
	if !hasBegin || !hasEnd {
		t.Fatalf("README.md lacks the lines %s and %s around the table of settings", strings.TrimSpace(tableBegins), tableEnds)
	}
	if table == Table() {
		return
	}
	if !*update {
		t.Fatal("the table of settings in README.md is out of date: go test ./config -run TestREADME -update")
	}
	if err := os.WriteFile(readme, []byte(before+tableBegins+Table()+tableEnds+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
