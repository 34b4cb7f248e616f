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
)

// TestPanicInGroup: a panic in one of a request's goroutines is an error.
func TestPanicInGroup(t *testing.T) {
	t.Parallel()
	g, ctx := newGroup(t.Context(), 2)
	g.Go(func() error { panic("boom") })
	g.Go(func() error { <-ctx.Done(); return nil })
	var p *panicError
	if err := g.Wait(); !errors.As(err, &p) || p.value != "boom" || !strings.Contains(string(p.stack), "TestPanicInGroup") {
		t.Errorf("%v", err)
	}
}

// panics is a body that panics when it is read.
type panics struct{}

func (panics) Read([]byte) (int, error) { panic("boom") }

// TestPanicInBody: the transport reads the bodies of requests on goroutines of
// its own. A panic there fails the request, and the upstream goes on.
func TestPanicInBody(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, size := range []int64{1, 10 << 20} {
		_, err := g.Upstream.expect(t.Context(), outgoing{
			method: http.MethodPut, bucket: testBucket, key: "k", header: http.Header{}, body: io.MultiReader(strings.NewReader(""), panics{}), size: size, hash: unsignedPayload,
		})
		var p *panicError
		if !errors.As(err, &p) || errors.Is(err, errUpstream) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	g.put("/bucket/k", []byte("data")).want(t, 200, "")
}

// TestPanicAnswered: the client gets 500, the panic is counted and its place is
// logged.
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
	if len(logged) != 1 || !strings.Contains(logged[0].ContextMap()["stack"].(string), "peek") {
		t.Errorf("%v", logged)
	}
	replica.get("/bucket/k").want(t, 200, "")
}

// TestGoroutinesAreGuarded finds every place that starts a goroutine. One that
// is not in the list could end the process with a panic.
func TestGoroutinesAreGuarded(t *testing.T) {
	t.Parallel()
	allowed := map[string]string{
		"guard.go": "the guard itself",
		"audit.go": "writes prepared bytes to a file",
		"state.go": "sweepForever guards each sweep",
		"list.go":  "group", "delete.go": "group", "listuploads.go": "group", "uploads.go": "group",
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
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
		if name != "guard.go" && strings.Contains(string(src), `"golang.org/x/sync/errgroup"`) {
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

// TestPanicInState: neither a sweep nor a refresh of the rules that panics ends
// the process, nor what comes after it.
func TestPanicInState(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.State.guard("testing", func() { panic("boom") })
	if n := g.logs.FilterMessage("panic").Len(); n != 1 {
		t.Errorf("%d logged", n)
	}
}
