package s3

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
)

// Headers of a HEAD answer that has no body to say what is wrong; clients of MinIO print them.
const (
	headerErrorCode = "x-minio-error-code"
	headerErrorDesc = "x-minio-error-desc"
)

// entityHeaders describe a body that an error answer does not have. A handler may have set them before it failed.
var entityHeaders = []string{
	"Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length",
	"Content-Range", "Content-Type", "Etag", "Expires", "Last-Modified",
}

// WriteError answers r with e: status, e.Header and the XML error document of S3; for HEAD and 304 no document but, for
// HEAD, the code and the quoted message in two headers. Nothing of the request is reflected unescaped. requestID also
// becomes the x-amz-request-id header unless it is empty. The answer must not have been begun.
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
	_, _ = w.Write(body) // the client has gone: there is nobody left to tell
}

// quotes undoes the escaping of quotes, which in text mean nothing: Amazon's messages have them as they are, and there
// are clients that look for those.
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

// writeElement writes an element with escaped text. Characters that XML cannot hold become U+FFFD.
func writeElement(b *bytes.Buffer, name, text string) {
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(text)) // a bytes.Buffer never fails
	b.WriteString("</" + name + ">")
}

// plain returns s with everything but printable ASCII replaced, fit for a header.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
