package kms

import (
	"context"
	"net/http"
	"strings"
)

const (
	// maxListed bounds the names that List returns.
	maxListed = 100_000
	// maxListCalls bounds the requests of one List. Names spread over all
	// characters need about 64 for each page.
	maxListCalls = 20_000
	// nameAlphabet is what names are made of, in ASCII order, which is the
	// order KES sorts names in.
	nameAlphabet = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
)

// listing collects the names of one List.
//
// KES answers with the first 1024 names at most, and with the name after them.
// It has no way to go on from there: what it takes is a prefix, and the next
// name used as one, as its own tools do, lists that name alone. So the names
// under a prefix that has more than a page are listed by the prefixes that are
// one character longer.
type listing struct {
	pool   *pool
	prefix string // what the names asked for begin with
	names  map[string]struct{}
	calls  int
}

// listable returns the longest start of prefix that KES lists names by: it
// refuses a hyphen at the end and a lone underscore.
func listable(prefix string) string {
	if prefix = strings.TrimRight(prefix, "-"); prefix == "_" {
		return ""
	}
	return prefix
}

// visit collects the names that begin with q, which is listable.
func (l *listing) visit(ctx context.Context, q string) error {
	page, err := l.fetch(ctx, q)
	if err != nil {
		return err
	}
	for _, name := range page.Names {
		if strings.HasPrefix(name, l.prefix) {
			l.names[name] = struct{}{}
		}
	}
	if len(l.names) > maxListed {
		return badAnswer("more than %d keys", maxListed)
	}
	if page.ContinueAt == "" {
		return nil
	}
	if len(page.ContinueAt) <= len(q) || !strings.HasPrefix(page.ContinueAt, q) {
		return badAnswer("a listing goes on outside its prefix")
	}
	return l.descend(ctx, q, page.ContinueAt)
}

// descend collects the names that begin with q and do not sort before next,
// which begins with q and is longer.
func (l *listing) descend(ctx context.Context, q, next string) error {
	if len(q) >= MaxKeyNameLen {
		return nil
	}
	at := strings.IndexByte(nameAlphabet, next[len(q)])
	for i := max(at, 0); i < len(nameAlphabet); i++ {
		child := q + nameAlphabet[i:i+1]
		if !strings.HasPrefix(child, l.prefix) && !strings.HasPrefix(l.prefix, child) {
			continue
		}
		var err error
		switch {
		case listable(child) == child:
			err = l.visit(ctx, child)
		case i == at && len(next) > len(child):
			err = l.descend(ctx, child, next)
		case child == "_":
			// All names that begin with an underscore. Those with a hyphen
			// next, which nothing lists but a lone underscore would, are not
			// found in a store of more than a page.
			err = l.descend(ctx, child, "_0")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *listing) fetch(ctx context.Context, q string) (listResponse, error) {
	var r listResponse
	if l.calls++; l.calls > maxListCalls {
		return r, badAnswer("a listing does not end after %d requests", maxListCalls)
	}
	ans, err := l.pool.do(ctx, call{op: opList, method: http.MethodGet, path: pathList + q})
	if err != nil {
		return r, err
	}
	return r, ans.decode(&r)
}
