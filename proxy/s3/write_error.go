package s3

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
)

// Headers that describe an error in the answer to a HEAD request, which has no
// body. Clients of MinIO print them.
const (
	headerErrorCode = "x-minio-error-code"
	headerErrorDesc = "x-minio-error-desc"
)

// entityHeaders describe a body that an error answer does not have. A handler
// may have set them before it failed.
var entityHeaders = []string{
	"Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length",
	"Content-Range", "Content-Type", "Etag", "Expires", "Last-Modified",
}

// WriteError answers r with e: the status, e.Header and S3's XML error
// document. The answer to HEAD has no document but two headers with the code
// and the quoted message. A 304 has neither. Nothing from the request is
// reflected unescaped. Unless requestID is empty, it also becomes the
// x-amz-request-id header. The answer must not have begun.
func WriteError(w http.ResponseWriter, r *http.Request, e *Error, requestID string) {
	h := w.Header()
	for _, k := range entityHeaders {
		h.Del(k)
	}
	for k, v := range e.Header {
		h[http.CanonicalHeaderKey(k)] = v
	}
	if requestID != "" {
		h.Set(HeaderRequestID, plain(requestID))
	}
	if r.Method == http.MethodHead || e.Status == http.StatusNotModified {
		if r.Method == http.MethodHead {
			h.Set(headerErrorCode, plain(e.Code))
			h.Set(headerErrorDesc, `"`+strings.ReplaceAll(plain(e.Message), `"`, "'")+`"`)
		}
		w.WriteHeader(e.Status)
		return
	}
	body := e.document(r.URL.Path, requestID)
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	_, _ = w.Write(body) // an error means that the client has gone
}

// quotes undoes the escaping of quotes, which is not needed in text. Amazon's
// messages contain them literally, and some clients search for them.
var quotes = strings.NewReplacer("&#34;", `"`, "&#39;", "'")

// document returns e as S3's XML error document.
func (e *Error) document(resource, requestID string) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	b.WriteString("<Error>")
	writeElement(&b, "Code", e.Code)
	writeElement(&b, "Message", e.Message)
	for _, d := range e.Details {
		writeElement(&b, d.Name, d.Value)
	}
	writeElement(&b, "Resource", resource)
	writeElement(&b, "RequestId", requestID)
	writeElement(&b, "HostId", requestID)
	b.WriteString("</Error>")
	return []byte(quotes.Replace(b.String()))
}

// writeElement writes an element with escaped text. It replaces characters that
// XML cannot hold with U+FFFD.
func writeElement(b *bytes.Buffer, name, text string) {
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(text)) // a bytes.Buffer does not fail
	b.WriteString("</" + name + ">")
}

// plain returns s with everything except printable ASCII replaced, fit for a
// header.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
