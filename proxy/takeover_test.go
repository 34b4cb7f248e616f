package proxy

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"ssegw/proxy/state"
)

// successor opens a state in a bucket that shall replace that of g.
func (g *testGateway) successor(bucket string) (*state.State, error) {
	g.t.Helper()
	cfg := g.states
	cfg.Bucket, cfg.Like = bucket, g.State
	s := state.New(cfg)
	return s, s.Open(g.t.Context())
}

// TestTakeOver: a rule set through the predecessor is in force as soon as the
// successor answers. From then on only the successor changes it.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	next, err := g.successor(testStateBucket)
	if err != nil {
		t.Fatal(err)
	}
	g.setEncryption(testBucket, encryptionDoc("AES256", "")).want(t, 200, "") // after next has read the rules
	next.TakeOver()
	if rule, ok, err := next.Rule(t.Context(), testBucket); err != nil || !ok || rule.Algorithm != "AES256" {
		t.Errorf("%+v, %t, %v", rule, ok, err)
	}
	g.setEncryption("bucket", encryptionDoc("aws:kms", "")).want(t, 503, "ServiceUnavailable")
	if err := setRule(t.Context(), next, "other", &state.Rule{Algorithm: "AES256"}); err != nil {
		t.Error(err)
	}
}

// TestTakeOverAnother: a state of another installation is refused, and nothing
// is created.
func TestTakeOverAnother(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	if _, err := g.successor("gateway-staet"); !errors.Is(err, state.ErrRefused) {
		t.Errorf("a bucket that is not there: %v", err)
	}
	g.upstream.mu.Lock()
	_, made := g.upstream.buckets["gateway-staet"]
	g.upstream.mu.Unlock()
	if made {
		t.Error("the bucket was made")
	}
	g.upstream.makeBucket("empty")
	if _, err := g.successor("empty"); !errors.Is(err, state.ErrRefused) {
		t.Errorf("an empty bucket: %v", err)
	}
	other := newGateway(t, withKES(g.kes))
	other.setEncryption(testBucket, encryptionDoc("AES256", "")).want(t, 200, "")
	cfg := other.states
	cfg.Like = g.State
	if err := state.New(cfg).Open(t.Context()); !errors.Is(err, state.ErrRefused) {
		t.Errorf("another installation's: %v", err)
	}
}

// TestTakeOverRollback: rules older than those that the process has seen are
// refused.
func TestTakeOverRollback(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	old := g.upstream.object(testStateBucket, state.RulesObject)
	g.setEncryption(testBucket, encryptionDoc("AES256", "")).want(t, 200, "")
	g.upstream.store(testStateBucket, state.RulesObject, old)
	if _, err := g.successor(testStateBucket); !errors.Is(err, state.ErrRefused) {
		t.Errorf("%v", err)
	}
}

// TestRuleOutlivesBucket: a client that may not change rules does not remove
// one by deleting its bucket.
func TestRuleOutlivesBucket(t *testing.T) {
	t.Parallel()
	app := someone("app", func(c *Credential) { c.Buckets = []string{"ruled"} })
	g := newGateway(t, withCredentials(map[string]*Credential{"app": app}))
	g.upstream.makeBucket("ruled")
	g.setEncryption("ruled", encryptionDoc("AES256", "")).want(t, 200, "")
	do := func(method, path string, body []byte, as *Credential) clientAnswer {
		return g.do(clientRequest{method: method, path: path, body: body, as: as, query: url.Values{}})
	}
	do(http.MethodDelete, "/ruled", nil, app).want(t, 204, "")
	do(http.MethodPut, "/ruled", nil, app).want(t, 200, "")
	do(http.MethodPut, "/ruled/key", []byte("x"), app).want(t, 200, "")
	if !isSealed(g.upstream.object("ruled", "key")) {
		t.Error("the rule went with the bucket")
	}
	do(http.MethodDelete, "/ruled/key", nil, app).want(t, 204, "")
	do(http.MethodDelete, "/ruled", nil, nil).want(t, 204, "")
	do(http.MethodPut, "/ruled", nil, nil).want(t, 200, "")
	do(http.MethodPut, "/ruled/key", []byte("x"), nil).want(t, 200, "")
	if isSealed(g.upstream.object("ruled", "key")) {
		t.Error("the rule outlived the root credential's deletion")
	}
}

// TestTakeOverRuleMeanwhile: a rule that the predecessor sets after the
// successor has read the rules does not look as if the store went back.
func TestTakeOverRuleMeanwhile(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.upstream.on(http.MethodGet, "/"+testStateBucket+"/"+state.RulesObject, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		g.upstream.unhook()
		old := httptest.NewRecorder()
		next.ServeHTTP(old, r)
		g.setEncryption(testBucket, encryptionDoc("AES256", "")).want(t, 200, "")
		maps.Copy(w.Header(), old.Header())
		_, _ = w.Write(old.Body.Bytes())
	})
	next, err := g.successor(testStateBucket)
	if err != nil {
		t.Fatal(err)
	}
	next.TakeOver()
	if _, ok, err := next.Rule(t.Context(), testBucket); err != nil || !ok {
		t.Errorf("%t, %v", ok, err)
	}
}
