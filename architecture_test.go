// Package ssegw_test holds the architecture of the module as a test: which
// package may import which, who owns a dependency, how long files, functions
// and lines of comments may be, and how entangled the files of a package may be. To change the
// architecture, change these tables.
package ssegw_test

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

const (
	module       = "ssegw"
	maxFileLines = 600 // of a file that is not a test
	maxFuncLines = 100 // of a function outside tests, including signature and braces
	maxCycle     = 12  // files of a package that all use one another, directly or indirectly
	maxTypeFiles = 5   // files with methods of one type
	maxComment   = 80  // of a line of a comment outside tests, in characters; a tab counts as one
)

// maxLines limits the code of a folder, in lines of files that are not tests.
var maxLines = map[string]int{"proxy": 5500, "proxy/model": 999}

// until lists the limits that do not hold yet, with the values that hold until
// then. Lower them as the code gets there. An exception that is no longer
// needed is an error.
var until = map[string]int{}

// packages lists every folder with Go code and the packages of this module that
// it imports. Its tests may also import the folder itself and the packages in
// the column tests.
var packages = []struct {
	dir, imports, tests string
}{
	// The first rows are leaves; kms reads its files with config/files.
	{"sealer", "", ""},
	{"kms", "config/files", "kms/kmstest"},
	{"config", "", ""},
	{"config/files", "", ""},
	{"proxy/field", "", ""},
	{"proxy/s3", "proxy/field", ""},
	{"proxy/sigv4", "proxy/field", ""},
	{"proxy/task", "", ""},
	{"proxy/audit", "", ""},
	{"proxy/model/s3op", "", ""},
	{"proxy/model", "proxy/model/s3op", ""},
	{"proxy/model/runner", "proxy/model proxy/model/s3op", ""},

	{"kms/kmstest", "kms", ""},
	{"proxy/upstream", "proxy/field proxy/s3 proxy/sigv4 proxy/task", ""},
	{"proxy/probe", "proxy/s3 proxy/task proxy/upstream", ""},
	{"proxy/state", "kms sealer proxy/s3 proxy/task proxy/upstream proxy/probe", "kms/kmstest"},
	{"proxy/sse", "kms sealer proxy/field proxy/s3", "kms/kmstest"},
	{"proxy/object", "sealer proxy/field proxy/s3 proxy/sse proxy/upstream", ""},
	{"proxy/check", "kms sealer proxy/s3 proxy/task proxy/object proxy/sse proxy/state proxy/upstream proxy/probe", ""},
	{"proxy/payload", "sealer proxy/s3 proxy/sigv4 proxy/upstream", ""},
	{"proxy/assembly", "sealer proxy/s3 proxy/sigv4 proxy/object proxy/payload proxy/state", ""},
	{"proxy/rescue", "sealer proxy/s3 proxy/upstream proxy/object", ""},
	{"proxy/jobs", "kms sealer proxy/s3 proxy/task proxy/upstream proxy/state proxy/sse proxy/object", ""},
	{"proxy", "kms sealer proxy/field proxy/s3 proxy/sigv4 proxy/task proxy/audit proxy/upstream proxy/probe proxy/state proxy/sse proxy/object proxy/payload proxy/assembly", "kms/kmstest proxy/check proxy/jobs proxy/console proxy/admin proxy/model proxy/model/s3op proxy/model/runner"},
	{"proxy/admin", "kms proxy/s3 proxy/sigv4 proxy/task proxy/jobs", "kms/kmstest"},

	{"proxy/console", "kms sealer proxy/s3 proxy/sigv4 proxy/audit proxy/upstream proxy/state proxy/sse proxy/check proxy/admin proxy/jobs proxy/task", "kms/kmstest"},
	{"cmd/ssegw", "config config/files kms sealer proxy proxy/s3 proxy/sigv4 proxy/audit proxy/upstream proxy/state proxy/sse proxy/check proxy/admin proxy/jobs proxy/rescue proxy/task proxy/console", "kms/kmstest"},
	{".", "", ""},
}

// owners lists imports, by prefix, that only some folders may have.
var owners = []struct {
	prefix, dirs string
	tests        bool // tests of other folders may import it too
}{
	{"github.com/minio/sio", "sealer", false},
	{"github.com/minio/kms-go", "kms kms/kmstest", false},
	{"github.com/caarlos0/env", "config", false},
	{"github.com/alecthomas/kong", "cmd/ssegw", false},
	{"github.com/KimMachineGun/automemlimit", "cmd/ssegw", false},
	{"math/rand", "proxy/model/runner", true}, // use crypto/rand everywhere, so there is no question which one matters
}

// denied lists imports that a folder must not have outside its tests.
var denied = []struct {
	dir, imports, why string
}{
	{"sealer", "net net/http context time os", "a format has no network, no context, no clock and no files"},
	{"proxy/s3", "os", "a vocabulary has no files"},
	{"proxy/model", "net net/http context time os", "a specification has no network, no context, no clock and no files"},
	{"proxy/model/s3op", "net net/http context time os", "a vocabulary has no network, no context, no clock and no files"},
	{"proxy/sigv4", "os", "signatures have no files"},
}

func TestArchitecture(t *testing.T) {
	fsys := os.DirFS(".")
	for _, problem := range append(check(fsys), checkTables(fsys)...) {
		t.Error(problem)
	}
}

// TestArchitectureRules checks that each rule finds violations, and only
// violations.
func TestArchitectureRules(t *testing.T) {
	long := "package p\n\nfunc F() {\n" + strings.Repeat("\t_ = 0\n", maxFuncLines) + "}\n"
	for _, tt := range []struct {
		file, source, want string
	}{
		{"sealer/a.go", `package sealer; import _ "ssegw/kms"`, "sealer/a.go imports ssegw/kms: sealer may import nothing of ours"},
		{"sealer/a_test.go", `package sealer_test; import _ "ssegw/sealer"; import _ "time"`, ""},
		{"sealer/a_test.go", `package sealer_test; import _ "ssegw/kms"`, "sealer/a_test.go imports ssegw/kms: sealer may import nothing of ours"},
		{"sealer/a.go", `package sealer; import _ "time"`, "sealer/a.go imports time: a format has no network, no context, no clock and no files"},
		{"proxy/a.go", `package proxy; import _ "ssegw/proxy/s3"; import _ "ssegw/sealer"`, ""},
		{"proxy/sse/a.go", `package sse; import _ "ssegw/config"`, "proxy/sse/a.go imports ssegw/config: proxy/sse may import kms sealer proxy/field proxy/s3 of ours"},
		{"proxy/sse/a.go", `package sse; import _ "ssegw/kms/kmstest"`, "proxy/sse/a.go imports ssegw/kms/kmstest: proxy/sse may import kms sealer proxy/field proxy/s3 of ours"},
		{"proxy/a_test.go", `package proxy; import _ "ssegw/kms/kmstest"`, ""},
		{"proxy/admin/a.go", `package admin; import _ "ssegw/proxy"`, "proxy/admin/a.go imports ssegw/proxy: proxy/admin may import kms proxy/s3 proxy/sigv4 proxy/task proxy/jobs of ours"},
		{"proxy/a_test.go", `package proxy; import _ "github.com/minio/sio"`, "proxy/a_test.go imports github.com/minio/sio: only sealer may"},
		{"kms/a.go", `package kms; import _ "github.com/minio/kms-go/kes"`, ""},
		{"kms/a.go", `package kms; import _ "math/rand/v2"`, "kms/a.go imports math/rand/v2: only proxy/model/runner may"},
		{"kms/a_test.go", `package kms; import _ "math/rand/v2"`, ""},
		{"proxy/util/a.go", `package util`, "proxy/util has no rule: add it to the table of packages"},
		{"kms/.hidden/a.go", `not Go`, ""},
		{"kms/testdata/a.go", `not Go`, ""},
		{"kms/a.go", long, "kms/a.go:3: function of 102 lines: the most is 100"},
		{"kms/a.go", strings.Replace(long, "func F() {", "var F = func() {", 1), "kms/a.go:3: function of 102 lines: the most is 100"},
		{"kms/a_test.go", long, ""},
		{"kms/a.go", "package kms\n" + strings.Repeat("\n", maxFileLines), "kms/a.go has 601 lines: the most is 600"},
		{"kms/a.go", "package kms\n" + strings.Repeat("//\n", maxFileLines-1), ""},
		{"kms/a.go", "package kms\n\n// " + strings.Repeat("é", maxComment-3) + "\n", ""},
		{"kms/a.go", "package kms\n\n// " + strings.Repeat("é", maxComment-2) + "\n", "kms/a.go:3: comment of 81 columns: the most is 80"},
		{"kms/a.go", "package kms\n\n//\t" + strings.Repeat("x", maxComment) + "\n", ""},
		{"kms/a_test.go", "package kms\n\n// " + strings.Repeat("x", maxComment) + "\n", ""},
	} {
		got := strings.Join(check(fstest.MapFS{tt.file: {Data: []byte(tt.source)}}), "\n")
		if got != tt.want {
			t.Errorf("%s: %.60q\n got %q\nwant %q", tt.file, tt.source, got, tt.want)
		}
	}
	most := cmp.Or(until["lines of proxy"], maxLines["proxy"])
	for _, tt := range []struct {
		files fstest.MapFS
		want  string
	}{
		{ring("kms", maxCycle), ""},
		{ring("kms", maxCycle+1), "kms: 13 files use one another in a cycle (f00.go f01.go f02.go f03.go f04.go f05.go f06.go f07.go f08.go f09.go f10.go f11.go f12.go): the most is 12"},
		{methods("kms", maxTypeFiles), ""},
		{methods("kms", maxTypeFiles+1), "kms: T has methods in 6 files (f00.go f01.go f02.go f03.go f04.go f05.go): the most is 5"},
		{lines("proxy", most), ""},
		{lines("proxy", most+1), fmt.Sprintf("proxy has %d lines: the most is %d", most+1, most)},
		{lines("kms", maxLines["proxy"]+1), ""},
		{fstest.MapFS{"e2e/go.mod": source("module x"), "e2e/a.go": source(`package e2e; import _ "ssegw/config"`)}, ""},
	} {
		if got := strings.Join(check(tt.files), "\n"); got != tt.want {
			t.Errorf("%d files\n got %q\nwant %q", len(tt.files), got, tt.want)
		}
	}
}

// TestArchitectureTables checks that a rule for a package that does not exist
// is an error, and so is an exception that is not needed.
func TestArchitectureTables(t *testing.T) {
	all := fstest.MapFS{}
	for _, p := range packages {
		all[path.Join(p.dir, "a_test.go")] = source("package p")
	}
	delete(all, "config/a_test.go")
	want := []string{"config has a rule but no Go files"}
	for _, what := range slices.Sorted(maps.Keys(until)) {
		want = append(want, fmt.Sprintf("the exception %q is not needed: delete it", what))
	}
	if got := checkTables(all); !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// ring returns n files, each of which uses a method in the next.
func ring(dir string, n int) fstest.MapFS {
	files := fstest.MapFS{}
	for i := range n {
		files[fmt.Sprintf("%s/f%02d.go", dir, i)] = source(fmt.Sprintf("package p\n\ntype T%d struct{}\n\nfunc (T%[1]d) M() { T%[2]d{}.M() }\n", i, (i+1)%n))
	}
	return files
}

// methods returns n files, each with a method of one type.
func methods(dir string, n int) fstest.MapFS {
	files := fstest.MapFS{dir + "/f00.go": source("package p\n\ntype T[E any] struct{}\n\nfunc (*T[E]) M0() {}\n")}
	for i := 1; i < n; i++ {
		files[fmt.Sprintf("%s/f%02d.go", dir, i)] = source(fmt.Sprintf("package p\n\nfunc (t T[_]) M%d() {}\n", i))
	}
	return files
}

// lines returns files with n lines in total.
func lines(dir string, n int) fstest.MapFS {
	files := fstest.MapFS{}
	for i := 0; n > 0; i++ {
		k := min(n, maxFileLines)
		files[fmt.Sprintf("%s/f%02d.go", dir, i)] = source("package p" + strings.Repeat("\n", k))
		n -= k
	}
	return files
}

func source(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

// check returns the violations in the Go files of fsys.
func check(fsys fs.FS) []string {
	var problems []string
	dirs := map[string]bool{}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && skipped(fsys, name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		dirs[path.Dir(name)] = true
		found, err := checkFile(fsys, name)
		problems = append(problems, found...)
		return err
	})
	if err != nil {
		return append(problems, err.Error())
	}
	l := newLoader(fsys)
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		p, err := l.load(dir)
		if err != nil {
			return append(problems, err.Error())
		}
		problems = append(problems, checkPackage(dir, p)...)
	}
	return problems
}

// checkPackage returns violations that concern the files of a package together.
func checkPackage(dir string, p *loaded) []string {
	var problems []string
	for _, m := range measures(dir, p) {
		if most := cmp.Or(until[m.what], m.most); m.n > most {
			problems = append(problems, fmt.Sprintf("%s: the most is %d", m.text, most))
		}
	}
	return problems
}

// measure is a limited quantity of a package.
type measure struct {
	what    string // its name in the table until
	n, most int
	text    string
}

// measures returns the limited quantities of a package.
func measures(dir string, p *loaded) []measure {
	cycle := largestCycle(p.uses)
	all := []measure{{"cycle of " + dir, len(cycle), maxCycle,
		fmt.Sprintf("%s: %d files use one another in a cycle (%s)", dir, len(cycle), strings.Join(cycle, " "))}}
	for _, name := range slices.Sorted(maps.Keys(p.homes)) {
		files := slices.Sorted(maps.Keys(p.homes[name]))
		all = append(all, measure{"files of " + dir + "." + name, len(files), maxTypeFiles,
			fmt.Sprintf("%s: %s has methods in %d files (%s)", dir, name, len(files), strings.Join(files, " "))})
	}
	if most, ok := maxLines[dir]; ok {
		all = append(all, measure{"lines of " + dir, p.lines, most, fmt.Sprintf("%s has %d lines", dir, p.lines)})
	}
	return all
}

// checkTables returns entries of the tables for packages that do not exist, and
// exceptions that are not needed.
func checkTables(fsys fs.FS) []string {
	var named []string
	for _, p := range packages {
		named = slices.Concat(named, []string{p.dir}, strings.Fields(p.imports), strings.Fields(p.tests))
	}
	for _, o := range owners {
		named = append(named, strings.Fields(o.dirs)...)
	}
	for _, d := range denied {
		named = append(named, d.dir)
	}
	named = slices.AppendSeq(named, maps.Keys(maxLines))
	slices.Sort(named)

	var problems []string
	needed := map[string]bool{}
	l := newLoader(fsys)
	for _, dir := range slices.Compact(named) {
		if files, err := fs.Glob(fsys, path.Join(dir, "*.go")); err != nil || len(files) == 0 {
			problems = append(problems, dir+" has a rule but no Go files")
			continue
		}
		p, err := l.load(dir)
		if err != nil {
			return append(problems, err.Error())
		}
		for _, m := range measures(dir, p) {
			needed[m.what] = m.n > m.most
		}
	}
	for _, what := range slices.Sorted(maps.Keys(until)) {
		if !needed[what] {
			problems = append(problems, fmt.Sprintf("the exception %q is not needed: delete it", what))
		}
	}
	return problems
}

// skipped reports whether the go command leaves dir out of the module.
func skipped(fsys fs.FS, dir string) bool {
	if dir == "." {
		return false
	}
	base := path.Base(dir)
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil || base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")
}

// checkFile returns the violations in one Go file.
func checkFile(fsys fs.FS, name string) ([]string, error) {
	source, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	dir, isTest := path.Dir(name), strings.HasSuffix(name, "_test.go")

	var problems []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if why := importProblem(dir, imported, isTest); why != "" {
			problems = append(problems, fmt.Sprintf("%s imports %s: %s", name, imported, why))
		}
	}
	if !slices.ContainsFunc(packages, func(p struct{ dir, imports, tests string }) bool { return p.dir == dir }) {
		problems = append(problems, dir+" has no rule: add it to the table of packages")
	}
	if isTest {
		return problems, nil
	}
	if n := bytes.Count(source, []byte("\n")); n > maxFileLines {
		problems = append(problems, fmt.Sprintf("%s has %d lines: the most is %d", name, n, maxFileLines))
	}
	problems = append(problems, longComments(name, string(source))...)
	return append(problems, longFunctions(files, file)...), nil
}

// longComments returns the lines of comments that are too long. It leaves out
// comments after code, directives, and preformatted text.
func longComments(name, source string) []string {
	var problems []string
	number := 0
	for line := range strings.Lines(source) {
		number++
		line = strings.TrimRight(line, "\n")
		if n := utf8.RuneCountInString(line); n > maxComment && strings.HasPrefix(strings.TrimLeft(line, "\t"), "// ") {
			problems = append(problems, fmt.Sprintf("%s:%d: comment of %d columns: the most is %d", name, number, n, maxComment))
		}
	}
	return problems
}

// importProblem describes why a file in dir may not import imported. It returns
// "" if it may.
func importProblem(dir, imported string, isTest bool) string {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		for _, p := range packages {
			if p.dir != dir || has(p.imports, ours) || isTest && (ours == dir || has(p.tests, ours)) {
				continue
			}
			if p.imports == "" {
				return dir + " may import nothing of ours"
			}
			return dir + " may import " + p.imports + " of ours"
		}
	}
	for _, o := range owners {
		if imported != o.prefix && !strings.HasPrefix(imported, o.prefix+"/") || has(o.dirs, dir) || isTest && o.tests {
			continue
		}
		if o.dirs == "" {
			return "only tests may"
		}
		return "only " + o.dirs + " may"
	}
	for _, d := range denied {
		if d.dir == dir && has(d.imports, imported) && !isTest {
			return d.why
		}
	}
	return ""
}

// has reports whether word is one of the words of list.
func has(list, word string) bool { return slices.Contains(strings.Fields(list), word) }

// longFunctions returns the functions of file that are too long.
func longFunctions(files *token.FileSet, file *ast.File) []string {
	var problems []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.FuncDecl, *ast.FuncLit:
			start, end := files.Position(n.Pos()), files.Position(n.End())
			if lines := end.Line - start.Line + 1; lines > maxFuncLines {
				problems = append(problems, fmt.Sprintf("%s:%d: function of %d lines: the most is %d", start.Filename, start.Line, lines, maxFuncLines))
			}
		}
		return true
	})
	return problems
}

// TestDocumentsNameTests checks that every test named in a document exists.
func TestDocumentsNameTests(t *testing.T) {
	sources := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`)
	var documents []string
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case strings.HasSuffix(name, ".md"):
			documents = append(documents, name)
		case strings.HasSuffix(name, "_test.go"):
			b, err := os.ReadFile(name)
			for _, m := range declared.FindAllSubmatch(b, -1) {
				sources[string(m[1])] = true
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range documents {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range named.FindAllString(string(b), -1) {
			if found++; !sources[test] {
				t.Errorf("%s names %s, which is nowhere", name, test)
			}
		}
	}
	if found == 0 {
		t.Error("no document names a test")
	}
}
