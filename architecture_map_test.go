package ssegw_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const mapFile = "docs/ARCHITECTURE.md"

// goName matches what a backquoted text has to look like to be checked as the
// name of a declaration: pkg.Name or pkg.Type.Member.
var goName = regexp.MustCompile(`^([a-z][a-z0-9]*)\.(\w+(?:\.\w+)?)$`)

// treePath matches what has to look like a path in the module: it ends in .go,
// or has a slash between names.
var treePath = regexp.MustCompile(`^(?:[\w.-]+/)*[\w.-]+\.go$|^[a-z][\w.-]*(?:/[\w.-]+)+$`)

// TestArchitectureMap: the map of the code names nothing that does not exist.
func TestArchitectureMap(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile(mapFile)
	if err != nil {
		t.Fatal(err)
	}
	declared := declaredNames(t)
	names, paths := 0, 0
	for _, text := range quoted(string(doc)) {
		switch {
		case treePath.MatchString(text):
			paths++
		case goName.MatchString(text):
			names++
		}
		if problem := mapProblem(text, declared); problem != "" {
			t.Errorf("%s: %s", mapFile, problem)
		}
	}
	if names < 50 || paths < 20 {
		t.Errorf("%d names and %d paths found: the patterns miss them", names, paths)
	}
}

// TestArchitectureMapRules checks that the check of the map finds what does not
// exist, and only that.
func TestArchitectureMapRules(t *testing.T) {
	t.Parallel()
	declared := declaredNames(t)
	for _, tt := range []struct{ text, want string }{
		{"proxy.putObject", ""},
		{"object.Reader.Prove", ""},
		{"proxy.noSuchHandler", "proxy.noSuchHandler does not exist"},
		{"nosuch.Thing", "nosuch.Thing: there is no package nosuch"},
		{"proxy/object/open.go", ""},
		{"architecture_test.go", ""},
		{"open.go", "open.go does not exist"},
		{"proxy/object/nosuch.go", "proxy/object/nosuch.go does not exist"},
		{"proxy/nosuch", "proxy/nosuch does not exist"},
		{"proxy/object", ""},
		{"mc admin", ""},
		{"/minio/health/ready", ""},
		{"aws:kms", ""},
	} {
		if got := mapProblem(tt.text, declared); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.text, got, tt.want)
		}
	}
}

// TestPackagesNameTheMap checks that the comment of each package names the map.
func TestPackagesNameTheMap(t *testing.T) {
	t.Parallel()
	for _, p := range packages {
		if p.dir == "." {
			continue // tests only
		}
		names, found := goFiles(t, p.dir), false
		for _, name := range names {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(file.Doc.Text(), mapFile)
		}
		if !found {
			t.Errorf("the comment of package %s does not name %s", p.dir, mapFile)
		}
	}
}

// quoted returns the texts between backquotes, without those of blocks.
func quoted(doc string) []string {
	doc = regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(doc, "")
	var texts []string
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(doc, -1) {
		texts = append(texts, m[1])
	}
	return texts
}

// mapProblem describes what is wrong with a backquoted text of the map. It
// returns "" for a text that is not a name or a path, or that exists.
func mapProblem(text string, declared map[string]bool) string {
	if treePath.MatchString(text) {
		if _, err := os.Stat(filepath.FromSlash(text)); err != nil {
			return text + " does not exist"
		}
		return ""
	}
	m := goName.FindStringSubmatch(text)
	switch {
	case m == nil || declared[text]:
		return ""
	case !declared[m[1]]:
		return text + ": there is no package " + m[1]
	}
	return text + " does not exist"
}

// declaredNames returns what the packages of the module declare, and the names
// of the packages.
func declaredNames(t *testing.T) map[string]bool {
	t.Helper()
	declared := map[string]bool{}
	for _, p := range packages {
		declared[path.Base(p.dir)] = true
		declarations(t, p.dir, declared)
	}
	return declared
}

// goFiles returns the Go files of a folder that are not tests.
func goFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
}

// TestArchitectureMapImports: the table of the map has the imports that the rules
// allow.
func TestArchitectureMapImports(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile(mapFile)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9/]+)` \\|[^|]*\\| ((?:`\\w+` ?)+|none) \\|$").FindAllStringSubmatch(string(doc), -1) {
		imports := strings.Fields(strings.ReplaceAll(m[2], "`", ""))
		slices.Sort(imports)
		rows[m[1]] = imports
	}
	for _, p := range packages {
		if p.dir == "." || p.dir == "proxy" || p.dir == "cmd/ssegw" || p.dir == "kms/kmstest" {
			continue // in words, or for tests
		}
		want := []string{"none"}
		if p.imports != "" {
			want = nil
			for dir := range strings.FieldsSeq(p.imports) {
				want = append(want, path.Base(dir))
			}
		}
		slices.Sort(want)
		if got := rows[p.dir]; !slices.Equal(got, want) {
			t.Errorf("%s: %s imports %v: the rules allow %v", mapFile, p.dir, got, want)
		}
	}
}

// declarations adds what the Go files of a folder declare to all: pkg.Name,
// pkg.Type.Method and pkg.Type.Field. Tests are left out.
func declarations(t *testing.T, dir string, all map[string]bool) {
	t.Helper()
	pkg := path.Base(dir)
	for _, name := range goFiles(t, dir) {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				prefix := pkg + "."
				if d.Recv != nil {
					prefix += receiver(d.Recv.List[0].Type) + "."
				}
				all[prefix+d.Name.Name] = true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					declareSpec(pkg, spec, all)
				}
			}
		}
	}
}

func declareSpec(pkg string, spec ast.Spec, all map[string]bool) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			all[pkg+"."+n.Name] = true
		}
	case *ast.TypeSpec:
		all[pkg+"."+s.Name.Name] = true
		if st, ok := s.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				for _, n := range f.Names {
					all[pkg+"."+s.Name.Name+"."+n.Name] = true
				}
			}
		}
	}
}
