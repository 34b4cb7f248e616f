package ssegw_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// loaded is a package of the module without its tests.
type loaded struct {
	types *types.Package
	lines int                        // of all files
	uses  map[string]map[string]bool // by name: the other files that a file uses
	homes map[string]map[string]bool // by type: the files with its methods
}

// loader type-checks packages of the module. To be fast, it reads neither the
// standard library nor other modules. Values from there have no type, so a
// method called on the result of slices.SortedFunc, for example, is not found.
// With complete types the graph of the module would have 0.2 % more edges.
type loader struct {
	fsys  fs.FS
	files *token.FileSet
	done  map[string]*loaded
}

func newLoader(fsys fs.FS) *loader {
	return &loader{fsys, token.NewFileSet(), map[string]*loaded{}}
}

// Import implements types.Importer. A package of another module is empty.
func (l *loader) Import(imported string) (*types.Package, error) {
	dir, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return emptyPackage(imported), nil
	}
	p, err := l.load(dir)
	if err != nil {
		return nil, err
	}
	return p.types, nil
}

func emptyPackage(imported string) *types.Package {
	p := types.NewPackage(imported, path.Base(imported))
	p.MarkComplete()
	return p
}

// load returns the package in dir.
func (l *loader) load(dir string) (*loaded, error) {
	if p := l.done[dir]; p != nil {
		return p, nil
	}
	imported := path.Join(module, dir)
	p := &loaded{emptyPackage(imported), 0, map[string]map[string]bool{}, map[string]map[string]bool{}}
	l.done[dir] = p // for packages that import each other
	files, err := l.parse(p, dir)
	if err != nil {
		return nil, err
	}
	conf := types.Config{Importer: l, Error: func(error) {}} // ignore errors about names of empty packages
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	p.types, _ = conf.Check(imported, l.files, files, info)
	for ident, object := range info.Uses {
		if object.Pkg() != p.types || object.Parent() != p.types.Scope() && !isMethod(object) {
			continue
		}
		if from, to := l.file(ident.Pos()), l.file(object.Pos()); from != to {
			add(p.uses, from, to)
		}
	}
	return p, nil
}

// parse parses the files in dir, counts their lines and finds the methods.
func (l *loader) parse(p *loaded, dir string) ([]*ast.File, error) {
	names, err := fs.Glob(l.fsys, path.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := fs.ReadFile(l.fsys, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(l.files, name, source, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
		p.lines += bytes.Count(source, []byte("\n"))
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil {
				add(p.homes, receiver(f.Recv.List[0].Type), path.Base(name))
			}
		}
	}
	return files, nil
}

// file returns the name of the file that contains pos.
func (l *loader) file(pos token.Pos) string { return path.Base(l.files.Position(pos).Filename) }

func isMethod(object types.Object) bool {
	f, ok := object.(*types.Func)
	return ok && f.Signature().Recv() != nil
}

// receiver returns the name of a receiver's type.
func receiver(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.ParenExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func add(sets map[string]map[string]bool, key, element string) {
	if sets[key] == nil {
		sets[key] = map[string]bool{}
	}
	sets[key][element] = true
}

// largestCycle returns the largest strongly connected component of uses: every
// file in it uses all others, directly or indirectly.
func largestCycle(uses map[string]map[string]bool) []string {
	reached := map[string]map[string]bool{}
	for from := range uses {
		for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
			for to := range uses[todo[0]] {
				if !reached[from][to] {
					add(reached, from, to)
					todo = append(todo, to)
				}
			}
		}
	}
	var largest []string
	for a := range reached {
		var cycle []string
		for b := range reached[a] {
			if reached[b][a] {
				cycle = append(cycle, b)
			}
		}
		if slices.Sort(cycle); len(cycle) > len(largest) {
			largest = cycle
		}
	}
	return largest
}
