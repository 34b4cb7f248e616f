package proxy

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/admin"
	"ssegw/proxy/audit"
	"ssegw/proxy/check"
	"ssegw/proxy/console"
	"ssegw/proxy/jobs"
	"ssegw/proxy/state"
)

// testConsole is the console of a gateway, and a browser as it were: it keeps
// cookies and sends the headers that browsers send.
type testConsole struct {
	*console.Server
	t       *testing.T
	base    string
	handler http.Handler
	jar     map[string]string // cookies by name
	address string            // of the browser
	audit   *audit.File
	viewers map[string]string // secret keys by access key
}

// console returns a console of the gateway on its admin address.
func (g *testGateway) console(t *testing.T, edit ...func(*console.Config)) *testConsole {
	t.Helper()
	file, err := audit.Open("", g.Log, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &testConsole{t: t, base: console.PathOnAdmin, jar: map[string]string{}, address: "192.0.2.1", audit: file, viewers: map[string]string{}}
	cfg := console.Config{
		KMS: g.KMS, State: g.State, Jobs: g.engine(), S3: g.Server, Audit: file, Metrics: g.gathered,
		Health: func(context.Context) admin.Health {
			return admin.Health{State: admin.Online, Upstream: admin.Online, KMS: admin.Online, Endpoints: []admin.Endpoint{{URL: g.kes.Endpoint(), State: admin.Online}}}
		},
		Check:     check.Config{Upstream: g.Upstream, State: g.State, KMS: g.KMS, KMSTimeout: giveUp, Log: g.Log},
		AccessKey: clientAccessKey, SecretKey: clientSecretKey,
		Viewer:   func(accessKey string) (string, bool) { secret, ok := c.viewers[accessKey]; return secret, ok },
		Address:  func(*http.Request) string { return c.address },
		IsSecure: func(r *http.Request, _ bool) bool { return r.Header.Get("X-Forwarded-Proto") == "https" },
		Region:   clientRegion, AutoEncryption: "off", SealedOnly: "auto", Version: "test", Store: "http://store", Log: g.Log,
	}
	for _, f := range edit {
		f(&cfg)
	}
	c.Server = console.New(cfg)
	c.handler = c.Handler(c.base)
	return c
}

// send sends a request with the cookies, and keeps those of the answer.
func (c *testConsole) send(method, path string, form url.Values, headers ...string) *http.Response {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.t.Context(), method, "http://console.test"+c.base+path, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if method != http.MethodGet {
		r.Header.Set("Origin", "http://console.test")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if r.Header.Del(headers[i]); headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	for name, value := range c.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	for _, cookie := range w.Result().Cookies() {
		if c.jar[cookie.Name] = cookie.Value; cookie.MaxAge < 0 {
			delete(c.jar, cookie.Name)
		}
	}
	return w.Result()
}

func (c *testConsole) get(path string) (status int, body string) {
	c.t.Helper()
	r := c.send(http.MethodGet, path, nil)
	return r.StatusCode, bodyOf(c.t, r)
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (c *testConsole) signIn(accessKey, secret string) int {
	c.t.Helper()
	return c.send(http.MethodPost, "sign-in", url.Values{"access-key": {accessKey}, "secret-key": {secret}}).StatusCode
}

// signedIn signs in with the root credential.
func (c *testConsole) signedIn() *testConsole {
	c.t.Helper()
	if status := c.signIn(clientAccessKey, clientSecretKey); status != http.StatusSeeOther {
		c.t.Fatalf("sign-in: %d", status)
	}
	return c
}

// cookie returns the name and value of the session's cookie.
func (c *testConsole) cookie() (name, value string) {
	c.t.Helper()
	for name, value := range c.jar {
		return name, value
	}
	c.t.Fatal("no cookie")
	return "", ""
}

// isIn reports whether the cookies open the console.
func (c *testConsole) isIn() bool {
	c.t.Helper()
	status, _ := c.get("")
	return status == http.StatusOK
}

// consolePages are all pages for people who are signed in.
var consolePages = []string{
	"", "buckets", "buckets/" + testBucket, "buckets/" + testBucket + "/clear", "keys", "jobs", "jobs/new", "jobs/new?kind=rekey&bucket=b", "audit", "check",
	"object", "object?bucket=" + testBucket + "&key=k", "nothing-here",
}

// consoleChanges are all changes, by path.
var consoleChanges = map[string]url.Values{
	"buckets/" + testBucket:            {"algorithm": {"AES256"}},
	"buckets/" + testBucket + "/clear": {},
	"keys":                             {"key": {"a-new-key"}},
	"keys/my-key/try":                  {},
	"jobs":                             {"kind": {"inventory"}},
	"jobs/an-id/cancel":                {},
	"jobs/an-id/start":                 {},
	"check":                            {},
}

func TestConsoleNeedsSession(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	c := g.console(t)
	for _, path := range append(slices.Clone(consolePages), "history.json", "jobs/an-id", "jobs/an-id/report.json") {
		if path == "nothing-here" {
			continue // anyone may learn that there is no such page
		}
		r := c.send(http.MethodGet, path, nil)
		if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != c.base+"sign-in" {
			t.Errorf("GET %s: %d to %s", path, r.StatusCode, r.Header.Get("Location"))
		}
		if r := c.send(http.MethodGet, path, nil, "Hx-Request", "true"); r.StatusCode != http.StatusUnauthorized || r.Header.Get("Hx-Redirect") == "" {
			t.Errorf("live part %s: %d", path, r.StatusCode)
		}
	}
	for path, form := range consoleChanges {
		if r := c.send(http.MethodPost, path, form); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != c.base+"sign-in" {
			t.Errorf("POST %s: %d", path, r.StatusCode)
		}
	}
	if g.kes.HasKey("a-new-key") {
		t.Error("a key was made")
	}
}

func TestConsoleSignIn(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	c := g.console(t)
	for _, wrong := range [][2]string{{clientAccessKey, "wrong"}, {"nobody", ""}, {"nobody", clientSecretKey}, {"", ""}} {
		if status := c.signIn(wrong[0], wrong[1]); status != http.StatusForbidden || c.isIn() {
			t.Errorf("%v: %d", wrong, status)
		}
	}
	r := c.send(http.MethodPost, "sign-in", url.Values{"access-key": {clientAccessKey}, "secret-key": {clientSecretKey}})
	cookie := r.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != c.base || cookie.Secure {
		t.Errorf("cookie %v", cookie)
	}
	if !c.isIn() {
		t.Error("not signed in")
	}
	for _, line := range g.logs.All() {
		for _, f := range line.Context {
			if strings.Contains(f.String, clientSecretKey) || strings.Contains(f.String, cookie.Value) {
				t.Errorf("the log has a secret: %v", line)
			}
		}
	}
	var results []string
	for _, record := range c.audit.Latest() {
		results = append(results, record.Action+" "+record.AccessKey+" "+record.Result)
	}
	if diff := cmp.Diff([]string{"ConsoleSignIn " + clientAccessKey + " ok", "ConsoleSignIn  AccessDenied"}, results[:2]); diff != "" {
		t.Errorf("audit, the newest first (-want +got):\n%s", diff)
	}
}

// TestConsoleCookieOnTLS checks the cookie of browsers on https.
func TestConsoleCookieOnTLS(t *testing.T) {
	t.Parallel()
	c := newGateway(t).console(t, func(cfg *console.Config) { cfg.IsSecure = func(_ *http.Request, onS3 bool) bool { return onS3 } })
	onS3 := *c
	onS3.base, onS3.handler = console.PathOnS3, c.Handler(console.PathOnS3)
	r := onS3.send(http.MethodPost, "sign-in", url.Values{"access-key": {clientAccessKey}, "secret-key": {clientSecretKey}})
	if cookie := r.Cookies()[0]; !cookie.Secure || !strings.HasPrefix(cookie.Name, "__Secure-") || cookie.Path != console.PathOnS3 {
		t.Errorf("cookie %v", cookie)
	}
	if !onS3.isIn() {
		t.Error("not signed in")
	}
}

// TestConsoleOtherSites sends the requests that a page of another site can make
// a browser send.
func TestConsoleOtherSites(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	c := g.console(t).signedIn()
	for name, headers := range map[string][]string{
		"form":                        {"Origin", "http://evil.test", "Sec-Fetch-Site", "cross-site"},
		"old browser":                 {"Origin", "http://evil.test", "Sec-Fetch-Site", ""},
		"same site":                   {"Origin", "http://other.console.test", "Sec-Fetch-Site", "same-site"},
		"sandboxed page of an object": {"Origin", "null", "Sec-Fetch-Site", "cross-site"},
		"sandboxed, old browser":      {"Origin", "null", "Sec-Fetch-Site", ""},
	} {
		for path, form := range consoleChanges {
			if r := c.send(http.MethodPost, path, form, headers...); r.StatusCode != http.StatusForbidden {
				t.Errorf("%s: POST %s: %d", name, path, r.StatusCode)
			}
		}
		if r := c.send(http.MethodPost, "sign-out", url.Values{}, headers...); r.StatusCode != http.StatusForbidden {
			t.Errorf("%s: sign-out: %d", name, r.StatusCode)
		}
	}
	if rules, _, err := g.State.KnownRules(); err != nil || len(rules) > 0 || g.kes.HasKey("a-new-key") {
		t.Errorf("rules %v, %v", rules, err)
	}
}

var (
	inlineScript = regexp.MustCompile(`(?i)<script[^>]*>[^<]|\son[a-z]+\s*=|\sstyle\s*=|<style|javascript:`)
	outside      = regexp.MustCompile(`(?i)(src|href|action|hx-[a-z]+)="(https?:)?//`)
)

// TestConsolePages checks what holds for all pages.
func TestConsolePages(t *testing.T) {
	t.Parallel()
	c := newGateway(t).console(t).signedIn()
	for _, path := range append(slices.Clone(consolePages), "sign-in") {
		r := c.send(http.MethodGet, path, nil)
		body := bodyOf(t, r)
		policy := r.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") ||
			r.Header.Get("X-Frame-Options") != "DENY" || r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, r.Header)
		}
		if found := inlineScript.FindString(body); found != "" {
			t.Errorf("%s: inline %q", path, found)
		}
		if found := outside.FindString(body); found != "" {
			t.Errorf("%s: loads %q", path, found)
		}
		if strings.Contains(body, clientSecretKey) {
			t.Errorf("%s has the secret key", path)
		}
	}
}

func TestConsoleSignOut(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	other := newGateway(t, withUpstream(g.upstream), withKES(g.kes))
	c, replica := g.console(t).signedIn(), other.console(t)
	stolen := maps.Clone(c.jar)
	replica.jar = maps.Clone(stolen)
	late := other.console(t)
	late.jar = maps.Clone(stolen)
	if !replica.isIn() {
		t.Error("another replica does not know the session")
	}
	c.send(http.MethodPost, "sign-out", url.Values{})
	if len(c.jar) > 0 {
		t.Errorf("cookies %v", c.jar)
	}
	c.jar = maps.Clone(stolen)
	if c.isIn() {
		t.Error("a copy of the cookie still opens the console")
	}
	if late.isIn() {
		t.Error("a copy of the cookie still opens the console of another replica")
	}
}

// TestConsoleSignOutElsewhere checks how soon another replica notices.
func TestConsoleSignOutElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		other := newGateway(t, onClock(), withUpstream(g.upstream), withKES(g.kes))
		c, replica := g.console(t).signedIn(), other.console(t)
		replica.jar = maps.Clone(c.jar)
		if !replica.isIn() {
			t.Error("another replica does not know the session")
		}
		c.send(http.MethodPost, "sign-out", url.Values{})
		time.Sleep(3 * time.Second)
		if replica.isIn() {
			t.Error("three seconds later the session is still good")
		}
	})
}

func TestConsoleSessionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		c := g.console(t)
		c.viewers["auditor"] = "secret-of-auditor"
		signIn := func() {
			t.Helper()
			if status := c.signIn("auditor", "secret-of-auditor"); status != http.StatusSeeOther || !c.isIn() {
				t.Fatalf("sign-in: %d", status)
			}
		}
		signIn()
		kept := maps.Clone(c.jar)
		c.viewers["auditor"] = "another-secret"
		if c.isIn() {
			t.Error("the session outlives its secret")
		}
		delete(c.viewers, "auditor")
		if c.isIn() {
			t.Error("the session outlives its credential")
		}
		c.viewers["auditor"] = "secret-of-auditor"
		c.jar = kept
		if !c.isIn() {
			t.Error("the session ended without reason")
		}

		time.Sleep(25 * time.Minute)
		if !c.isIn() { // a visit, which renews
			t.Error("the session ended too early")
		}
		time.Sleep(25 * time.Minute)
		if !c.isIn() {
			t.Error("the session was not renewed")
		}
		// Live parts of an open page are no visits.
		for range 60 {
			time.Sleep(time.Minute)
			c.send(http.MethodGet, "", nil, "Hx-Request", "true")
		}
		if c.isIn() {
			t.Error("an open page kept the session")
		}
		signIn()
		for range 13 * 4 {
			time.Sleep(15 * time.Minute)
			c.send(http.MethodGet, "", nil)
		}
		if c.isIn() {
			t.Error("the session lasts for ever")
		}
	})
}

// TestConsoleForgedSessions tries cookies that no sign-in has given.
func TestConsoleForgedSessions(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	c := g.console(t).signedIn()
	name, value := c.cookie()
	for what, forged := range map[string]string{
		"empty": "", "noise": "bm9pc2U", "no base64": "!!", "cut": value[:len(value)-8], "changed": value[:40] + "A" + value[41:],
		"of another purpose": tokenOf(t, console.NewLink("http://c/", clientSecretKey)),
	} {
		if forged == value {
			continue
		}
		c.jar[name] = forged
		if c.isIn() {
			t.Errorf("%s: signed in", what)
		}
	}
	other := g.console(t, func(cfg *console.Config) { cfg.SecretKey = "another-secret-key" })
	other.jar[name] = value
	if other.isIn() {
		t.Error("a session outlives a change of the root credential's secret key")
	}
}

func TestConsoleAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newGateway(t, onClock()).console(t)
		for range 5 {
			if status := c.signIn(clientAccessKey, "guess"); status != http.StatusForbidden {
				t.Fatalf("a wrong secret: %d", status)
			}
		}
		if status := c.signIn(clientAccessKey, clientSecretKey); status != http.StatusTooManyRequests {
			t.Errorf("after five failures: %d", status)
		}
		c.address = "198.51.100.7"
		if status := c.signIn(clientAccessKey, clientSecretKey); status != http.StatusSeeOther {
			t.Errorf("from another address: %d", status)
		}
		c.address = "192.0.2.1"
		time.Sleep(time.Minute)
		if status := c.signIn(clientAccessKey, clientSecretKey); status != http.StatusSeeOther {
			t.Errorf("a minute later: %d", status)
		}
		// One network of IPv6 is one client.
		refused := 0
		for i := range 10 {
			c.address = "2001:db8::" + string(rune('0'+i))
			if c.signIn(clientAccessKey, "guess") == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused != 5 {
			t.Errorf("%d of ten guesses from one network refused", refused)
		}
	})
}

func TestConsoleViewer(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	c := g.console(t)
	c.viewers["auditor"] = "secret-of-auditor"
	c.signIn("auditor", "secret-of-auditor")
	for _, path := range consolePages {
		if status, _ := c.get(path); status != http.StatusOK && path != "nothing-here" && !strings.HasPrefix(path, "object?") {
			t.Errorf("GET %s: %d", path, status)
		}
	}
	for path, form := range consoleChanges {
		if r := c.send(http.MethodPost, path, form); r.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s: %d", path, r.StatusCode)
		}
	}
	if rules, _, err := g.State.KnownRules(); err != nil || len(rules) > 0 || g.kes.HasKey("a-new-key") {
		t.Errorf("rules %v, %v", rules, err)
	}
}

func tokenOf(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("token")
}

func TestConsoleLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		other := newGateway(t, onClock(), withUpstream(g.upstream), withKES(g.kes))
		c, replica := g.console(t), other.console(t)
		link := console.NewLink("http://console.test"+c.base, clientSecretKey)
		path := strings.TrimPrefix(link, "http://console.test"+c.base)
		if status, body := c.get(path); status != http.StatusOK || c.isIn() || !strings.Contains(body, tokenOf(t, link)) {
			t.Errorf("the link's page: %d, %s", status, body)
		}
		use := func(c *testConsole, token string) int {
			t.Helper()
			return c.send(http.MethodPost, "link", url.Values{"token": {token}}).StatusCode
		}
		if status := use(c, tokenOf(t, link)); status != http.StatusSeeOther || !c.isIn() {
			t.Errorf("the link: %d", status)
		}
		if status := use(replica, tokenOf(t, link)); status != http.StatusForbidden || replica.isIn() {
			t.Errorf("the link once more, at another replica: %d", status)
		}
		_, cookie := c.cookie()
		for name, wrong := range map[string]string{
			"of another secret": tokenOf(t, console.NewLink("http://c/", "another-secret-key")), "a cookie": cookie, "none": "",
		} {
			if status := use(replica, wrong); status != http.StatusForbidden || replica.isIn() {
				t.Errorf("%s: %d", name, status)
			}
		}
		old, unrecorded := tokenOf(t, console.NewLink("http://c/", clientSecretKey)), tokenOf(t, console.NewLink("http://c/", clientSecretKey))
		g.upstream.on(http.MethodPut, "/"+testStateBucket+"/console/", answerWith(503, "ServiceUnavailable"))
		replica.address = "192.0.2.2"
		if status := use(replica, unrecorded); status != http.StatusForbidden || replica.isIn() {
			t.Errorf("a link whose use cannot be recorded: %d", status)
		}
		g.upstream.unhook()
		time.Sleep(11 * time.Minute)
		if status := use(replica, old); status != http.StatusForbidden || replica.isIn() {
			t.Errorf("an old link: %d", status)
		}
		for _, line := range g.logs.All() {
			for _, f := range line.Context {
				if strings.Contains(f.String, tokenOf(t, link)) {
					t.Errorf("the log has the link: %v", line)
				}
			}
		}
	})
}

func TestConsoleSetsRules(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.kes.CreateKey("mine")
	c := g.console(t).signedIn()
	set := func(form url.Values) (int, string) {
		t.Helper()
		r := c.send(http.MethodPost, "buckets/"+testBucket, form)
		return r.StatusCode, bodyOf(t, r)
	}
	rule := func() state.Rule {
		t.Helper()
		r, _, err := g.State.FreshRule(t.Context(), testBucket)
		if err != nil {
			t.Fatal(err)
		}
		r.Set = 0
		return r
	}
	if status, body := set(url.Values{"algorithm": {"aws:kms"}, "key": {"no-such-key"}}); status != http.StatusBadRequest || !strings.Contains(body, "kms:KeyNotFound") {
		t.Errorf("a key that KES does not have: %d %s", status, body)
	}
	g.kes.Deny("mine")
	if status, _ := set(url.Values{"algorithm": {"aws:kms"}, "key": {"mine"}}); status != http.StatusBadRequest {
		t.Errorf("a key that KES denies: %d", status)
	}
	g.kes.Allow("mine")
	if got := rule(); got.Algorithm != "" {
		t.Errorf("rule after refusals: %+v", got)
	}
	status, _ := set(url.Values{"algorithm": {"aws:kms"}, "key": {"mine"}, "bucket-key": {"on"}, "block-ssec": {"on"}})
	want := state.Rule{Algorithm: "aws:kms", KeyID: "mine", BucketKey: true, Blocked: []string{"SSE-C"}, SealedOnly: true}
	if diff := cmp.Diff(want, rule()); status != http.StatusSeeOther || diff != "" {
		t.Errorf("%d (-want +got):\n%s", status, diff)
	}
	if _, body := c.get("buckets"); !strings.Contains(body, "SSE-KMS, bucket key, no SSE-C") || !strings.Contains(body, "sealed only") {
		t.Errorf("the list of buckets does not show the rule:\n%s", body)
	}
	if status, _ := set(url.Values{"algorithm": {"aws:kms"}, "key": {"made-here"}, "make-key": {"on"}}); status != http.StatusSeeOther || !g.kes.HasKey("made-here") {
		t.Errorf("a key that is made: %d", status)
	}
	if status, body := set(url.Values{"algorithm": {"aws:kms"}, "key": {"made-here"}, "make-key": {"on"}}); status != http.StatusConflict || !strings.Contains(body, "already") {
		t.Errorf("a key that is there: %d", status)
	}
	if status, _ := set(url.Values{"algorithm": {"ROT13"}}); status != http.StatusBadRequest {
		t.Errorf("no algorithm: %d", status)
	}
	if status, _ := set(url.Values{"algorithm": {"AES256"}, "key": {"ignored"}}); status != http.StatusSeeOther || rule().Algorithm != "AES256" {
		t.Errorf("SSE-S3: %d %+v", status, rule())
	}
	if _, body := c.get("buckets/" + testBucket + "/clear"); !strings.Contains(body, "no longer refuses to serve plaintext") || rule().Algorithm == "" {
		t.Errorf("the question:\n%s", body)
	}
	if r := c.send(http.MethodPost, "buckets/"+testBucket+"/clear", url.Values{}); r.StatusCode != http.StatusSeeOther || rule().Algorithm != "" {
		t.Errorf("cleared: %d %+v", r.StatusCode, rule())
	}
	if r := c.send(http.MethodPost, "buckets/no-such-bucket", url.Values{"algorithm": {"AES256"}}); r.StatusCode != http.StatusBadRequest {
		t.Errorf("no bucket: %d", r.StatusCode)
	}
	if r := c.send(http.MethodPost, "buckets/"+testStateBucket, url.Values{"algorithm": {"AES256"}}); r.StatusCode != http.StatusBadRequest {
		t.Errorf("the state bucket: %d", r.StatusCode)
	}
	actions := map[string]int{}
	for _, record := range c.audit.Latest() {
		actions[record.Action+" "+record.AccessKey+" "+record.Result]++
	}
	for _, want := range []string{"ConsoleSetRule client-access ok", "ConsoleSetRule client-access NoSuchBucket", "ConsoleCreateKey client-access ok", "ConsoleClearRule client-access ok"} {
		if actions[want] == 0 {
			t.Errorf("the audit records have no %q: %v", want, actions)
		}
	}
}

func TestConsolePreview(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	c := g.console(t).signedIn()
	r := c.send(http.MethodPost, "buckets/"+testBucket+"/preview", url.Values{"algorithm": {"aws:kms"}, "key": {"later"}, "make-key": {"on"}})
	if body := bodyOf(t, r); r.StatusCode != http.StatusOK || !strings.Contains(body, "KES makes the key later.") || !strings.Contains(body, `value="later"`) {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	if rules, _, err := g.State.KnownRules(); err != nil || len(rules) > 0 || g.kes.HasKey("later") {
		t.Errorf("the preview changed something: %v, %v", rules, err)
	}
}

func TestConsoleJobs(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/old", pattern(100, 1)).want(t, 200, "")
	c := g.console(t).signedIn()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() { defer close(served); c.Jobs.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-served })
	start := func(path string, form url.Values) *jobs.Job {
		t.Helper()
		r := c.send(http.MethodPost, path, form)
		id, ok := strings.CutPrefix(r.Header.Get("Location"), c.base+"jobs/")
		if !ok {
			t.Fatalf("%d %s", r.StatusCode, bodyOf(t, r))
		}
		var j *jobs.Job
		eventually(t, "the job to end", func() (ended bool) {
			var err error
			if j, err = c.Jobs.Get(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			return j.Status.Ended()
		})
		return j
	}
	dry := start("jobs", url.Values{"kind": {"encrypt"}, "bucket": {testBucket}, "scheme": {"SSE-S3"}, "start": {"dry"}})
	if !dry.Settings.DryRun || dry.Count(jobs.ResultWould).Objects != 1 {
		t.Fatalf("dry run %+v", dry)
	}
	if _, body := c.get("jobs/" + dry.ID); !strings.Contains(body, "Start it for real") {
		t.Errorf("the dry run's page:\n%s", body)
	}
	if done := start("jobs/"+dry.ID+"/start", url.Values{}); done.Settings.DryRun || done.Count(jobs.ResultSealed).Objects != 1 || done.Status != jobs.Finished {
		t.Errorf("job %+v", done)
	}
	count := start("jobs", url.Values{"kind": {"inventory"}})
	if _, body := c.get("jobs/" + count.ID); !strings.Contains(body, "is still needed by") || !strings.Contains(body, "SSE-S3") {
		t.Errorf("the inventory's page:\n%s", body)
	}
	if _, body := c.get("buckets"); !strings.Contains(body, "100 % of 1 object") {
		t.Errorf("the list of buckets does not show the share:\n%s", body)
	}
	for _, ending := range []string{"json", "csv"} {
		r := c.send(http.MethodGet, "jobs/"+count.ID+"/report."+ending, nil)
		if body := bodyOf(t, r); !strings.Contains(r.Header.Get("Content-Disposition"), count.ID+"."+ending) || !strings.Contains(body, "SSE-S3") {
			t.Errorf("report: %v %s", r.Header, body)
		}
	}
	for name, form := range map[string]url.Values{
		"no kind":       {"bucket": {testBucket}},
		"no bucket":     {"kind": {"encrypt"}},
		"state bucket":  {"kind": {"encrypt"}, "bucket": {testStateBucket}},
		"unknown key":   {"kind": {"rekey"}, "bucket": {testBucket}, "key": {"no-such-key"}},
		"no number":     {"kind": {"verify"}, "bucket": {testBucket}, "sample": {"half"}},
		"no rate":       {"kind": {"verify"}, "bucket": {testBucket}, "bytes-rate": {"fast"}},
		"negative rate": {"kind": {"verify"}, "bucket": {testBucket}, "objects-rate": {"-1"}},
		"not a number":  {"kind": {"verify"}, "bucket": {testBucket}, "objects-rate": {"NaN"}},
	} {
		if r := c.send(http.MethodPost, "jobs", form); r.StatusCode < 400 || r.StatusCode >= 500 {
			t.Errorf("%s: %d", name, r.StatusCode)
		}
	}
	if r := c.send(http.MethodPost, "jobs/"+count.ID+"/cancel", url.Values{}); r.StatusCode != http.StatusConflict {
		t.Errorf("cancel after the end: %d", r.StatusCode)
	}
}

// TestConsoleEscapes shows names that are HTML.
func TestConsoleEscapes(t *testing.T) {
	t.Parallel()
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>'`
	g := newGateway(t)
	c := g.console(t).signedIn()
	c.audit.Record(&audit.Record{Time: time.Now(), AccessKey: evil, Action: evil, Bucket: evil, Key: evil, KESKey: evil, Use: evil, Result: evil})
	id := ""
	if j, err := c.Jobs.Create(t.Context(), &jobs.Job{Kind: jobs.Verify, Bucket: testBucket, Prefix: evil}); err != nil {
		t.Fatal(err)
	} else {
		id = j.ID
	}
	q := url.QueryEscape(evil)
	paths := []string{
		"audit", "audit?key=" + q + "&bucket=" + q + "&user=" + q, "jobs", "jobs/" + id, "jobs/" + id + "/cancel", "jobs/new?kind=" + q + "&bucket=" + q + "&prefix=" + q + "&key=" + q,
		"keys?filter=" + q, "keys?made=" + q, "keys?tried=" + q, "buckets?filter=" + q, "buckets/" + url.PathEscape(evil), "object?bucket=" + testBucket + "&key=" + q, "jobs/" + url.PathEscape(evil),
	}
	for _, path := range paths {
		if _, body := c.get(path); strings.Contains(body, "<script>alert") || strings.Contains(body, "<img") {
			t.Errorf("%s shows HTML of a name:\n%s", path, body)
		}
	}
	r := c.send(http.MethodPost, "sign-in", url.Values{"access-key": {evil}, "secret-key": {evil}})
	if body := bodyOf(t, r); strings.Contains(body, "<script>alert") {
		t.Errorf("the sign-in shows HTML:\n%s", body)
	}
}

func TestConsolePaths(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	c, before := g.console(t).signedIn(), g.kes.Requests(kmstest.OpGenerate)
	for _, path := range []string{
		"assets/x/../../../../etc/passwd", "assets/x/..%2f..%2fgo.mod", "assets/x/console.css", "assets/", "pages/layout.html", "jobs/..%2f..%2froot",
		"buckets/minio%2Fkms%2Fv1%2Fkey%2Fstatus", "buckets/b%2Fk", "/x", "//evil.test", "jobs//x", "./jobs", "buckets/..%2f" + testStateBucket, "buckets/" + testStateBucket, "object?bucket=" + testStateBucket + "&key=root", "%00", "jobs/%00",
	} {
		r := c.send(http.MethodGet, path, nil)
		body := bodyOf(t, r)
		if r.StatusCode < 400 || r.StatusCode > 499 || strings.Contains(body, "module ssegw") {
			t.Errorf("%s: %d to %q", path, r.StatusCode, r.Header.Get("Location"))
		}
	}
	if n := g.kes.Requests(kmstest.OpGenerate); n != before {
		t.Errorf("%d requests to KES", n-before)
	}
	if r := c.send(http.MethodPost, "check", url.Values{"x": {strings.Repeat("x", 1<<20)}}); r.StatusCode >= 500 {
		t.Errorf("a large form: %d", r.StatusCode)
	}
}

func TestConsoleRunsCheck(t *testing.T) {
	t.Parallel()
	c := newGateway(t).console(t).signedIn()
	if r := c.send(http.MethodPost, "check", url.Values{}); r.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d", r.StatusCode)
	}
	eventually(t, "the check to end", func() bool {
		status, body := c.get("check")
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		return strings.Contains(body, "Run the check") && strings.Contains(body, "conditional writes")
	})
}

// TestConsoleBesideS3 checks that objects on the address of the console are
// strangers to it.
func TestConsoleBesideS3(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	c := g.console(t)
	h := c.Beside(g.Server, func(host string) bool { return strings.HasPrefix(host, "bucket.") })
	for path, want := range map[string]string{"/" + testBucket + "/k": "sandbox", "/": "sandbox", console.PathOnS3: "frame-ancestors", "/_ssegw": "frame-ancestors"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://s3.test"+path, nil))
		if to := w.Header().Get("Location"); to != "" && !strings.HasPrefix(to, console.PathOnS3) {
			t.Errorf("%s leads to %s", path, to)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, want) || strings.Contains(policy, "allow-same-origin") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://bucket.s3.test/_ssegw/", nil))
	if body := w.Body.String(); !strings.Contains(body, "<Error>") { // an object's key in virtual-host style
		t.Errorf("bucket.s3.test/_ssegw/: %s", body)
	}
}

// TestConsoleWithoutStore shows the pages while the store and KES are away.
func TestConsoleWithoutStore(t *testing.T) {
	t.Parallel()
	g := newGateway(t, notOpened())
	g.kes.Stop()
	for _, method := range []string{"GET", "PUT", "HEAD", "DELETE"} {
		g.upstream.on(method, "/", answerWith(503, "ServiceUnavailable"))
	}
	c := g.console(t, func(cfg *console.Config) {
		cfg.Health = func(context.Context) admin.Health {
			return admin.Health{State: admin.Offline, Upstream: admin.Offline, KMS: admin.Offline, Endpoints: []admin.Endpoint{{URL: g.kes.Endpoint(), State: admin.Offline, Error: "refused"}}}
		}
	}).signedIn()
	for _, path := range consolePages {
		status, body := c.get(path)
		if status == http.StatusInternalServerError {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if _, body := c.get(""); !strings.Contains(body, "The store does not answer") || !strings.Contains(body, "KES gives no data keys") {
		t.Errorf("the overview:\n%s", body)
	}
}

// TestConsoleAssets checks that files that browsers keep carry no session.
func TestConsoleAssets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newGateway(t, onClock()).console(t).signedIn()
		_, page := c.get("")
		time.Sleep(5 * time.Minute) // a page would renew the session now
		links := regexp.MustCompile(`/console/(assets/[^"]+)`).FindAllStringSubmatch(page, -1)
		if len(links) != 7 {
			t.Fatalf("%d assets", len(links))
		}
		for _, link := range links {
			r := c.send(http.MethodGet, link[1], nil)
			if r.StatusCode != http.StatusOK || len(r.Cookies()) > 0 || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %d %v", link[1], r.StatusCode, r.Header)
			}
		}
	})
}

// TestConsoleInspectIsAudited checks that KES opens nothing for a person
// without a record.
func TestConsoleInspectIsAudited(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withRule(testBucket, state.Rule{Algorithm: "AES256"}))
	g.put("/bucket/k", []byte("x")).want(t, 200, "")
	c := g.console(t)
	c.viewers["auditor"] = "secret-of-auditor"
	c.signIn("auditor", "secret-of-auditor")
	if status, body := c.get("object?bucket=" + testBucket + "&key=k"); status != http.StatusOK || !strings.Contains(body, "AES-") {
		t.Fatalf("%d %s", status, body)
	}
	got := c.audit.Latest()[0]
	if got.Action != "ConsoleInspect" || got.AccessKey != "auditor" || got.Bucket != testBucket || got.Key != "k" || got.KESKey != kmstest.DefaultKey || got.Use != "unseal" {
		t.Errorf("record %+v", got)
	}
}

// TestConsoleSealedOnly checks what pages tell about plaintext, for each value
// of the setting.
func TestConsoleSealedOnly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		setting string
		rule    state.Rule
		shows   string
	}{
		{"auto", state.Rule{Algorithm: "AES256"}, "migrating"},
		{"auto", state.Rule{Algorithm: "AES256", SealedOnly: true}, "sealed only"},
		{"always", state.Rule{Algorithm: "AES256"}, "sealed only"},
		{"never", state.Rule{Algorithm: "AES256", SealedOnly: true}, "migrating"},
	} {
		g := newGateway(t, withRule(testBucket, test.rule))
		c := g.console(t, func(cfg *console.Config) { cfg.SealedOnly = test.setting }).signedIn()
		if _, body := c.get("buckets"); !strings.Contains(body, ">"+test.shows+"<") {
			t.Errorf("%s, %+v: not %q in\n%s", test.setting, test.rule, test.shows, body)
		}
		attention := test.setting == "auto" && !test.rule.SealedOnly
		if _, body := c.get(""); strings.Contains(body, "objects in plaintext from before") != attention {
			t.Errorf("%s, %+v: the overview shows\n%s", test.setting, test.rule, body)
		}
	}
}

// TestConsoleKeyNeeds checks that a key that something needs never looks as if
// nothing did.
func TestConsoleKeyNeeds(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, name := range []string{"unused", "lost"} {
		g.kes.CreateKey(name)
	}
	lost := state.Rule{Algorithm: "aws:kms", KeyID: "lost"}
	if err := setRule(t.Context(), g.State, testBucket, &lost); err != nil {
		t.Fatal(err)
	}
	g.kes.DeleteKey("lost")
	_, body := g.console(t).signedIn().get("keys")
	rows := strings.Split(body, "<tr>")
	find := func(name string) string {
		for _, row := range rows {
			if strings.Contains(row, `class="any">`+name) {
				return row
			}
		}
		t.Errorf("no row for %s in\n%s", name, body)
		return ""
	}
	if row := find(kmstest.DefaultKey); !strings.Contains(row, "the gateway’s root") || !strings.Contains(row, "default") {
		t.Errorf("the default key: %s", row)
	}
	if row := find("lost"); !strings.Contains(row, "not in KES") || !strings.Contains(row, testBucket) {
		t.Errorf("the lost key: %s", row)
	}
	if row := find("unused"); strings.Contains(row, "root") || !strings.Contains(row, ">?<") {
		t.Errorf("the unused key: %s", row)
	}
}

// TestConsoleSignOutDuringOutage checks that other replicas learn of a sign-out
// that could not be stored at first.
func TestConsoleSignOutDuringOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		other := newGateway(t, onClock(), withUpstream(g.upstream), withKES(g.kes))
		c, replica := g.console(t).signedIn(), other.console(t)
		replica.jar = maps.Clone(c.jar)
		g.upstream.on(http.MethodPut, "/"+testStateBucket+"/console/", answerWith(503, "ServiceUnavailable"))
		c.send(http.MethodPost, "sign-out", url.Values{})
		c.jar = maps.Clone(replica.jar)
		if c.isIn() {
			t.Error("the session outlives its sign-out")
		}
		g.upstream.unhook()
		time.Sleep(3 * time.Second)
		c.signIn(clientAccessKey, clientSecretKey)
		c.get("") // any visit
		time.Sleep(3 * time.Second)
		if replica.isIn() {
			t.Error("the other replica never learns of the sign-out")
		}
	})
}
