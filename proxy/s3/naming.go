package s3

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
)

// RefuseBucket refuses an XML document that names a bucket, alone, as an ARN or
// behind a tenant, as the target of logs, inventories or the like: in an
// element whose name says so. What cannot be read here is refused too, for the
// store might read more in it.
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
