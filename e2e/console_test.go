package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ssegw/e2e/stack"
)

// consoleOf opens the console of a gateway's admin address in a browser of its
// own.
func consoleOf(t *testing.T, g *stack.Gateway) *browser {
	t.Helper()
	b := newBrowser(t, g.AdminEndpoint+"/console/")
	b.open("")
	return b
}

// signIn signs in with the root credential of a gateway.
func (b *browser) signIn(g *stack.Gateway) {
	b.t.Helper()
	b.fill("[name=access-key]", g.AccessKey)
	b.fill("[name=secret-key]", g.SecretKey)
	b.click("main form button")
	b.waitFor("Sign out")
}

// TestConsole does each action of the console, as people do.
func TestConsole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(t, false)
	mc := newMCClient(t, r.stack, g).mc
	two := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{Like: g}))(t)
	if err := mc.Alias(t.Context(), "two", two.Endpoint, two.AccessKey, two.SecretKey); err != nil {
		t.Fatal(err)
	}
	client, direct := sdkOf(t, g), r.direct(t)
	makeBucket(t, client, "accounts")
	makeBucket(t, direct, "old")
	for i := range 30 {
		key := fmt.Sprintf("%02d", i)
		_ = must(direct.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("old"), Key: &key, Body: strings.NewReader("before")}))(t)
	}
	b := consoleOf(t, g)
	for _, status := range []string{"status of 400", "status of 403", "status of 404", "status of 409"} {
		b.expect(status)
	}
	b.signIn(g)
	for _, step := range []struct {
		name string
		does func(*testing.T, *browser)
	}{
		{"rules", func(t *testing.T, b *browser) { consoleRules(t, b, g, mc) }},
		{"keys", func(t *testing.T, b *browser) { consoleKeys(b, mc) }},
		{"jobs", consoleJobs},
		{"audit", consoleAudit},
		{"check", func(_ *testing.T, b *browser) {
			b.open("check")
			b.click("#run")
			b.waitFor(" 0 failed")
			b.waitFor("Run the check")
			b.want("KES key", "conditional writes")
		}},
		{"object", func(_ *testing.T, b *browser) {
			b.open("object")
			b.fill("[name=bucket]", "old")
			b.fill("[name=key]", "07")
			b.click("main form button")
			b.want("sealed", "SSE-KMS", g.KeyName, "38 bytes")
			b.open("object?bucket=old&key=nothing")
			b.want("The store has no such object.")
		}},
		{"link", func(t *testing.T, b *browser) {
			b.click(".user button")
			b.want("Access key")
			link := strings.TrimSpace(wantSSEGW(t, r, g, "console"))
			b.do(chromedp.Navigate(link))
			b.waitFor("All is well") // the page of the link goes on by itself
			b.do(chromedp.Navigate(link))
			b.waitFor("This link does not work")
		}},
	} {
		if !t.Run(step.name, func(t *testing.T) {
			b.t = t
			step.does(t, b)
		}) {
			break
		}
	}
	b.t = t
}

func consoleRules(t *testing.T, b *browser, g *stack.Gateway, mc *stack.MC) {
	// Three clicks from the sign-in to a rule.
	b.click("nav a[href$='buckets']")
	b.click("a[href$='buckets/accounts']")
	b.click("#save")
	b.want("The rule is saved.", "sealed objects only")
	wantInfo(t, mc, "gw/accounts", "Auto encryption 'sse-kms' is enabled with KeyID: "+g.KeyName)

	// What another replica changes shows here.
	wantMC(t, mc, "encrypt set sse-s3 two/accounts", "", "successfully")
	eventually(t, "the rule of the other replica", func() error {
		b.open("buckets/accounts")
		if text := b.text(); !strings.Contains(text, "SSE-S3\n") {
			return errors.New(text)
		}
		return nil
	})

	// The preview follows the form, and nothing is saved.
	b.do(chromedp.Click(chromedp.CSS("[value='aws:kms']")))
	b.waitFor("sealed with SSE-KMS under the KES key")
	b.fill("#key", "made-in-the-console")
	b.do(chromedp.Click(chromedp.CSS("[name=make-key]")), chromedp.Click(chromedp.CSS("[name=block-ssec]")))
	b.waitFor("KES makes the key made-in-the-console.")
	b.waitFor("Writes with a customer’s key (SSE-C) are refused.")
	wantInfo(t, mc, "gw/accounts", "Auto encryption 'sse-s3' is enabled")
	b.click("#save")
	b.want("SSE-KMS", "no SSE-C")
	wantInfo(t, mc, "gw/accounts", "KeyID: made-in-the-console")

	b.fill("#key", "no-such-key")
	b.click("#save")
	b.want("key with given key ID does not exist")
	wantInfo(t, mc, "gw/accounts", "KeyID: made-in-the-console")

	b.open("buckets/accounts")
	b.click("a[href$='clear']")
	b.want("New objects in accounts are then stored in plaintext")
	b.click("main a[href$='buckets/accounts']")
	wantInfo(t, mc, "gw/accounts", "KeyID: made-in-the-console")
	b.click("a[href$='clear']")
	b.click("button.danger")
	b.want("Set a rule")
	wantInfo(t, mc, "gw/accounts", "")
	wantMC(t, mc, "encrypt set sse-kms "+g.KeyName+" gw/old", "", "successfully")
}

func consoleKeys(b *browser, mc *stack.MC) {
	b.open("keys")
	b.fill("#new", "second-key")
	b.click("main form button")
	b.want("KES has made the key second-key.")
	wantMC(b.t, mc, "admin kms key status gw second-key", "", "Decryption")
	b.fill("#new", "second-key")
	b.click("main form button")
	b.want("KES has a key of that name already.")
	b.click("form[action$='keys/second-key/try'] button")
	b.want("The key second-key works")
	b.fill("#filter", "made-in")
	b.click("form[method=get] button")
	b.want("made-in-the-console")
	if strings.Contains(b.text(), "second-key") {
		b.t.Error("the filter shows other keys")
	}
}

func consoleJobs(t *testing.T, b *browser) {
	start := func(kind, bucket string, more ...string) {
		b.t.Helper()
		b.open("jobs/new?kind=" + kind + "&bucket=" + bucket)
		for i := 0; i+1 < len(more); i += 2 {
			b.fill(more[i], more[i+1])
		}
		b.click("[name=start][value=dry]")
	}
	start("encrypt", "old")
	b.waitFor("finished")
	b.want("dry run", "would be changed", "30")
	b.click("#start")
	b.waitFor("finished")
	b.want("sealed", "30")
	b.open("buckets/old")
	b.want("sealed objects only")

	start("inventory", "")
	b.waitFor("finished")
	b.want("is still needed by 30 objects")
	b.open("buckets")
	b.want("100 % of 30")
	start("verify", "old")
	b.waitFor("finished")
	b.want("verified")
	for _, ending := range []string{"json", "csv"} {
		if text := eval[string](b, `fetch(location.pathname + "/report.`+ending+`").then(r => r.text())`); !strings.Contains(text, "verified") {
			t.Errorf("the report: %s", text)
		}
	}

	// A slow job is paused, resumed and cancelled.
	b.open("jobs/new?kind=verify&bucket=old")
	b.do(chromedp.Click(chromedp.CSS("summary")))
	b.fill("#objects-rate", "0.5")
	b.click("[name=start][value=dry]")
	b.waitFor("running")
	b.click("#pause")
	b.waitFor("paused")
	b.click("#resume")
	b.waitFor("running")
	b.click("#cancel")
	b.want("ends for good")
	b.click("button.danger")
	b.waitFor("cancelled")
}

func consoleAudit(_ *testing.T, b *browser) {
	b.open("audit")
	b.want("ConsoleSetRule", "ConsoleCreateKey", "ConsoleStartJobEncrypt", "ConsoleClearRule")
	b.open("audit?bucket=old&result=ok")
	b.want("ConsoleStartJobVerify")
	if strings.Contains(b.text(), "ConsoleClearRule") {
		b.t.Error("the filter shows other buckets")
	}
}

// consolePages are the pages of the console.
var consolePages = []string{
	"", "buckets", "buckets/BUCKET", "buckets/BUCKET/clear", "keys", "jobs", "jobs/new", "jobs/JOB", "jobs/JOB/cancel", "audit", "check",
	"object", "object?bucket=BUCKET&key=KEY", "no-such-page",
}

// longBucket and longKey are as long as names may be.
var (
	longBucket = strings.Repeat("a-very-long-name.", 3) + strings.Repeat("x", 12)
	longKey    = strings.Repeat("long", 20)
)

// TestConsoleLooks looks at each page with much on it, in light and dark, with
// axe-core, and keeps pictures.
func TestConsoleLooks(t *testing.T) {
	t.Parallel()
	long(t)
	r := newRig(t)
	if err := r.stack.Tools().Build(t.Context(), stack.ToolJS); err != nil {
		t.Fatal(err)
	}
	axe := string(must(os.ReadFile(filepath.Join(r.stack.Tools().Path(stack.ToolJS), "node_modules", "axe-core", "axe.min.js")))(t))
	g := r.gateway(t, false)
	client := sdkOf(t, g)
	for i := range 200 {
		makeBucket(t, client, fmt.Sprintf("bucket-%03d", i))
	}
	makeBucket(t, client, longBucket)
	record := must(os.ReadFile(filepath.Join(r.kes.Keys(), g.KeyName)))(t)
	for i := range 2000 {
		if err := os.WriteFile(filepath.Join(r.kes.Keys(), fmt.Sprintf("key-%04d", i)), record, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.kes.Keys(), longKey), record, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = must(client.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: &longBucket, ServerSideEncryptionConfiguration: rule(longKey)}))(t)
	key := strings.Repeat("käse/", 100)
	_ = must(client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &longBucket, Key: &key, Body: strings.NewReader("x")}))(t)

	b := consoleOf(t, g)
	b.audit(axe, "sign-in")
	b.shoot("sign-in")
	b.signIn(g)
	b.open("jobs/new?kind=inventory&bucket=" + longBucket)
	b.click("[name=start][value=dry]")
	b.waitFor("finished")
	job := b.url()[strings.LastIndex(b.url(), "/")+1:]
	b.open("check")
	b.click("#run")
	b.waitFor("Run the check")
	for _, status := range []string{"status of 404", "status of 503"} {
		b.expect(status)
	}
	for _, path := range consolePages {
		b.open(strings.NewReplacer("BUCKET", longBucket, "JOB", job, "KEY", key).Replace(path))
		name := strings.NewReplacer("/", "-", "?bucket=BUCKET&key=KEY", "-found").Replace(path)
		if name == "" {
			name = "overview"
		}
		b.shoot(name)
		b.audit(axe, name)
		for _, width := range []int64{360, 2560} {
			b.size(width, 900)
			b.wantFits(name, width)
		}
		b.size(1280, 900)
	}

	if err := r.kes.Kill(); err != nil {
		t.Fatal(err)
	}
	b.open("")
	b.waitFor("KES gives no data keys")
	b.shoot("overview-kes-down")
	b.audit(axe, "overview, KES down")
	b.open("keys")
	b.want("No KES server answers.")
}

// audit runs axe-core on the page in light and in dark. The rules are those of
// WCAG 2.1, levels A and AA.
func (b *browser) audit(axe, name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		b.media(scheme)
		_ = eval[bool](b, axe+"\n;true")
		for _, v := range eval[[]string](b, `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).then(r =>
			r.violations.map(v => v.id + ": " + v.help + " " + v.nodes.map(n => n.html + " " + n.failureSummary).slice(0, 3).join(" | ")))`) {
			b.t.Errorf("%s, %s: %s", name, scheme, v)
		}
		if scheme == "dark" {
			b.picture(name + "-dark")
		}
	}
	b.media("light")
}

// media sets the colour scheme. Nothing moves, so that colours change at once.
func (b *browser) media(scheme string) {
	b.t.Helper()
	b.do(call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}))
}

// TestConsoleKeyboard signs in and sets a rule with the keyboard alone.
func TestConsoleKeyboard(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(t, false)
	makeBucket(t, sdkOf(t, g), "accounts")
	b := consoleOf(t, g)
	b.press(g.AccessKey, "\t", g.SecretKey, "\r")
	b.waitFor("Sign out")
	b.tabTo("a.skip")
	b.tabTo("nav a[href$='buckets']")
	b.press("\r")
	b.waitFor("Filter by name")
	b.tabTo("a[href$='buckets/accounts']")
	b.press("\r")
	b.waitFor("Set a rule")
	b.tabTo("[name=algorithm]")
	b.press(kb.ArrowDown) // to SSE-S3
	b.waitFor("sealed with SSE-S3")
	b.tabTo("#save")
	b.press("\r")
	b.waitFor("The rule is saved.")
	b.tabTo("a[href$='clear']")
	b.press("\r")
	b.waitFor("New objects in accounts")
	b.tabTo("button.danger")
	b.press("\r")
	b.waitFor("Set a rule")
	b.tabTo(".user button")
	b.press("\r")
	b.waitFor("Secret key")
}

// TestConsoleLiveParts looks at parts of pages that renew themselves: they keep
// the focus, and do not look up to date when the gateway is gone.
func TestConsoleLiveParts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(t, false)
	makeBucket(t, sdkOf(t, g), "accounts")
	b := consoleOf(t, g)
	b.signIn(g)
	b.open("jobs/new?kind=verify&bucket=accounts")
	b.click("[name=start][value=dry]")
	b.waitFor("finished")
	b.open("jobs")
	b.tabTo("#live tbody a")
	_ = eval[bool](b, `window.before = document.getElementById("live"), true`)
	eventually(t, "the live part to be renewed", func() error {
		if eval[bool](b, `document.getElementById("live") === window.before`) {
			return errors.New("still the old one")
		}
		return nil
	})
	if !eval[bool](b, `document.activeElement.matches("#live tbody a")`) {
		t.Error("the focus is lost")
	}
	for _, part := range []string{"ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "htmx:"} {
		b.expect(part)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	b.waitFor("Not up to date: the gateway has not answered since")
}

// press presses keys.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

// tabTo presses the tabulator until a selector's element has the focus, which
// must be visible.
func (b *browser) tabTo(selector string) {
	b.t.Helper()
	for range 100 {
		b.press("\t")
		if eval[bool](b, `document.activeElement.matches(`+quoted(selector)+`)`) {
			if !eval[bool](b, `(e => { const s = getComputedStyle(e); return s.outlineStyle !== "none" || s.boxShadow !== "none" })(document.activeElement)`) {
				b.t.Errorf("the focus at %s is not visible", selector)
			}
			return
		}
	}
	b.t.Fatalf("the tabulator does not reach %s", selector)
}

// TestConsoleWithoutScripts sets a rule, starts a job and runs the check in a
// browser without JavaScript.
func TestConsoleWithoutScripts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(t, false)
	makeBucket(t, sdkOf(t, g), "accounts")
	b := consoleOf(t, g)
	b.do(call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	b.open("")
	b.fill("[name=access-key]", g.AccessKey)
	b.fill("[name=secret-key]", g.SecretKey)
	b.click("main form button")
	b.want("Sign out", "All is well")
	b.open("buckets/accounts")
	b.do(chromedp.Click(chromedp.CSS("[value='AES256']")))
	b.click("[formaction$='preview']")
	b.want("sealed with SSE-S3")
	b.click("#save")
	b.want("The rule is saved.")
	b.open("jobs/new?kind=verify&bucket=accounts")
	b.click("[name=start][value=dry]")
	b.want("Verify accounts")
	b.open("check")
	b.click("#run")
	b.want("Look again")
	b.open("audit")
	b.want("ConsoleSetRule", " UTC")
}

// call is an action that sends a command of the protocol.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, command, params)
		return err
	})
}

// TestConsoleAmongObjects serves the console on the address of the objects, and
// opens an object that attacks it.
func TestConsoleAmongObjects(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{
		KES: []*stack.KES{r.kes}, Upstream: r.store, Env: map[string]string{"SSEGW_CONSOLE": "on"},
	}))(t)
	client := sdkOf(t, g)
	makeBucket(t, client, "public")
	page := `<!doctype html><title>evil</title><body><iframe src="/_ssegw/"></iframe><form method="post" action="/_ssegw/buckets/public"><input name="algorithm" value="AES256"></form><script>
		window.done = Promise.allSettled([
			fetch("/_ssegw/buckets").then(r => r.text()),
			fetch("/_ssegw/buckets/public", {method: "POST", body: new URLSearchParams({algorithm: "AES256"})}).then(r => r.text()),
			fetch("/_ssegw/buckets/public", {method: "POST", mode: "no-cors", credentials: "include", body: new URLSearchParams({algorithm: "AES256"})}).then(r => r.type),
		]).then(all => JSON.stringify(all.map(a => a.value || "refused")) + origin + (() => { try { return document.cookie } catch { return "" } })());
		document.forms[0].submit();
	</script>`
	for _, key := range []string{"evil.html", "quiet.html"} {
		body := page
		if key == "quiet.html" { // stays, so that the test can ask it
			body = strings.Replace(page, "document.forms[0].submit();", "", 1)
		}
		_ = must(client.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("public"), Key: &key, Body: strings.NewReader(body), ContentType: aws.String("text/html"),
		}))(t)
	}
	b := newBrowser(t, g.Endpoint+"/_ssegw/")
	b.open("")
	b.signIn(g)
	for _, part := range []string{"frame-ancestors", "Blocked form submission", "has been blocked by CORS policy", "net::ERR_FAILED", "net::ERR_BLOCKED_BY_RESPONSE", "status of 403"} {
		b.expect(part)
	}
	for _, key := range []string{"quiet.html", "evil.html"} {
		u := must(s3.NewPresignClient(client).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("public"), Key: &key}))(t)
		b.do(chromedp.Navigate(u.URL))
		if key == "quiet.html" {
			if got := eval[string](b, "window.done"); strings.Contains(got, "Sign out") || strings.Contains(got, "public") || !strings.HasSuffix(got, "null") {
				t.Errorf("the object's page got %s", got)
			}
		}
	}
	b.open("buckets/public")
	b.want("Set a rule") // still none, and still signed in
}
