package e2e

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"ssegw/e2e/stack"
)

// signedIn returns a browser that has signed in with a credential.
func signedIn(t *testing.T, g *stack.Gateway, accessKey, secretKey string) *browser {
	t.Helper()
	b := newBrowser(t, g.AdminEndpoint+"/console/")
	b.open("")
	b.do(chromedp.SendKeys(chromedp.CSS(`[name=access-key]`), accessKey), chromedp.SendKeys(chromedp.CSS(`[name=secret-key]`), secretKey))
	b.click(`main form button`)
	b.waitFor("Sign out")
	return b
}

func TestConsole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.gateway(t, false)
	client := sdkOf(t, g)
	makeBucket(t, client, "accounts")
	makeBucket(t, client, strings.Repeat("long-name-", 6)+"end")
	b := signedIn(t, g, g.AccessKey, g.SecretKey)
	b.shoot("overview")
	for _, page := range []string{"buckets", "buckets/accounts", "keys", "jobs", "jobs/new", "audit", "check", "object"} {
		b.open(page)
		b.shoot(strings.ReplaceAll(page, "/", "-"))
	}
}
