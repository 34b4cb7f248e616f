package object

import (
	"maps"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"ssegw/proxy/field"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Storable rewrites the headers that are stored with a sealed object in the
// form in which the store keeps them. Each has one line, and user metadata that
// is not ASCII is in encoded words at every store. Names of user metadata have
// hyphens where the store puts them. A header that the store would change in
// another way on an object of that key is an S3 error.
func Storable(altered upstream.Alterations, header http.Header, key string) error {
	if altered.DirMeta && strings.HasSuffix(key, "/") {
		return s3.ErrArgument("key", key, doesNotKeep+"the metadata of directories, which are objects whose keys end in a slash.")
	}
	for _, part := range altered.Keys {
		if strings.Contains(key, part) {
			return s3.ErrArgument("key", key, doesNotKeep+"keys with "+part+".")
		}
	}
	if err := hyphenate(altered.Hyphens, header); err != nil {
		return err
	}
	for name, values := range header {
		lower := field.Lower(name)
		if !s3.IsStored(lower) {
			continue
		}
		v := strings.Trim(strings.Join(values, ","), " \t")
		if !utf8.ValidString(v) {
			return s3.ErrArgument(lower, v, "The header "+lower+" must be in UTF-8.")
		}
		if altered.Dirs && v != "" && strings.HasSuffix(key, "/") && !strings.HasPrefix(lower, s3.MetaPrefix) && sealer.InContent(lower, key, 0) {
			return s3.ErrArgument(lower, v, doesNotKeep+"content headers of directories.")
		}
		kept, err := keep(&altered, lower, v)
		if err != nil {
			return err
		}
		header.Set(name, kept)
	}
	return nil
}

// hyphenate replaces signs by hyphens in the names of user metadata, as the
// store does. Two names that become the same are an S3 error, and so is the
// name of a piece of a sealed header.
func hyphenate(signs string, header http.Header) error {
	renamed := http.Header{}
	for name, values := range header {
		lower := field.Lower(name)
		if !strings.HasPrefix(lower, s3.MetaPrefix) || !strings.ContainsAny(lower, signs) {
			continue
		}
		kept := http.CanonicalHeaderKey(strings.Map(func(char rune) rune {
			if strings.ContainsRune(signs, char) {
				return '-'
			}
			return char
		}, lower))
		switch {
		case sealer.IsPieceName(strings.ToLower(kept)):
			return errReserved(lower)
		case header.Values(kept) != nil || renamed.Values(kept) != nil:
			return s3.ErrArgument(lower, strings.Join(values, ","), doesNotKeep+lower+" apart from "+strings.ToLower(kept)+".")
		}
		renamed[kept] = values
		delete(header, name)
	}
	maps.Copy(header, renamed)
	return nil
}

const doesNotKeep = "The object store behind the gateway does not keep "

// keep returns a header's value as the store keeps it.
func keep(a *upstream.Alterations, name, v string) (string, error) {
	meta, isMeta := strings.CutPrefix(name, s3.MetaPrefix)
	switch {
	case isMeta && strings.ContainsAny(meta, a.Names):
		return "", s3.ErrArgument(name, v, doesNotKeep+"names of metadata with "+a.Names+".")
	case isMeta && a.Meta && sealer.RewrittenValue(name, v) != v:
		return "", s3.ErrArgument(name, v, doesNotKeep+"user metadata that is not ASCII.")
	case isMeta && (a.Words || !s3.IsASCII(v)):
		return sealer.RewrittenValue(name, v), nil
	case isMeta || v == "":
	case a.Content && !s3.IsASCII(v):
		return "", s3.ErrArgument(name, v, doesNotKeep+"values of "+name+" that are not ASCII.")
	case a.Expires && name == "expires":
		date, err := http.ParseTime(v)
		if err != nil {
			return "", s3.ErrArgument(name, v, doesNotKeep+"an Expires that is no date, such as "+time.Unix(0, 0).UTC().Format(http.TimeFormat)+".")
		}
		return date.UTC().Format(http.TimeFormat), nil
	}
	return v, nil
}
