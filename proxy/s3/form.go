package s3

import (
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of what precedes the file in a form, in bytes.
const (
	maxFormFields = 20 << 10 // names and values of all fields, as on Amazon S3
	maxFormHead   = 64 << 10 // as sent, including boundaries and the headers of parts
	maxBoundary   = 70       // RFC 2046, section 5.1.1
)

// fileVariable stands for the name of the file in the key of a form.
const fileVariable = "${filename}"

// Form is a browser's form upload. Anything after the file is ignored.
type Form struct {
	// Fields holds the fields before the file as sent, by lower-cased name. In
	// the key, ${filename} has been replaced.
	Fields map[string]string
	// File is the content of the file. It ends with io.EOF where the form ends
	// it, and with ErrMalformedPOSTRequest if the body ends earlier. It passes
	// on errors of the body.
	File io.Reader
}

// ReadForm parses the fields of the multipart/form-data body up to the file, at
// most 64 KiB. It returns errors of body, MalformedPOSTRequest,
// MaxPostPreDataLengthExceededError for fields over 20 KiB, and InvalidArgument
// for a repeated field, a field that is not UTF-8, or a form without key or
// file.
//
// Specification: "POST Object" of the Amazon S3 API reference, and RFC 7578.
func ReadForm(body io.Reader, contentType string) (*Form, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" || len(params["boundary"]) > maxBoundary {
		return nil, ErrMalformedPOSTRequest.With(err)
	}
	head := &formHead{r: body, left: maxFormHead}
	parts := multipart.NewReader(head, params["boundary"])
	f := &Form{Fields: map[string]string{}}
	for room := maxFormFields; ; {
		// NextPart would decode quoted-printable.
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return nil, ErrInvalidArgument.Msg("POST requires exactly one file upload per request.")
		}
		if err != nil {
			return nil, head.refusal(err)
		}
		name, filename, err := partName(part)
		if err != nil {
			return nil, err
		}
		if name == "file" {
			head.open = true
			f.File = &formFile{part, head}
			return f, f.expand(filename)
		}
		value, err := io.ReadAll(io.LimitReader(part, int64(room)+1))
		if err != nil {
			return nil, head.refusal(err)
		}
		if room -= len(name) + len(value); room < 0 {
			return nil, errFormHead
		}
		if err := f.add(name, string(value)); err != nil {
			return nil, err
		}
	}
}

// partName returns the lower-cased name of a part and its file name, or "" if
// it has none.
func partName(part *multipart.Part) (name, filename string, err error) {
	disposition, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil || disposition != "form-data" || params["name"] == "" {
		return "", "", ErrMalformedPOSTRequest.With(err)
	}
	return strings.ToLower(params["name"]), params["filename"], nil
}

func (f *Form) add(name, value string) error {
	if _, twice := f.Fields[name]; twice {
		return ErrInvalidArgument.Msg("The form has a field more than once.")
	}
	if !utf8.ValidString(name) || !utf8.ValidString(value) {
		return ErrInvalidArgument.Msg("A field of the form is not valid UTF-8.")
	}
	f.Fields[name] = value
	return nil
}

// expand replaces ${filename} in the key by the last segment of the file's
// name, which may be a path on the client.
func (f *Form) expand(filename string) error {
	key, given := f.Fields["key"]
	if !given {
		return ErrInvalidArgument.Msg("Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
	}
	filename = filename[strings.LastIndexAny(filename, `/\`)+1:]
	key = strings.ReplaceAll(key, fileVariable, filename)
	if key == "" {
		return ErrInvalidArgument.Msg("User key must have a length greater than 0.")
	}
	f.Fields["key"] = key
	return CheckKey(key)
}

var errFormHead = mustError("MaxPostPreDataLengthExceededError")

// formHead passes the body on. At most left bytes may precede the file.
type formHead struct {
	r      io.Reader
	left   int
	open   bool  // the file has been reached
	failed error // error of r, except io.EOF
}

func (h *formHead) Read(p []byte) (int, error) {
	if !h.open {
		if h.left == 0 {
			h.failed = errFormHead
			return 0, h.failed
		}
		p = p[:min(len(p), h.left)]
	}
	n, err := h.r.Read(p)
	h.left -= min(n, h.left)
	if err != nil && err != io.EOF {
		h.failed = err
	}
	return n, err
}

// refusal returns the error of the body if there was one, and otherwise err as
// MalformedPOSTRequest.
func (h *formHead) refusal(err error) error {
	if h.failed != nil {
		return h.failed
	}
	return ErrMalformedPOSTRequest.With(err)
}

// formFile reads the content of a form's file.
type formFile struct {
	part *multipart.Part
	head *formHead
}

func (f *formFile) Read(p []byte) (int, error) {
	n, err := f.part.Read(p)
	if err != nil && err != io.EOF {
		err = f.head.refusal(err)
	}
	return n, err
}

// formHeaders are the standard headers that a form sets with fields of the same
// name.
var formHeaders = []string{
	"cache-control", "content-disposition", "content-encoding", "content-language", "content-md5", "content-type", "expires",
}

// formOnly lists the lower-cased fields of the form's signature.
var formOnly = []string{"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", HeaderSecurityToken}

// notInForms lists x-amz-* fields that describe a body, which a form does not
// have. To ignore a digest or an object's source would store something other
// than what the client asked for.
var notInForms = []string{HeaderContentSHA256, HeaderDecodedContentLength, HeaderTrailer, HeaderSDKChecksumAlgorithm}

// Header returns the headers of a PUT that asks for the same as the form:
// content headers, x-amz-* fields, acl and tagging. It leaves out all other
// fields, which a policy may cover for the application's own use. Errors:
// InvalidArgument for a field that is not a valid header or appears under both
// of its names; MalformedXML and InvalidTag for tagging; NotImplemented.
func (f *Form) Header() (http.Header, error) {
	h := http.Header{}
	for _, name := range slices.Sorted(maps.Keys(f.Fields)) {
		value := f.Fields[name]
		switch {
		case slices.Contains(formOnly, name):
			continue
		case slices.Contains(notInForms, name), strings.HasPrefix(name, HeaderCopySource):
			return nil, ErrNotImplemented.Msg("A form field you provided implies functionality that is not implemented.")
		case strings.HasPrefix(name, amzPrefix):
		case value == "":
			continue
		case name == "acl":
			name = HeaderACL
		case name == "tagging":
			var err error
			if value, err = tagsHeader(value); err != nil {
				return nil, err
			}
			name = HeaderTagging
		case !slices.Contains(formHeaders, name):
			continue
		}
		if !isHeaderName(name) || !isHeaderValue(value) {
			return nil, ErrInvalidArgument.Msg("A field of the form is not a valid header.")
		}
		if h.Get(name) != "" {
			return nil, ErrInvalidArgument.Msg("The fields of the form contradict each other.")
		}
		h.Set(name, value)
	}
	return h, nil
}
