package runner

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"ssegw/proxy/model/s3op"

	"pgregory.net/rapid"
)

// Before a store that lies, the right answer is not known: it may
// withhold an object, refuse a write, or serve an older state of an object. But
// what a client gets is something that a client wrote under this name, with its
// metadata, and made of the attempts that a Complete named.

// witness knows what clients tried to write.
type witness struct {
	contents map[s3op.Name][]content
	attempts map[string][]s3op.Body // what a part can be, by upload, number and ETag
}

type content struct {
	body s3op.Body
	meta map[string]string
}

// attempt names an attempt of a part.
func attempt(id string, l s3op.Listed) string { return fmt.Sprint(id, " ", l.Number, " ", l.ETag) }

// RunLied draws and runs a history before a store that lies. Its buckets are
// sealed-only.
func (m *Machine) RunLied(t *rapid.T) {
	m.lied = &witness{contents: map[s3op.Name][]content{}, attempts: map[string][]s3op.Body{}}
	t.Repeat(m.liedActions())
}

// liedActions are the operations of such a history.
func (m *Machine) liedActions() map[string]func(*rapid.T) {
	all := m.actions()
	for _, name := range []string{"", "Plant", "PutVersioning", "PutRule", "DeleteRule", "Encrypt", "Rekey", "Verify", "Restart"} {
		delete(all, name)
	}
	return all
}

// believe checks an answer of a store that lies.
func (m *Machine) believe(op s3op.Op, a *s3op.Answer) error {
	w := m.lied
	switch op := op.(type) {
	case s3op.As:
		return m.believe(op.Op, a)
	case s3op.Put:
		if !op.Damaged {
			w.add(op.Name, content{op.Body, s3op.MetaOf(op.Meta)})
		}
	case s3op.Copy:
		for _, c := range w.contents[op.From] {
			if op.Replace {
				c.meta = s3op.MetaOf(op.Meta)
			}
			w.add(op.To, c)
		}
	case s3op.UploadPart:
		name := attempt(op.ID, s3op.Listed{Number: op.Number, ETag: a.ETag})
		w.attempts[name] = append(w.attempts[name], op.Body)
	case s3op.UploadPartCopy:
		name := attempt(op.ID, s3op.Listed{Number: op.Number, ETag: a.ETag})
		for _, c := range w.contents[op.From] {
			if op.Range == nil {
				w.attempts[name] = append(w.attempts[name], c.body)
			} else if op.Range.Last < int64(len(c.body)) {
				w.attempts[name] = append(w.attempts[name], c.body[op.Range.First:op.Range.Last+1])
			}
		}
	case s3op.Complete:
		bodies := []s3op.Body{nil}
		for _, l := range op.Listed {
			var longer []s3op.Body
			for _, body := range bodies {
				for _, part := range w.attempts[attempt(op.ID, l)] {
					longer = append(longer, slices.Concat(body, part))
				}
			}
			bodies = longer
		}
		u := m.World.Uploads[op.ID]
		for _, body := range bodies {
			w.add(u.Name, content{body, u.Meta})
		}
	case s3op.Get:
		if a.Status == 200 || a.Status == 206 {
			return w.wrote(op, a)
		}
	}
	return nil
}

func (w *witness) add(n s3op.Name, c content) { w.contents[n] = append(w.contents[n], c) }

// wrote checks that a client wrote what a GET or HEAD shows.
func (w *witness) wrote(op s3op.Get, a *s3op.Answer) error {
	for _, c := range w.contents[op.Name] {
		first, length, total := int64(0), int64(len(c.body)), int64(len(c.body))
		if a.Range != "" {
			var last int64
			if _, err := fmt.Sscanf(a.Range, "bytes %d-%d/%d", &first, &last, &total); err != nil || last >= total {
				return fmt.Errorf("range %q", a.Range)
			}
			length = last - first + 1
		}
		if total != int64(len(c.body)) || length != a.Size || !maps.Equal(a.Meta, c.meta) {
			continue
		}
		if op.Head || bytes.Equal(a.Body, c.body[first:first+length]) {
			return nil
		}
	}
	return fmt.Errorf("nobody wrote %d bytes with %v", len(a.Body), a.Meta)
}

// Tried calls each with the bodies that clients tried to write.
func (m *Machine) Tried(each func(body []byte)) {
	for _, all := range m.lied.contents {
		for _, c := range all {
			each(c.body)
		}
	}
	for _, bodies := range m.lied.attempts {
		for _, body := range bodies {
			each(body)
		}
	}
}
