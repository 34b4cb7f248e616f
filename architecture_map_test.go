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

// TestArchitectureMap: the map of the code names nothing that does not exist.
func TestArchitectureMap(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile(mapFile)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	short := map[string]bool{}
	for _, p := range packages {
		short[path.Base(p.dir)] = true
		declarations(t, p.dir, declared)
	}
	named := 0
	for _, m := range regexp.MustCompile("`([a-z0-9]+)\\.(\\w+(?:\\.\\w+)?)`").FindAllStringSubmatch(string(doc), -1) {
		if !short[m[1]] {
			continue // a file, such as architecture_test.go
		}
		if named++; !declared[m[1]+"."+m[2]] {
			t.Errorf("%s names %s.%s, which does not exist", mapFile, m[1], m[2])
		}
	}
	if named < 50 {
		t.Errorf("%d names found: the pattern misses them", named)
	}
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
			t.Errorf("%s says that %s imports %v: the rules allow %v", mapFile, p.dir, got, want)
		}
	}
}

// declarations adds what the Go files of a folder declare to all: pkg.Name,
// pkg.Type.Method and pkg.Type.Field. Tests are left out.
func declarations(t *testing.T, dir string, all map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	pkg := path.Base(dir)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
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
