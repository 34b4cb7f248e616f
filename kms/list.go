package kms

import (
	"context"
	"net/http"
	"strings"
)

const (
	// maxListed limits the number of names that List returns.
	maxListed = 100_000
	// maxListCalls limits the number of requests of one List. Names that use
	// all characters evenly need about 64 for each page.
	maxListCalls = 20_000
	// nameAlphabet holds the characters of key names in ASCII order, which is
	// the order KES sorts names in.
	nameAlphabet = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
)

// listing collects the names for one List.
//
// KES returns at most the first 1024 names, and the name after them. It offers
// no way to continue from there: it accepts only a prefix, and using the next
// name as a prefix, as KES's own tools do, lists just that name. So if a prefix
// has more names than one page, listing lists all prefixes that are one
// character longer.
type listing struct {
	pool   *pool
	prefix string // of the names to collect
	names  map[string]struct{}
	calls  int
}

// listable returns the longest start of prefix that KES accepts as a prefix:
// KES rejects a trailing hyphen and a lone underscore.
func listable(prefix string) string {
	if prefix = strings.TrimRight(prefix, "-"); prefix == "_" {
		return ""
	}
	return prefix
}

// visit collects the names that begin with q, which must be listable.
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
		return badAnswer("listing continues outside its prefix")
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
			// All names that begin with an underscore. Names that begin with
			// "_-" would need a listing of the lone underscore. They are not
			// found if there is more than one page of names.
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
		return r, badAnswer("listing does not end after %d requests", maxListCalls)
	}
	ans, err := l.pool.do(ctx, call{op: opList, method: http.MethodGet, path: pathList + q})
	if err != nil {
		return r, err
	}
	return r, ans.decode(&r)
}
