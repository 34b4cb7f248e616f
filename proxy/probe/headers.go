package probe

import (
	"context"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

const (
	probedNames = "_.!#$%&'*+^`|~" // all that RFC 9110 allows in names, except letters, digits and hyphens
	probeText   = `inline; filename="ü"`
	probeWords  = "=?utf-8?Q?gr=C3=BC=C3=9fe_?=" // RFC 2047, in a form that the gateway does not write
	probeMeta   = s3.MetaPrefix + "probe-text"
	probeDate   = "0" // some servers send it for "expired"
)

// oddKeys are the parts of keys that are probed.
var oddKeys = []string{"//", `\`}

// allAlterations is assumed of a store that fails the probes.
var allAlterations = upstream.Alterations{Names: probedNames, Expires: true, Words: true, Meta: true, Content: true, Dirs: true, DirMeta: true, Keys: oddKeys}

// Headers finds out which headers and keys the store alters. It takes a header
// that the store refuses for one that it alters.
func (c Prober) Headers(ctx context.Context) error {
	c.Store().Learn(func(c *upstream.Capabilities) { c.Altered = allAlterations }) // until more is known
	found, err := c.alterations(ctx)
	if err == nil {
		c.Store().Learn(func(c *upstream.Capabilities) { c.Altered = found })
	}
	return err
}

// alterations returns which headers and keys the store alters in a PutObject.
func (c Prober) alterations(ctx context.Context) (found upstream.Alterations, err error) {
	stored, err := c.stored(ctx, c.keep, probedHeaders())
	if err != nil {
		return found, err
	}
	found = alterationsOf(stored)
	if err := c.directories(ctx, &found); err != nil {
		return found, err
	}
	for _, part := range oddKeys {
		kept, err := c.keepsKey(ctx, part)
		if err != nil {
			return found, err
		}
		if !kept {
			found.Keys = append(found.Keys, part)
		}
	}
	return found, nil
}

// UploadHeaders finds out which headers the store alters only in multipart
// uploads. Call it after Headers. A sealed object can become an upload when it
// is copied, so what it finds holds for all writes.
func (c Prober) UploadHeaders(ctx context.Context) error {
	inPuts := c.Store().Capabilities().Altered
	c.Store().Learn(func(c *upstream.Capabilities) { c.Altered = inPuts.And(allAlterations) }) // until more is known
	found, err := c.uploadAlterations(ctx)
	if err == nil {
		c.Store().Learn(func(c *upstream.Capabilities) { c.Altered = both(inPuts, found) })
	}
	return err
}

// both returns what the store alters in any write. inUploads is nil if it has
// no uploads.
func both(inPuts upstream.Alterations, inUploads *upstream.Alterations) upstream.Alterations {
	if inUploads == nil {
		return inPuts
	}
	return inPuts.And(*inUploads)
}

// uploadAlterations returns which headers the store alters in uploads; nil if
// it has no uploads.
func (c Prober) uploadAlterations(ctx context.Context) (*upstream.Alterations, error) {
	stored, err := c.keepUploaded(ctx, "", nil, probedHeaders())
	if stored == nil && err == nil { // it refuses the headers, or has no uploads
		var kept http.Header
		if kept, err = c.keepUploaded(ctx, "", nil, http.Header{}); kept != nil {
			stored, err = c.stored(ctx, c.keepUploaded, probedHeaders())
		}
	}
	if err != nil || stored == nil {
		return nil, unlessOdd(err)
	}
	found := alterationsOf(stored)
	return &found, nil
}

// probedHeaders returns the headers that stores are known to alter.
func probedHeaders() http.Header {
	sent := http.Header{}
	sent.Set("Content-Disposition", probeText)
	sent.Set("Expires", probeDate)
	sent.Set(probeMeta, probeWords)
	for _, char := range probedNames {
		sent.Set(probeName(char), "probe")
	}
	return sent
}

// alterationsOf returns how probedHeaders differ from what the store kept.
func alterationsOf(stored http.Header) upstream.Alterations {
	found := upstream.Alterations{
		Expires: stored.Get("Expires") != probeDate,
		Words:   stored.Get(probeMeta) != probeWords,
		Meta:    decoded(stored.Get(probeMeta)) != decoded(probeWords),
		Content: decoded(stored.Get("Content-Disposition")) != probeText,
	}
	for _, char := range probedNames {
		switch name := probeName(char); "probe" {
		case stored.Get(name):
		case stored.Get(strings.ReplaceAll(name, string(char), "-")):
			found.Hyphens += string(char)
		default:
			found.Names += string(char)
		}
	}
	return found
}

// A keeper is one way to store a probe: see keep.
type keeper func(ctx context.Context, suffix string, b []byte, h http.Header) (stored http.Header, err error)

// stored stores a probe with headers, and returns them as the store keeps them.
// If the store refuses them together, it tries each half of them, and leaves
// out the single ones that the store refuses.
func (c Prober) stored(ctx context.Context, keep keeper, sent http.Header) (http.Header, error) {
	stored, err := keep(ctx, "", []byte("probe"), sent)
	if stored != nil || err != nil {
		return stored, err
	}
	all, names := http.Header{}, slices.Sorted(maps.Keys(sent))
	if len(names) < 2 {
		return all, nil
	}
	for half := range slices.Chunk(names, (len(names)+1)/2) {
		some := http.Header{}
		for _, name := range half {
			some[name] = sent[name]
		}
		stored, err := c.stored(ctx, keep, some)
		if err != nil {
			return nil, err
		}
		for _, name := range half {
			if v := stored.Get(name); v != "" {
				all.Set(name, v)
			}
		}
	}
	return all, nil
}

// keep stores a probe whose name ends in suffix. It returns the probe's headers
// as the store keeps them, nil if the store refuses them.
func (c Prober) keep(ctx context.Context, suffix string, b []byte, h http.Header) (stored http.Header, err error) {
	err = c.With(ctx, suffix, func(name string) (err error) {
		if _, err := c.Put(ctx, c.Bucket, name, b, h.Clone()); err != nil {
			return unlessRefused(err)
		}
		stored, err = c.kept(ctx, name)
		return err
	})
	return stored, err
}

// keepUploaded is keep with an upload. It ignores the bytes.
func (c Prober) keepUploaded(ctx context.Context, suffix string, _ []byte, h http.Header) (stored http.Header, err error) {
	err = c.With(ctx, suffix, func(name string) (err error) {
		up, parts, err := c.upload(ctx, name, h.Clone())
		if err != nil {
			return unlessRefused(err)
		}
		if _, _, err = c.CompleteUpload(ctx, up, parts, http.Header{}); err != nil {
			c.dropUpload(ctx, up)
			return unlessRefused(err)
		}
		stored, err = c.kept(ctx, name)
		return err
	})
	return stored, err
}

// kept returns the headers of a probe. They are empty if the store took the
// probe and keeps nothing of it.
func (c Prober) kept(ctx context.Context, name string) (http.Header, error) {
	stored, err := c.Head(ctx, c.Bucket, name)
	if err != nil && unlessRefused(err) == nil {
		return http.Header{}, nil
	}
	return stored, err
}

// directories finds out what the store drops of a directory.
func (c Prober) directories(ctx context.Context, found *upstream.Alterations) error {
	h := http.Header{}
	h.Set("Cache-Control", "no-cache")
	h.Set(probeMeta, "probe")
	stored, err := c.keep(ctx, "/", nil, h)
	if stored != nil { // otherwise it refuses the directories of clients, too
		found.Dirs = stored.Get("Cache-Control") != "no-cache"
		found.DirMeta = stored.Get(probeMeta) != "probe"
	}
	return err
}

// keepsKey reports whether the store keeps a key that contains part, or refuses
// it. A store on a file system may clean it like a path.
func (c Prober) keepsKey(ctx context.Context, part string) (kept bool, err error) {
	err = c.With(ctx, part+"x", func(name string) error {
		if _, err := c.Put(ctx, c.Bucket, name, nil, http.Header{}); err != nil {
			kept = true
			return unlessRefused(err)
		}
		_, err := c.Head(ctx, c.Bucket, strings.ReplaceAll(name, part, "/"))
		kept = err != nil
		return unlessRefused(err)
	})
	return kept, err
}

// MetaValue finds the longest value of user metadata that the store takes and
// keeps, rounded down to a multiple of 16 bytes. A store without a limit costs
// one value, any other one at least ten. If the store also refuses a short
// value, the length is not the reason, and no limit is known.
func (c Prober) MetaValue(ctx context.Context) error {
	c.Store().Learn(func(found *upstream.Capabilities) { found.MetaValue = leastMetaValue }) // until more is known
	limit := 0
	err := c.With(ctx, "", func(name string) (err error) {
		limit, err = valueProbe{c, name}.longest(ctx)
		return err
	})
	if err != nil {
		return err
	}
	c.Store().Learn(func(found *upstream.Capabilities) { found.MetaValue = limit })
	return nil
}

func probeName(char rune) string {
	return s3.MetaPrefix + "probe-" + hex.EncodeToString([]byte(string(char))) + string(char) + "x"
}

// decoded returns the text of a header's value. It decodes a value that
// consists of encoded words, as readers of sealed objects do (FORMAT.md 6.2).
func decoded(v string) string {
	v = strings.Trim(v, " \t")
	if s3.EncodedWords.MatchString(v) {
		return s3.DecodeWords(v)
	}
	return v
}
