package proxy

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"ssegw/proxy/payload"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"
)

// postObject is PostObject, the form upload of browsers. The form has key,
// headers and credential. The bucket comes from the URL.
func postObject(c *call) error {
	form, file, err := openForm(c)
	if err != nil {
		return err
	}
	s, err := writeSealing(c)
	if err != nil {
		return err
	}
	header := upstream.RequestHeader(c.req.Header)
	if s != nil {
		if err := prepareHeader(c, s, header); err != nil {
			return err
		}
		file = payload.WithDefault(file)
	}
	if err := askConsent(c); err != nil {
		return err
	}
	buf, release, err := formBuffer(c)
	if err != nil {
		return err
	}
	defer release()
	n, err := io.ReadFull(file, buf)
	var p *posted
	switch {
	case err == nil:
		p, err = postParts(c, s, header, buf, file)
	case fileEnded(err):
		p, err = postWhole(c, s, header, buf[:n], file)
	}
	if err != nil {
		return err
	}
	return answerForm(c, form.Fields, s, p)
}

// openForm reads the form up to its file and verifies its policy. From then on
// the call has the form's credential, key and headers. The file is verified
// while it is read.
func openForm(c *call) (*s3.Form, payload.Plaintext, error) {
	header, err := outerHeader(c)
	if err != nil {
		return nil, nil, err
	}
	raw, err := openBody(c)
	if err != nil {
		return nil, nil, err
	}
	form, err := s3.ReadForm(raw, c.in.Header.Get("Content-Type"))
	if err != nil {
		return nil, nil, err
	}
	policy, err := c.gw.verifier.VerifyPolicy(c.req.Bucket, form.Fields)
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
	if err := sse.CheckHeaders(c.req.Route, fields); err != nil {
		return nil, nil, err
	}
	if a := fields.Get(s3.HeaderAlgorithm); a != "" && fields.Get(sigv4.HeaderName(a)) == "" {
		return nil, nil, s3.ErrInvalidRequest.Msg("x-amz-checksum-algorithm specified, but no corresponding x-amz-checksum-* field was found.")
	}
	upstream.PassHeaders(fields, header, "If-Match", "If-None-Match", "Origin")
	request := *c.req
	request.Key, request.Header = form.Fields["key"], fields
	request.Path = strings.TrimSuffix(request.Path, "/") + "/" + request.Key
	c.req, c.auth = &request, policy.Auth()
	if err := authorize(c); err != nil {
		return nil, nil, err
	}
	if c.credential != nil {
		c.place.Known()
		raw.Raw.Least = 0 // a file may come slowly, like any large upload
	}
	return form, &formFile{policy.Body(form.File), raw}, nil
}

// outerHeader returns the headers of the HTTP request itself. It refuses those
// that must be fields of the form, because no policy covers them.
func outerHeader(c *call) (http.Header, error) {
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

// formFile is the file of a form upload. It ends cleanly only after the whole
// form was read and verified. Fields after the file are ignored.
type formFile struct {
	*sigv4.Body
	raw *payload.Client
}

func (f *formFile) Read(p []byte) (int, error) {
	n, err := f.Body.Read(p)
	if err == io.EOF {
		if _, err = io.CopyN(io.Discard, f.raw, maxPut); err == nil {
			err = s3.ErrEntityTooLarge
		}
	}
	if failed := f.raw.Failure(); failed != nil && err != nil {
		err = failed
	}
	return n, err
}

func (f *formFile) Failure() error { return f.raw.Failure() }

// formBuffer returns memory for a form's file, and the function that releases
// it.
func formBuffer(c *call) ([]byte, func(), error) {
	size := c.gw.bounds.formPart
	if n := c.in.ContentLength; n >= 0 {
		size = min(size, n) // the file is shorter than the form
	}
	free, err := c.reserve(c.gw.forms, size)
	if err != nil {
		return nil, nil, err
	}
	return make([]byte, size), free, nil
}

// fileEnded reports whether err, of io.ReadFull, is the clean end of a file. An
// error that only wraps io.EOF is that of a broken request, so the comparison
// is exact.
func fileEnded(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// posted is the result of storing a form's file.
type posted struct {
	header http.Header // of the store's answer
	etag   string      // as shown to clients
	sums   []sigv4.Checksum
}

// postWhole stores a file that is in memory and verified.
func postWhole(c *call, s *sse.Sealing, header http.Header, b []byte, file payload.Plaintext) (*posted, error) {
	if err := c.object().StoreConditions(c.ctx(), header); err != nil {
		return nil, err
	}
	lent := &payload.Lent{Left: b}
	defer lent.TakeBack()
	body := &payload.Copied{R: lent, Length: int64(len(b)), Sums: file.Checksums()}
	var answer http.Header
	var err error
	if s != nil {
		answer, err = storeSealed(c, s, header, body)
	} else {
		upstream.PassHeaders(header, c.req.Header, "Content-Md5")
		answer, err = storePlain(c, nil, header, body)
	}
	if err != nil {
		return nil, err
	}
	return &posted{answer, s3.ETagShown(answer.Get("ETag"), s != nil), body.Checksums()}, nil
}

// postParts stores a longer file in parts. buf holds its beginning and is full.
func postParts(c *call, s *sse.Sealing, header http.Header, buf []byte, file payload.Plaintext) (*posted, error) {
	if err := c.object().StoreConditions(c.ctx(), header); err != nil {
		return nil, err
	}
	answer, err := storeParts(c, s, header, payload.Announced(file), func(b *payload.Upload) error {
		size, last := int64(0), false
		for n := len(buf); ; {
			if size += int64(n); size > maxPut {
				return s3.ErrEntityTooLarge
			}
			lent := &payload.Lent{Left: buf[:n]}
			err := b.Send(c.ctx(), &payload.Copied{R: lent, Length: int64(n)}, last, file.Checksums())
			lent.TakeBack()
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

// answerForm answers with the status or the redirection that the form asks for.
func answerForm(c *call, fields map[string]string, s *sse.Sealing, p *posted) error {
	h := c.w.Header()
	upstream.CopyAnswer(h, p.header, s != nil)
	h.Del("Content-Length")
	h.Del("Content-Type")
	h.Set("ETag", p.etag)
	if s != nil {
		s.SetHeaders(h)
		setChecksums(h, p.sums)
	}
	if target, ok := redirection(c, fields, p.etag); ok {
		h.Set("Location", target)
		c.w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	location := locationOf(c)
	h.Set("Location", location)
	switch fields["success_action_status"] {
	case "200":
		c.w.WriteHeader(http.StatusOK)
	case "201":
		// The object is stored, even if the client does not read the answer.
		_ = c.w.sendXML(http.StatusCreated, postAnswer{Location: location, Bucket: c.req.Bucket, Key: c.req.Key, ETag: p.etag})
	default:
		c.w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

// postAnswer is the document of an answer with status 201.
type postAnswer struct {
	XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ PostResponse"`
	Location string   `xml:"Location"`
	Bucket   string   `xml:"Bucket"`
	Key      string   `xml:"Key"`
	ETag     string   `xml:"ETag"`
}

// redirection returns the URL that the form redirects the browser to. An
// invalid URL counts as not given.
func redirection(c *call, fields map[string]string, etag string) (string, bool) {
	target, given := fields["success_action_redirect"]
	if !given {
		target = fields["redirect"] // the old name of the field
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += upstream.EncodeQuery(url.Values{"bucket": {c.req.Bucket}, "key": {c.req.Key}, "etag": {etag}})
	return u.String(), true
}
