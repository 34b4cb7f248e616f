package s3

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
)

// RefuseBucket refuses an XML document that names the bucket in an element for
// bucket names, such as the target of logs or inventories. The name can stand
// alone, in an ARN or after a tenant. A document that cannot be parsed is
// refused too, because the store might find the name in it.
func RefuseBucket(doc []byte, bucket string) error {
	type element struct {
		name string
		text []byte
	}
	open := []element{{}}
	for d := xml.NewDecoder(bytes.NewReader(doc)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return ErrMalformedXML.With(err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			open = append(open, element{name: strings.ToLower(t.Name.Local)})
		case xml.CharData:
			top := &open[len(open)-1]
			top.text = append(top.text, t...) // comments and children cut a text in pieces
		case xml.EndElement:
			e := open[len(open)-1]
			open = open[:len(open)-1]
			name := string(e.text[bytes.LastIndexByte(e.text, ':')+1:])
			name, _, _ = strings.Cut(name, "/")
			if strings.Contains(e.name, "bucket") && strings.TrimSpace(name) == bucket {
				return ErrNoSuchBucket
			}
		}
	}
}
