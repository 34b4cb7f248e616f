package probe

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// ACLs finds out, when it is first asked, whether the store keeps ACLs of
// objects. It is safe for concurrent use.
type ACLs struct {
	Prober
	mu    sync.Mutex
	known bool
	none  bool
}

// None reports whether the store takes ACLs and forgets them. A store that
// refuses the ACL of a probe may keep those of other buckets.
func (a *ACLs) None(ctx context.Context) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known {
		return a.none
	}
	err := a.With(ctx, "", func(name string) (err error) {
		a.none, err = a.forgets(ctx, name)
		return err
	})
	a.known = err == nil
	return a.known && a.none
}

// forgets reports whether the store forgets the ACL of the object name.
func (a *ACLs) forgets(ctx context.Context, name string) (bool, error) {
	h := http.Header{}
	h.Set("X-Amz-Acl", "authenticated-read")
	if _, err := a.Put(ctx, a.Bucket, name, []byte("probe"), h); err != nil {
		return false, unlessRefused(err)
	}
	resp, err := a.Send(ctx, upstream.Request{Method: http.MethodGet, Bucket: a.Bucket, Key: name, Query: url.Values{"acl": {""}}})
	if upstream.LacksSubresource(err) {
		return true, nil
	}
	if err != nil {
		return false, unlessRefused(err)
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := upstream.ReadDocument(resp.Body)
	if err == nil && !s3.HasRoot(doc, "AccessControlPolicy") {
		err = fmt.Errorf("%w: the ACL of a probe", s3.ErrDocument)
	}
	return err == nil && !strings.Contains(string(doc), "AuthenticatedUsers"), err
}
