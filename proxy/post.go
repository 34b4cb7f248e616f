package proxy

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
)

const (
	// formPart is how many bytes of a form's file are held in memory. A file that
	// ends before is stored by a single PUT; nothing says how long a longer one is,
	// so it goes up in parts of this size.
	formPart = 8 << 20
)

// formFile is the file of a form upload: its verified bytes. It ends cleanly
// only after the whole request was read and verified, too; what follows the file
// in it counts for nothing else.
type formFile struct {
	*sigv4.Body
	raw *clientBody
}

func (f *formFile) Read(p []byte) (int, error) {
	n, err := f.Body.Read(p)
	if err == io.EOF {
		if _, err = io.CopyN(io.Discard, f.raw, maxPut); err == nil {
			err = s3.ErrEntityTooLarge
		}
	}
	if failed := f.raw.failure(); failed != nil && err != nil {
		err = failed
	}
	return n, err
}

func (f *formFile) failure() error { return f.raw.failure() }

// fileEnded reports whether io.ReadFull met the clean end of a file: its very own
// errors say so. One that wraps them is of a request that broke off.
func fileEnded(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// posted is what became of a form's file.
type posted struct {
	header http.Header // of the upstream's answer
	etag   string      // as shown to clients
	sums   []sigv4.Checksum
}

// postObject is the form upload of browsers. The form carries key, headers and
// credential; the bucket is the one that the request addresses.
func (c *call) postObject() error {
	form, file, err := c.openForm()
	if err != nil {
		return err
	}
	s, err := c.writeSealing()
	if err != nil {
		return err
	}
	header := upstreamHeader(c.req.Header)
	if s != nil {
		if err := c.prepareHeader(s, header); err != nil {
			return err
		}
		file = withDefault(file)
	}
	if err := c.consent(); err != nil {
		return err
	}
	buf, release, err := c.formBuffer()
	if err != nil {
		return err
	}
	defer release()
	n, err := io.ReadFull(file, buf)
	var p *posted
	switch {
	case err == nil:
		p, err = c.postParts(s, header, buf, file)
	case fileEnded(err):
		p, err = c.postWhole(s, header, buf[:n], file)
	}
	if err != nil {
		return err
	}
	return c.answerForm(form.Fields, s, p)
}

// openForm reads the form up to its file and verifies it. From there on the call
// is one of the form's signer, about the form's object.
func (c *call) openForm() (*s3.Form, plaintext, error) {
	header, err := c.aroundForm()
	if err != nil {
		return nil, nil, err
	}
	raw, err := c.body()
	if err != nil {
		return nil, nil, err
	}
	form, err := s3.ReadForm(raw, c.in.Header.Get("Content-Type"))
	if err != nil {
		return nil, nil, err
	}
	policy, err := c.verifier.VerifyPolicy(c.req.Bucket, form.Fields)
	if err != nil {
		return nil, nil, err
	}
	fields, err := form.Header()
	if err != nil {
		return nil, nil, err
	}
	if err := checkHeaders(fields, c.in.Method); err != nil {
		return nil, nil, err
	}
	if err := checkSSE(c.req.Route, fields); err != nil {
		return nil, nil, err
	}
	if a := fields.Get(s3.HeaderAlgorithm); a != "" && fields.Get(sigv4.HeaderName(a)) == "" {
		return nil, nil, s3.ErrInvalidRequest.Msg("x-amz-checksum-algorithm specified, but no corresponding x-amz-checksum-* field was found.")
	}
	passHeaders(fields, header, "If-Match", "If-None-Match", "Origin")
	request := *c.req
	request.Key, request.Header = form.Fields["key"], fields
	request.Path = strings.TrimSuffix(request.Path, "/") + "/" + request.Key
	c.req, c.auth = &request, policy.Auth()
	if err := c.authorize(); err != nil {
		return nil, nil, err
	}
	if c.credential != nil {
		c.place.known()
		raw.raw.least = 0 // the file may take its time, as any large upload
	}
	return form, &formFile{policy.Body(form.File), raw}, nil
}

// aroundForm returns the headers of the request itself. It refuses those that say
// what fields have to say: nothing has signed them.
func (c *call) aroundForm() (http.Header, error) {
	if !c.auth.Anonymous() {
		return nil, s3.ErrInvalidArgument.Msg("Only one auth mechanism allowed: a form upload carries its credential in the form.")
	}
	for name := range c.req.Header {
		switch name = strings.ToLower(name); {
		case !strings.HasPrefix(name, "x-amz-"):
		case slices.Contains([]string{s3.HeaderContentSHA256, s3.HeaderDate, "x-amz-user-agent"}, name):
		default:
			return nil, s3.ErrInvalidArgument.Msg("The header %s must be a field of the form.", name)
		}
	}
	return c.req.Header, nil
}

// formBuffer returns memory for a form's file, and what gives it back.
func (c *call) formBuffer() ([]byte, func(), error) {
	size := c.bounds.formPart
	if n := c.in.ContentLength; n >= 0 {
		size = min(size, n) // the file is shorter than the form
	}
	free, err := c.reserve(c.forms, size)
	if err != nil {
		return nil, nil, err
	}
	return make([]byte, size), free, nil
}

// postWhole stores a file that is in memory, all verified.
func (c *call) postWhole(s *sealing, header http.Header, b []byte, file plaintext) (*posted, error) {
	if err := c.translateConditions(header); err != nil {
		return nil, err
	}
	lent := &lentBytes{left: b}
	defer lent.takeBack()
	body := &copiedBody{r: lent, size: int64(len(b)), declared: file.Checksums()}
	var answer http.Header
	var err error
	if s != nil {
		answer, err = c.storeSealed(s, header, body)
	} else {
		passHeaders(header, c.req.Header, "Content-Md5")
		answer, err = c.storePlain(header, body)
	}
	if err != nil {
		return nil, err
	}
	return &posted{answer, s3.ETagShown(answer.Get("ETag"), s != nil), body.Checksums()}, nil
}

// postParts stores a file of any length in parts. buf is full of its beginning.
func (c *call) postParts(s *sealing, header http.Header, buf []byte, file plaintext) (*posted, error) {
	if err := c.translateConditions(header); err != nil {
		return nil, err
	}
	answer, err := c.storeParts(s, header, announced(file), func(b *bodyUpload) error {
		size, last := int64(0), false
		for n := len(buf); ; {
			if size += int64(n); size > maxPut {
				return s3.ErrEntityTooLarge
			}
			lent := &lentBytes{left: buf[:n]}
			err := b.send(&copiedBody{r: lent, size: int64(n)}, last, file.Checksums())
			lent.takeBack()
			if err != nil || last {
				return err
			}
			n, err = io.ReadFull(file, buf)
			if last = fileEnded(err); err != nil && !last {
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return &posted{answer, s3.ETagShown(answer.Get("ETag"), s != nil), file.Checksums()}, nil
}

// postAnswer is the document of an answer with status 201.
type postAnswer struct {
	XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ PostResponse"`
	Location string   `xml:"Location"`
	Bucket   string   `xml:"Bucket"`
	Key      string   `xml:"Key"`
	ETag     string   `xml:"ETag"`
}

// answerForm answers in the way that the form asks for.
func (c *call) answerForm(fields map[string]string, s *sealing, p *posted) error {
	h := c.w.Header()
	copyAnswer(h, p.header, s != nil)
	h.Del("Content-Length")
	h.Del("Content-Type")
	h.Set("ETag", p.etag)
	if s != nil {
		s.setHeaders(h)
		setChecksums(h, p.sums)
	}
	if target, ok := c.redirection(fields, p.etag); ok {
		h.Set("Location", target)
		c.w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	location := c.location()
	h.Set("Location", location)
	switch fields["success_action_status"] {
	case "200":
		c.w.WriteHeader(http.StatusOK)
	case "201":
		doc, err := xml.Marshal(postAnswer{Location: location, Bucket: c.req.Bucket, Key: c.req.Key, ETag: p.etag})
		if err != nil {
			return err
		}
		doc = append([]byte(xml.Header), doc...)
		h.Set("Content-Type", "application/xml")
		h.Set("Content-Length", strconv.Itoa(len(doc)))
		c.w.WriteHeader(http.StatusCreated)
		_, _ = io.Copy(c.w, bytes.NewReader(doc)) // a client that has gone needs no answer
	default:
		c.w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

// redirection is where the form sends its browser. An address that is none counts
// as not given.
func (c *call) redirection(fields map[string]string, etag string) (string, bool) {
	target, given := fields["success_action_redirect"]
	if !given {
		target = fields["redirect"] // its old name
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += encodeQuery(url.Values{"bucket": {c.req.Bucket}, "key": {c.req.Key}, "etag": {etag}})
	return u.String(), true
}
