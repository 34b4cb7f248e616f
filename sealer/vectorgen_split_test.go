package sealer

import (
	"maps"
	"strings"
)

// splits are headers in several values (section 3.2).
func (g *generator) splits() {
	p := params(100)
	p.Facts.Checksums = []Checksum{digest(ChecksumSHA256)}
	o := seal(g.t, p, AES256GCM)
	encoded := o.header.Encode()
	split := func(limit int) map[string]string {
		values, err := HeaderValues(encoded, limit)
		if err != nil {
			g.t.Fatal(err)
		}
		return values
	}
	good := func(name, comment string, metadata map[string]string) {
		v := o.vector()
		v.Header, v.Metadata = "", metadata
		g.add(name, "ok", "", comment, v)
	}
	good("ok-split-two", "a header in two values", split(256))
	good("ok-split-most", "a header in sixteen values", split((len(encoded)+15)/16+5))
	good("ok-split-last-short", "a last piece of one character", split(len(encoded)-1+5))
	good("ok-split-whole", "metadata with the name of a piece next to a whole header is the client's", map[string]string{MetadataKey: encoded, HeaderName(2): "mine"})

	bad := func(name, expect, step, comment string, edit func(map[string]string)) {
		v := o.failing()
		v.Header, v.Metadata = "", maps.Clone(split(200))
		edit(v.Metadata)
		g.add(name, expect, step, comment, v)
	}
	first := func(from, to string) func(map[string]string) {
		return func(m map[string]string) { m[MetadataKey] = strings.Replace(m[MetadataKey], from, to, 1) }
	}
	malformed := func(name, comment string, edit func(map[string]string)) {
		bad("split-"+name, "malformed", "parse", comment, edit)
	}
	malformed("version-1", "layout version 1", first("2.", "1."))
	malformed("version-3", "layout version 3", first("2.", "3."))
	malformed("version-missing", "no layout version", first("2.", ""))
	malformed("number-1", "a split header in one value", func(m map[string]string) {
		clear(m)
		m[MetadataKey] = "2.1." + encoded
	})
	malformed("number-17", "seventeen values", func(m map[string]string) {
		clear(m)
		size := (len(encoded) + 16) / 17
		for i := range 17 {
			m[HeaderName(i+1)] = encoded[i*size : min((i+1)*size, len(encoded))]
		}
		m[MetadataKey] = "2.17." + m[MetadataKey]
	})
	malformed("number-zero", "a leading zero", first("2.3.", "2.03."))
	malformed("number-sign", "a sign", first("2.3.", "2.+3."))
	malformed("number-missing", "no number of values", first("2.3.", "2.."))
	malformed("number-less", "one value fewer than there are: the header is cut", first("2.3.", "2.2."))
	malformed("number-more", "one value more than there are", first("2.3.", "2.4."))
	malformed("first-empty", "an empty first piece", func(m map[string]string) { m[MetadataKey] = "2.3." })
	malformed("first-only", "nothing but the first value", func(m map[string]string) {
		delete(m, HeaderName(2))
		delete(m, HeaderName(3))
	})
	malformed("middle-missing", "no second value", func(m map[string]string) { delete(m, HeaderName(2)) })
	malformed("last-missing", "no last value", func(m map[string]string) { delete(m, HeaderName(3)) })
	malformed("last-empty", "an empty last piece", func(m map[string]string) {
		m[MetadataKey], m[HeaderName(2)], m[HeaderName(3)] = "2.3."+encoded[:len(encoded)/2], encoded[len(encoded)/2:], ""
	})
	malformed("uneven", "a second piece that is shorter than the first", func(m map[string]string) {
		m[HeaderName(2)], m[HeaderName(3)] = m[HeaderName(2)][:100], m[HeaderName(2)][100:]+m[HeaderName(3)]
	})
	malformed("last-long", "a last piece that is longer than the others", func(m map[string]string) {
		m[MetadataKey], m[HeaderName(2)], m[HeaderName(3)] = "2.3."+encoded[:9], encoded[9:18], encoded[18:]
	})
	malformed("dot", "a dot in a piece", func(m map[string]string) { m[HeaderName(2)] = "." + m[HeaderName(2)][1:] })
	malformed("two-headers", "another first value as the second", func(m map[string]string) { m[HeaderName(2)] = m[MetadataKey] })
	bad("split-without-first", "not sealed", "parse", "pieces without the first value", func(m map[string]string) { delete(m, MetadataKey) })

	p = params(100)
	p.Facts.Checksums = []Checksum{digest(ChecksumSHA256)}
	other := seal(g.t, p, AES256GCM)
	values, _ := HeaderValues(other.header.Encode(), 200)
	bad("split-last-of-other", "not authentic", "facts", "the last piece of another object", func(m map[string]string) { m[HeaderName(3)] = values[HeaderName(3)] })
	bad("split-middle-of-other", "not authentic", "open", "the second piece of another object", func(m map[string]string) { m[HeaderName(2)] = values[HeaderName(2)] })
	bad("split-of-other", "wrong key", "open", "the header of another object", func(m map[string]string) { maps.Copy(m, values) })
}
