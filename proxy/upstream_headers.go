package proxy

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"ssegw/proxy/s3"
)

// alterations are the headers of an object that a store does not keep as it is told. What it
// would change, the gateway changes itself where the meaning stays, and refuses
// otherwise, before anything is written: a sealed object with such headers could not be read.
type alterations struct {
	names   string // characters that it changes in names of user metadata
	expires bool   // it keeps Expires only as a date in the form of RFC 9110
	words   bool   // it writes encoded words in user metadata in another way, or decodes them
	meta    bool   // it changes what they say
	content bool   // it changes content headers that are not ASCII
	dirs    bool   // it drops content headers of directories: objects whose keys end in a slash
}

// list describes what a store alters.
func (a *alterations) list() (list []string) {
	if a == nil {
		return nil
	}
	if a.names != "" {
		list = append(list, "names of metadata with "+strings.Join(strings.Split(a.names, ""), " "))
	}
	if a.meta {
		list = append(list, "user metadata that is not ASCII")
	}
	if a.expires {
		list = append(list, "an Expires that is no date")
	}
	if a.content {
		list = append(list, "content headers that are not ASCII")
	}
	if a.dirs {
		list = append(list, "content headers of directories")
	}
	return list
}

const (
	probedNames = "_.!#$%&'*+^`|~" // what a name can have beside letters, digits and hyphens
	commonNames = "_."
	probeText   = `inline; filename="ü"`
	probeWords  = "=?utf-8?Q?gr=C3=BC=C3=9fe_?=" // as the gateway itself does not write it
	probeMeta   = metaPrefix + "probe-text"
	probeDate   = "0" // which some servers send, for "expired"
)

// unknownStore is what a store that takes no probe is assumed to alter.
var unknownStore = alterations{names: probedNames, expires: true, words: true, meta: true, content: true, dirs: true}

// probeHeaders finds what the upstream alters. Of one that takes no probe nothing is
// known: it is assumed to alter all that stores do.
func (u *Upstream) probeHeaders(ctx context.Context, bucket string) error {
	for _, chars := range [...]string{probedNames, commonNames} {
		found, err := u.alters(ctx, bucket, chars)
		var answered *upstreamError
		if errors.As(err, &answered) {
			continue
		}
		if err == nil {
			found.dirs, err = u.altersDirectories(ctx, bucket)
			u.altered.Store(found)
		}
		return err
	}
	u.altered.Store(&unknownStore)
	return nil
}

// altersDirectories stores a probe that is a directory.
func (u *Upstream) altersDirectories(ctx context.Context, bucket string) (altered bool, err error) {
	var answered *upstreamError
	err = u.probing(ctx, bucket, "/", func(name string) error {
		h := http.Header{}
		h.Set("Cache-Control", "no-cache")
		stored, err := u.probed(ctx, bucket, name, nil, h)
		if err == nil {
			altered = stored.Get("Cache-Control") != "no-cache"
		}
		return err
	})
	if errors.As(err, &answered) {
		return false, nil // it refuses those of clients, too
	}
	return altered, err
}

// probed stores a probe and returns its headers as the store has them.
func (u *Upstream) probed(ctx context.Context, bucket, name string, b []byte, h http.Header) (http.Header, error) {
	if _, err := u.putSmall(ctx, bucket, name, b, h); err != nil {
		return nil, err
	}
	resp, err := u.expect(ctx, outgoing{method: http.MethodHead, bucket: bucket, key: name})
	if err != nil {
		return nil, err
	}
	discard(resp)
	return resp.Header, nil
}

// alters stores a probe whose metadata has names with each of the characters.
func (u *Upstream) alters(ctx context.Context, bucket, chars string) (found *alterations, err error) {
	err = u.probing(ctx, bucket, "", func(name string) error {
		h := http.Header{}
		h.Set("Content-Disposition", probeText)
		h.Set("Expires", probeDate)
		h.Set(probeMeta, probeWords)
		for _, c := range chars {
			h.Set(probeName(c), "probe")
		}
		stored, err := u.probed(ctx, bucket, name, []byte("probe"), h)
		if err != nil {
			return err
		}
		found = &alterations{
			expires: stored.Get("Expires") != probeDate,
			words:   stored.Get(probeMeta) != probeWords,
			meta:    rewrittenValue(probeMeta, stored.Get(probeMeta)) != rewrittenValue(probeMeta, probeWords),
			content: rewrittenValue("content-disposition", stored.Get("Content-Disposition")) != probeText,
		}
		for _, c := range chars {
			if stored.Get(probeName(c)) != "probe" {
				found.names += string(c)
			}
		}
		return nil
	})
	return found, err
}

func probeName(c rune) string {
	return metaPrefix + "probe-" + hex.EncodeToString([]byte(string(c))) + string(c) + "x"
}

// storable puts the headers that are kept with a sealed object into the form in which the
// store keeps them: one line each, and metadata outside ASCII in encoded words, at every
// store. It refuses those that the store would change with an object of that key.
func (u *Upstream) storable(header http.Header, key string) error {
	var altered alterations
	if found := u.altered.Load(); found != nil {
		altered = *found
	}
	for name, values := range header {
		lower := strings.ToLower(name)
		if !isStored(lower) {
			continue
		}
		v := strings.Trim(strings.Join(values, ","), " \t")
		if !utf8.ValidString(v) {
			return s3.ErrArgument(lower, v, "The header "+lower+" must be in UTF-8.")
		}
		if altered.dirs && v != "" && strings.HasSuffix(key, "/") && !strings.HasPrefix(lower, metaPrefix) && !isUncovered(lower, key, 0) {
			return s3.ErrArgument(lower, v, doesNotKeep+"content headers of directories.")
		}
		kept, err := altered.keep(lower, v)
		if err != nil {
			return err
		}
		header.Set(name, kept)
	}
	return nil
}

const doesNotKeep = "The object store behind the gateway does not keep "

// keep returns a header's value as the store keeps it.
func (a alterations) keep(name, v string) (string, error) {
	meta, isMeta := strings.CutPrefix(name, metaPrefix)
	switch {
	case isMeta && strings.ContainsAny(meta, a.names):
		return "", s3.ErrArgument(name, v, doesNotKeep+"names of metadata with "+a.names+".")
	case isMeta && a.meta && rewrittenValue(name, v) != v:
		return "", s3.ErrArgument(name, v, doesNotKeep+"user metadata that is not ASCII.")
	case isMeta && (a.words || !isASCII(v)):
		return rewrittenValue(name, v), nil
	case isMeta || v == "":
	case a.content && !isASCII(v):
		return "", s3.ErrArgument(name, v, doesNotKeep+"values of "+name+" that are not ASCII.")
	case a.expires && name == "expires":
		date, err := http.ParseTime(v)
		if err != nil {
			return "", s3.ErrArgument(name, v, doesNotKeep+"an Expires that is no date, such as "+time.Unix(0, 0).UTC().Format(http.TimeFormat)+".")
		}
		return date.UTC().Format(http.TimeFormat), nil
	}
	return v, nil
}
