package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/errgroup"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

const (
	maxListing   = 64 << 20 // bytes of one page
	listHeads    = 16       // HEADs under way for one page
	cachedFacts  = 200_000  // entries of the facts cache
	notSealed    = -1       // size of an object that is not sealed
	unknownFacts = -2       // size of a sealed object whose facts do not open
	notSeen      = -3       // size of an object that the store does not let us look at
)

// factsKey names one state of one object: another PUT has another ETag.
type factsKey struct {
	bucket, key, version, etag string
	stored                     int64 // bytes upstream
}

// factsCache remembers the plaintext sizes of objects, which are all that a
// listing needs. It holds no secrets.
type factsCache struct{ sizes *otter.Cache[factsKey, int64] }

func newFactsCache() *factsCache {
	return &factsCache{otter.Must(&otter.Options[factsKey, int64]{MaximumSize: cachedFacts})}
}

func (f *factsCache) add(k factsKey, size int64)   { f.sizes.Set(k, size) }
func (f *factsCache) get(k factsKey) (int64, bool) { return f.sizes.GetIfPresent(k) }

// remember keeps the plaintext size of an object that was just written, under
// the names that listings with and without versions have for it.
func (c *call) remember(answer http.Header, stored, size int64) {
	k := factsKey{c.req.Bucket, c.req.Key, "", strings.Trim(answer.Get("ETag"), `"`), stored}
	c.facts.add(k, size)
	if k.version = answer.Get(s3.HeaderVersionID); k.version != "" {
		c.facts.add(k, size)
	}
}

// listObjects is ListObjects, ListObjectsV2 and ListObjectVersions: the
// upstream's page with sizes and ETags as clients know them. No KMS is asked.
func (c *call) listObjects() error {
	resp, err := c.forwarded()
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := readListing(resp.Body)
	if err != nil {
		return err
	}
	listing, err := s3.ParseListing(doc)
	if err != nil {
		return fmt.Errorf("%w: %w", errUpstream, err)
	}
	sizes, err := c.sizes(listing.Entries)
	if err != nil {
		return err
	}
	page := listing.Splice(func(i int) s3.Edit {
		if sizes[i] == notSealed || sizes[i] == notSeen {
			return s3.Edit{}
		}
		tag := s3.ETagShown(listing.Entries[i].ETag, true)
		edit := s3.Edit{ETag: &tag, Checksums: &s3.Checksums{}}
		if sizes[i] >= 0 {
			edit.Size = &sizes[i]
		}
		return edit
	})
	return c.sendDocument(resp, page)
}

func readListing(r io.Reader) ([]byte, error) {
	doc, err := io.ReadAll(io.LimitReader(r, maxListing+1))
	if err != nil {
		return nil, fmt.Errorf("%w: reading a listing: %w", errUpstream, err)
	}
	if len(doc) > maxListing {
		return nil, fmt.Errorf("%w: a listing of over %d bytes", errUpstream, maxListing)
	}
	return doc, nil
}

// sendDocument answers with a rewritten document.
func (c *call) sendDocument(resp *http.Response, doc []byte) error {
	h := c.w.Header()
	copyAnswer(h, resp.Header, false)
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	c.w.WriteHeader(resp.StatusCode)
	_, err := c.w.Write(doc)
	return err
}

// sizes returns the plaintext size of each entry, or one of the words for none.
// What the cache does not know costs a HEAD.
func (c *call) sizes(entries []s3.Entry) ([]int64, error) {
	sizes := make([]int64, len(entries))
	g, ctx := errgroup.WithContext(c.ctx())
	g.SetLimit(listHeads)
	for i, e := range entries {
		if e.DeleteMarker {
			sizes[i] = notSealed
			continue
		}
		k := factsKey{c.req.Bucket, e.Key, e.VersionID, strings.Trim(e.ETag, `"`), e.Size}
		if size, ok := c.facts.get(k); ok {
			sizes[i] = size
			continue
		}
		g.Go(func() (err error) {
			sizes[i], err = c.sizeOf(ctx, e)
			if err == nil && sizes[i] >= notSealed {
				c.facts.add(k, sizes[i])
			}
			return err
		})
	}
	return sizes, g.Wait()
}

// sizeOf asks the upstream for one entry. An entry that may not be looked at, or
// has gone, is shown as the upstream has it. Only an upstream that fails, where
// the next page may show another size, fails the page.
func (c *call) sizeOf(ctx context.Context, e s3.Entry) (int64, error) {
	query := url.Values{}
	if e.VersionID != "" {
		query.Set("versionId", e.VersionID)
	}
	c.metrics.listHeads.Inc()
	resp, err := c.Upstream.expect(ctx, outgoing{
		method: http.MethodHead, bucket: c.req.Bucket, key: e.Key, query: query, anonymous: c.auth.Anonymous(),
	})
	var refused *upstreamError
	if errors.As(err, &refused) && !errors.Is(err, errUpstream) && refused.status < 500 {
		return notSeen, nil
	}
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	h, err := sealer.ParseHeader(resp.Header.Get(sealer.MetadataKey))
	if errors.Is(err, sealer.ErrNotSealed) {
		return notSealed, nil
	}
	if err == nil {
		_, err = h.OpenFacts(sealer.Binding{Bucket: c.req.Bucket, Key: e.Key}, c.State.Root())
	}
	if err == nil && h.StoredSize(nil) != e.Size {
		err = errMismatch
	}
	if err != nil {
		c.metrics.integrity.WithLabelValues("listing").Inc()
		return unknownFacts, nil
	}
	return h.Size, nil
}

// listBuckets is ListBuckets without the state bucket.
func (c *call) listBuckets() error {
	resp, err := c.forwarded()
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := readListing(resp.Body)
	if err != nil {
		return err
	}
	page, err := s3.RemoveBucket(doc, c.State.Bucket())
	if err != nil {
		return fmt.Errorf("%w: %w", errUpstream, err)
	}
	return c.sendDocument(resp, page)
}
