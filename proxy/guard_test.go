package proxy

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssegw/proxy/s3"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
)

// TestPanicInGroup: a panic in one of a request's goroutines is an error.
func TestPanicInGroup(t *testing.T) {
	t.Parallel()
	g, ctx := task.NewGroup(t.Context(), 2)
	g.Go(func() error { panic("boom") })
	g.Go(func() error { <-ctx.Done(); return nil })
	var p *task.PanicError
	if err := g.Wait(); !errors.As(err, &p) || p.Value != "boom" || !strings.Contains(string(p.Stack), "TestPanicInGroup") {
		t.Errorf("%v", err)
	}
}

// panics is a body that panics when it is read.
type panics struct{}

func (panics) Read([]byte) (int, error) { panic("boom") }

// TestPanicInBody: the transport reads request bodies in its own goroutines. A
// panic there fails the request, and the client of the store still works.
func TestPanicInBody(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, size := range []int64{1, 10 << 20} {
		_, err := g.Upstream.Own().Send(t.Context(), upstream.Request{
			Method: http.MethodPut, Bucket: testBucket, Key: "k", Header: http.Header{}, Body: io.MultiReader(strings.NewReader(""), panics{}), Size: size, Hash: modeUnsigned,
		})
		var p *task.PanicError
		if !errors.As(err, &p) || errors.Is(err, upstream.ErrUnavailable) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	g.put("/bucket/k", []byte("data")).want(t, 200, "")
}

// TestPanicAnswered: the client gets 500, and the panic is counted and logged
// with its stack.
func TestPanicAnswered(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", []byte("data"), s3.HeaderSSE, s3.AES256).want(t, 200, "")
	replica := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	replica.metrics.listHeads = nil // which each look at an entry counts with
	replica.do(clientRequest{method: http.MethodGet, path: "/bucket"}).want(t, 500, "InternalError")
	if n := replica.counter("ssegw_panics_total"); n != 1 {
		t.Errorf("%v panics counted", n)
	}
	logged := replica.logs.FilterMessage("panic").All()
	if len(logged) != 1 || !strings.Contains(logged[0].ContextMap()["stack"].(string), "listedFacts") {
		t.Errorf("%v", logged)
	}
	replica.get("/bucket/k").want(t, 200, "")
}

// TestGoroutinesAreGuarded finds every place that starts a goroutine. Each must
// be in the list, because a panic there could end the process.
func TestGoroutinesAreGuarded(t *testing.T) {
	t.Parallel()
	allowed := map[string]string{
		"task/task.go":     "the guard itself",
		"admin/admin.go":   "each check recovers",
		"audit/audit.go":   "writes prepared bytes to a file",
		"state/state.go":   "sweepForever and probeAgain guard their work",
		"console/looks.go": "check guards its work",
		"jobs/engine.go":   "group",
		"jobs/run.go":      "group, and guards of the engine",
		"jobs/lease.go":    "guards of the engine",
		"list.go":          "group", "delete.go": "group", "probe/search.go": "group", "listuploads.go": "group", "state/uploads.go": "group",
	}
	var files []string
	for _, pattern := range []string{"*.go", "*/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		if name != "task/task.go" && strings.Contains(string(src), `"golang.org/x/sync/errgroup"`) {
			t.Errorf("%s uses errgroup instead of group", name)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, isCall := n.(*ast.CallExpr)
			selector := &ast.SelectorExpr{Sel: &ast.Ident{}}
			if isCall {
				if s, ok := call.Fun.(*ast.SelectorExpr); ok {
					selector = s
				}
			}
			if _, isGo := n.(*ast.GoStmt); (isGo || selector.Sel.Name == "Go") && allowed[name] == "" {
				t.Errorf("%s starts a goroutine that nothing guards", fset.Position(n.Pos()))
			}
			return true
		})
	}
}
