package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestSuite checks that the table and the list of skips name tests and parts
// that exist, and that the list fits the table.
func TestSuite(t *testing.T) {
	t.Parallel()
	parts := partsOfTests(t)
	for test := range suite {
		if !exists(parts, test) {
			t.Errorf("there is no test %s", test)
		}
	}
	for part := range core {
		if _, ok := suite["TestCore/"+part]; !ok {
			t.Errorf("TestCore/%s is not in the table", part)
		}
	}
	for full, lacks := range listedSkips(t) {
		if strings.Count(full, "/") == 0 {
			t.Errorf("%s: %q is not TEST/STORE", skipsFile, full)
			continue
		}
		test, store := splitName(full)
		if !slices.Contains(suite[test], lacks) {
			t.Errorf("%s: %s does not need %q in the table", skipsFile, test, lacks)
		}
		if store != swiftLarge && !slices.Contains(allStores, store) {
			t.Errorf("%s: there is no store %s", skipsFile, store)
		}
	}
}

// TestSuiteNames: only names of tests and of their parts exist.
func TestSuiteNames(t *testing.T) {
	t.Parallel()
	parts := partsOfTests(t)
	for test, want := range map[string]bool{
		"TestJobs": true, "TestJob": false, "TestCore/tags": true, "TestCore/gone": false,
		"TestRandomWrites/tags": true, "TestRandomWrites/versions": false, "TestForcedFramings/signed": true, "TestForcedFramings/tags": false,
		"TestCopyOntoItself/text/plain": false, "TestDefaults/http/boto3/plain": true, "TestDefaults/http/boto4/plain": false,
	} {
		if got := exists(parts, test); got != want {
			t.Errorf("%s exists: %t", test, got)
		}
	}
}

// exists reports whether test is the name of a test, or of a part of one.
func exists(parts map[string][]string, test string) bool {
	name, part, _ := strings.Cut(test, "/")
	own, ok := parts[name]
	switch {
	case !ok || part == "":
		return ok
	case name == "TestCore":
		return core[part] != nil
	case name == "TestDefaults":
		return isDefault(test)
	}
	return slices.Contains(own, part)
}

// isDefault reports whether test is the name of a client and a kind of bucket in
// TestDefaults.
func isDefault(test string) bool {
	name := strings.Split(test, "/")
	_, known := kinds[name[len(name)-1]]
	return len(name) == 4 && name[0] == "TestDefaults" && name[1] == "http" && known &&
		slices.ContainsFunc(usuals, func(u usual) bool { return u.name == name[2] })
}

// partsOfTests returns the tests of this package, each with the parts about
// which its file asks may.
func partsOfTests(t *testing.T) map[string][]string {
	t.Helper()
	parts := map[string][]string{}
	for _, name := range must(filepath.Glob("*_test.go"))(t) {
		file := must(parser.ParseFile(token.NewFileSet(), name, nil, 0))(t)
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
				parts[f.Name.Name] = partsOf(file)
			}
		}
	}
	return parts
}

// partsOf returns the parts that the calls of may in a file name. A part is a
// literal, or an element of the literal list that a loop goes through.
func partsOf(file *ast.File) []string {
	loops := map[string][]string{} // the elements, by variable
	var parts []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.RangeStmt:
			list, ok := n.X.(*ast.CompositeLit)
			if variable, named := n.Value.(*ast.Ident); ok && named {
				for _, e := range list.Elts {
					loops[variable.Name] = append(loops[variable.Name], literal(e)...)
				}
			}
		case *ast.CallExpr:
			called, ok := n.Fun.(*ast.Ident)
			if !ok || called.Name != "may" || len(n.Args) != 2 {
				break
			}
			parts = append(parts, literal(n.Args[1])...)
			if variable, ok := n.Args[1].(*ast.Ident); ok {
				parts = append(parts, loops[variable.Name]...)
			}
		}
		return true
	})
	return parts
}

// literal returns the value of a string literal, and nothing for any other
// expression.
func literal(e ast.Expr) []string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return nil
	}
	value, err := strconv.Unquote(lit.Value)
	if err != nil {
		return nil
	}
	return []string{value}
}
