package probe

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

const (
	probedNames = "_.!#$%&'*+^`|~" // all that RFC 9110 allows in names, except letters, digits and hyphens
	commonNames = "_."             // probed if the store refuses the others
	probeText   = `inline; filename="ü"`
	probeWords  = "=?utf-8?Q?gr=C3=BC=C3=9fe_?=" // RFC 2047, in a form that the gateway does not write
	probeMeta   = s3.MetaPrefix + "probe-text"
	probeDate   = "0" // some servers send it for "expired"
)

// allAlterations is assumed of a store that refuses the probes.
var allAlterations = upstream.Alterations{Names: probedNames, Expires: true, Words: true, Meta: true, Content: true, Dirs: true}

// Headers finds out which headers the store alters. A store that refuses the
// probes is assumed to alter everything in [upstream.Alterations].
func (c Prober) Headers(ctx context.Context) error {
	for _, chars := range [...]string{probedNames, commonNames} {
		found, err := c.alters(ctx, chars)
		if err != nil && unlessRefused(err) == nil {
			continue
		}
		if err == nil {
			found.Dirs, err = c.altersDirectories(ctx)
			c.Store().Learn(func(c *upstream.Capabilities) { c.Altered = *found })
		}
		return err
	}
	c.Store().Learn(func(c *upstream.Capabilities) { c.Altered = allAlterations })
	return nil
}

// altersDirectories reports whether the store drops the content headers of a
// directory.
func (c Prober) altersDirectories(ctx context.Context) (altered bool, err error) {
	err = c.With(ctx, "/", func(name string) error {
		h := http.Header{}
		h.Set("Cache-Control", "no-cache")
		stored, err := c.probed(ctx, name, nil, h)
		if err == nil {
			altered = stored.Get("Cache-Control") != "no-cache"
		}
		return err
	})
	if upstream.AnswerOf(err) != nil {
		return false, nil // it refuses the directories of clients, too
	}
	return altered, err
}

// probed stores a probe and returns its headers as the store keeps them.
func (c Prober) probed(ctx context.Context, name string, b []byte, h http.Header) (http.Header, error) {
	if _, err := c.Put(ctx, c.Bucket, name, b, h); err != nil {
		return nil, err
	}
	resp, err := c.Send(ctx, upstream.Request{Method: http.MethodHead, Bucket: c.Bucket, Key: name})
	if err != nil {
		return nil, err
	}
	upstream.Discard(resp)
	return resp.Header, nil
}

// alters finds all alterations except Dirs. It tries names of metadata that
// contain one of chars.
func (c Prober) alters(ctx context.Context, chars string) (found *upstream.Alterations, err error) {
	err = c.With(ctx, "", func(name string) error {
		h := http.Header{}
		h.Set("Content-Disposition", probeText)
		h.Set("Expires", probeDate)
		h.Set(probeMeta, probeWords)
		for _, char := range chars {
			h.Set(probeName(char), "probe")
		}
		stored, err := c.probed(ctx, name, []byte("probe"), h)
		if err != nil {
			return err
		}
		found = &upstream.Alterations{
			Expires: stored.Get("Expires") != probeDate,
			Words:   stored.Get(probeMeta) != probeWords,
			Meta:    decoded(stored.Get(probeMeta)) != decoded(probeWords),
			Content: decoded(stored.Get("Content-Disposition")) != probeText,
		}
		for _, char := range chars {
			if stored.Get(probeName(char)) != "probe" {
				found.Names += string(char)
			}
		}
		return nil
	})
	return found, err
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
