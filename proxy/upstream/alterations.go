package upstream

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"

	"ssegw/proxy/s3"
)

// Alterations describes which headers of an object a store does not keep as
// sent. A sealed object whose headers change cannot be read. So the gateway
// makes a change itself before it seals, if the meaning stays the same, and
// refuses the write otherwise.
type Alterations struct {
	Names   string // characters that it changes in names of user metadata
	Expires bool   // it keeps Expires only as a date in the form of RFC 9110
	Words   bool   // it decodes or rewrites encoded words in user metadata
	Meta    bool   // it changes the text that encoded words in user metadata stand for
	Content bool   // it changes content headers that are not ASCII
	Dirs    bool   // it drops content headers of directories: objects whose keys end in a slash
}

// List describes the alterations for which writes are refused, one per element.
// Words is not one of them.
func (a *Alterations) List() (list []string) {
	if a == nil {
		return nil
	}
	if a.Names != "" {
		list = append(list, "names of metadata with "+strings.Join(strings.Split(a.Names, ""), " "))
	}
	if a.Meta {
		list = append(list, "user metadata that is not ASCII")
	}
	if a.Expires {
		list = append(list, "an Expires that is not a date")
	}
	if a.Content {
		list = append(list, "content headers that are not ASCII")
	}
	if a.Dirs {
		list = append(list, "content headers of directories")
	}
	return list
}

const (
	probedNames = "_.!#$%&'*+^`|~" // all that RFC 9110 allows in names, except letters, digits and hyphens
	commonNames = "_."             // probed if the store refuses the others
	probeText   = `inline; filename="ü"`
	probeWords  = "=?utf-8?Q?gr=C3=BC=C3=9fe_?=" // RFC 2047, in a form that the gateway does not write
	probeMeta   = s3.MetaPrefix + "probe-text"
	probeDate   = "0" // some servers send it for "expired"
)

// allAlterations is assumed of a store that refuses the probes.
var allAlterations = Alterations{Names: probedNames, Expires: true, Words: true, Meta: true, Content: true, Dirs: true}

// ProbeHeaders finds out what the store alters, with objects that it writes to
// bucket and removes. A store that refuses the probes is assumed to alter
// everything in [Alterations].
func (c Client) ProbeHeaders(ctx context.Context, bucket string) error {
	for _, chars := range [...]string{probedNames, commonNames} {
		found, err := c.alters(ctx, bucket, chars)
		if AnswerOf(err) != nil {
			continue
		}
		if err == nil {
			found.Dirs, err = c.altersDirectories(ctx, bucket)
			c.store.altered.Store(found)
		}
		return err
	}
	c.store.altered.Store(&allAlterations)
	return nil
}

// altersDirectories reports whether the store drops the content headers of a
// directory.
func (c Client) altersDirectories(ctx context.Context, bucket string) (altered bool, err error) {
	err = c.Probing(ctx, bucket, "/", func(name string) error {
		h := http.Header{}
		h.Set("Cache-Control", "no-cache")
		stored, err := c.probed(ctx, bucket, name, nil, h)
		if err == nil {
			altered = stored.Get("Cache-Control") != "no-cache"
		}
		return err
	})
	if AnswerOf(err) != nil {
		return false, nil // it refuses the directories of clients, too
	}
	return altered, err
}

// probed stores a probe and returns its headers as the store keeps them.
func (c Client) probed(ctx context.Context, bucket, name string, b []byte, h http.Header) (http.Header, error) {
	if _, err := c.Put(ctx, bucket, name, b, h); err != nil {
		return nil, err
	}
	resp, err := c.Send(ctx, Request{Method: http.MethodHead, Bucket: bucket, Key: name})
	if err != nil {
		return nil, err
	}
	Discard(resp)
	return resp.Header, nil
}

// alters finds all alterations except Dirs. It tries names of metadata that
// contain one of chars.
func (c Client) alters(ctx context.Context, bucket, chars string) (found *Alterations, err error) {
	err = c.Probing(ctx, bucket, "", func(name string) error {
		h := http.Header{}
		h.Set("Content-Disposition", probeText)
		h.Set("Expires", probeDate)
		h.Set(probeMeta, probeWords)
		for _, char := range chars {
			h.Set(probeName(char), "probe")
		}
		stored, err := c.probed(ctx, bucket, name, []byte("probe"), h)
		if err != nil {
			return err
		}
		found = &Alterations{
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

// Alterations returns what ProbeHeaders found. Before the first probe that is
// nothing.
func (s *Store) Alterations() Alterations {
	if found := s.altered.Load(); found != nil {
		return *found
	}
	return Alterations{}
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
