package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a tab of Chromium. It collects what a page must not do: errors on
// the console, violations of the content security policy, and requests to other
// addresses than its own.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string // URL of the console, with a final slash

	mu       sync.Mutex
	problems []string
	expected map[string]bool // problems that a step expects, by a part of their text
}

// newBrowser starts a browser of its own: it shares no cookies with others.
func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"} {
		if _, err := os.Stat(name); err == nil {
			path = name
			break
		}
	}
	if path == "" {
		skip(t, "there is no Chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("headless", "new"), chromedp.Flag("disable-background-networking", true),
		chromedp.UserDataDir(t.TempDir()))
	allocated, stop := chromedp.NewExecAllocator(t.Context(), options...)
	b := &browser{t: t, base: base, expected: map[string]bool{}}
	ctx, cancel := chromedp.NewContext(allocated, chromedp.WithListener(b.listen))
	b.ctx = ctx
	t.Cleanup(func() {
		cancel()
		stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Errorf("the browser complains: %s", p)
		}
	})
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as this context
		t.Fatal(err)
	}
	b.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, network.Enable, network.EnableParams{})
		_, err2 := cdp.Call(ctx, tab, log.Enable, cdp.Empty{})
		return errors.Join(err, err2)
	}))
	b.size(1280, 900)
	return b
}

// listen collects problems.
func (b *browser) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.problem("exception: " + e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			b.problem(fmt.Sprintf("console: %s", e.Args[0].Value))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			b.problem(fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if own, _ := url.Parse(b.base); err != nil || u.Scheme != "data" && u.Scheme != "about" && u.Host != own.Host {
			b.problem("request to " + e.Request.URL)
		}
	}
}

func (b *browser) problem(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for part := range b.expected {
		if strings.Contains(text, part) {
			return
		}
	}
	b.problems = append(b.problems, text)
}

// expect makes problems with this part of a text no problems.
func (b *browser) expect(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected[part] = true
}

// do runs actions. The test ends if one fails.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%v, at %s:\n%s", err, b.url(), b.text())
	}
}

func (b *browser) size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

// open opens a page of the console.
func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
}

// click clicks what a CSS selector finds, and waits for the next page.
func (b *browser) click(selector string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.t.Fatalf("clicking %s: %v, at %s:\n%s", selector, err, b.url(), b.text())
	}
}

// waitFor waits until the page contains a text, also while the browser goes to
// another page.
func (b *browser) waitFor(text string) {
	b.t.Helper()
	eventually(b.t, "the text "+text, func() error {
		if page := b.text(); !strings.Contains(page, text) {
			return fmt.Errorf("%s shows:\n%s", b.url(), page)
		}
		return nil
	})
}

// run runs one action and returns its value. The test ends if it fails.
func run[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("%v, at %s:\n%s", err, b.url(), b.text())
	}
	return v
}

// eval returns the value of an expression.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	return run(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// text returns what the page shows.
func (b *browser) text() string {
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	return text
}

func (b *browser) url() string {
	u, _ := chromedp.Run(b.ctx, chromedp.Location())
	return u
}

// want fails the test unless the page shows all texts.
func (b *browser) want(texts ...string) {
	b.t.Helper()
	page := b.text()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			b.t.Errorf("%s does not show %q:\n%s", b.url(), text, page)
		}
	}
}

// shoot keeps pictures of the page at the width of a telephone and of a screen.
func (b *browser) shoot(name string) {
	b.t.Helper()
	for _, width := range []int64{390, 1280} {
		b.size(width, 900)
		b.wantFits(name, width)
		b.picture(fmt.Sprintf("%s-%d", name, width))
	}
}

// pictures is the folder of pictures. They stay there, for people to look at.
var pictures = filepath.Join("..", ".bin", "screenshots")

// picture keeps a picture of the page.
func (b *browser) picture(name string) {
	b.t.Helper()
	if err := os.MkdirAll(pictures, 0o750); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(pictures, name+".png"), run(b, chromedp.FullScreenshot(100)), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// wantFits fails the test if the page has to be scrolled sideways.
func (b *browser) wantFits(name string, width int64) {
	b.t.Helper()
	if eval[bool](b, `document.documentElement.scrollWidth > document.documentElement.clientWidth`) {
		b.t.Errorf("%s is wider than %d pixels", name, width)
	}
}

// fill types a text into a field in place of what it holds.
func (b *browser) fill(selector, text string) {
	b.t.Helper()
	b.do(chromedp.Clear(chromedp.CSS(selector)), chromedp.SendKeys(chromedp.CSS(selector), text))
}

// quoted returns a text as a literal of JavaScript.
func quoted(text string) string { return fmt.Sprintf("%q", text) }
