package s3

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// visited is an element as walk reports it.
type visited struct {
	Depth          int
	Name           string
	Start, End     int // including the tags
	Inside, Before int // without the tags
}

func scan(doc []byte) (seen []visited, err error) {
	err = walk(doc, maxListingDepth, func(depth int, e element) error {
		seen = append(seen, visited{depth, e.name, e.whole.start, e.whole.end, e.inner.start, e.inner.end})
		return nil
	})
	return seen, err
}

// decode does the same as walk, with encoding/xml.
func decode(doc []byte) (seen []visited, err error) {
	d := xml.NewDecoder(bytes.NewReader(maskControls(doc)))
	var open []visited
	for {
		start := int(d.InputOffset())
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return seen, nil
		}
		if err != nil {
			return nil, err
		}
		end := int(d.InputOffset())
		switch t := tok.(type) {
		case xml.StartElement:
			open = append(open, visited{Name: t.Name.Local, Start: start, Inside: end})
		case xml.EndElement:
			e := open[len(open)-1]
			open = open[:len(open)-1]
			e.Depth, e.Before, e.End = len(open), start, end
			seen = append(seen, e)
		}
	}
}

// FuzzScan checks that encoding/xml accepts what the scanner accepts, and finds
// the same elements.
func FuzzScan(f *testing.F) {
	for _, name := range []string{"list_v2.xml", "list_metadata.xml", "list_versions.xml", "list_parts.xml", "buckets.xml"} {
		f.Add(sample(f, name))
	}
	for _, doc := range scanned {
		f.Add([]byte(doc))
	}
	for _, doc := range refused {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := scan(doc)
		if err != nil {
			if !errors.Is(err, ErrDocument) {
				t.Fatal(err)
			}
			return
		}
		want, err := decode(doc)
		if err != nil {
			t.Fatalf("taken, but %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// scanned are documents with constructs that stores rarely send.
var scanned = []string{
	"<a/>", " \r\n<a\t/>\n", "\xef\xbb\xbf<a></a >", "<a b='>' c = \"/>\"/>", "<x:a xmlns:x='u'><x:b/></x:a>",
	"<?xml version='1.0' encoding='utf-8' standalone=\"yes\" ?><!-- a - b --><a/><!----><?pi x?>",
	"<a><![CDATA[<b>]] >]]></a>", "<a><!-- <b> --><b/></a>", "<a>&lt;&#65;&#x41;&amp;</a>", "<a b='&quot;&#9;'/>",
	"<a>ü\x01&#x1;\xff</a>", "<a-1.b_C/>", "<a>]] ></a>",
}

// refused are texts that are not XML documents, or use constructs that the
// scanner does not accept.
var refused = []string{
	"<a/><?A\xe3\x90\x9a?>", "<\x01a?><a/>",
	"<a>&&amp;</a>",
	"", " ", "x", "<", "<a", "<a>", "</a>", "<a></b>", "<a></a", "<a/></a>", "<a/><a/>", "<a/>x", "x<a/>", "<a>&</a>", "<a>&x;</a>",
	"<a>&#;</a>", "<a>&#xg;</a>", "<a>&amp</a>", "<a>]]></a>", "<a b/>", "<a b=c/>", "<a b='<'/>", "<a b='&x;'/>", "<a b='c'd='e'/>", "<a ='b'/>",
	"<a b='c/>", "<a/ >", "<1/>", "<a:b:c/>", "<:a/>", "<a:/>", "< a/>", "<a><!-- a -- b --></a>", "<a><!-- --->/a>", "<a><!--></a>",
	"<![CDATA[x]]><a/>", "<!DOCTYPE a><a/>", "<a><!ENTITY x></a>", "<a><?xml version='1.0'?></a>", " <?xml version='1.0'?><a/>",
	"<?xml version='1.1'?><a/>", "<?xml version='1.0' encoding='latin1'?><a/>", "<?XML version='1.0'?><a/>", "<??><a/>", "<?pi", "<a><![CDATA[x]]</a>",
	"<a\x01/>", "<\xc3\xbc/>", "<x:a></a>",
}

func TestScan(t *testing.T) {
	t.Parallel()
	for _, doc := range scanned {
		if _, err := scan([]byte(doc)); err != nil {
			t.Errorf("%q: %v", doc, err)
		}
	}
	for _, doc := range refused {
		if seen, err := scan([]byte(doc)); !errors.Is(err, ErrDocument) {
			t.Errorf("%q: %v, %v", doc, seen, err)
		}
	}
}
