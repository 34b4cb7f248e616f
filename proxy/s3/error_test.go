package s3

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestErrorTable(t *testing.T) {
	t.Parallel()
	status := map[string]int{
		"AccessDenied": 403, "NoSuchKey": 404, "NoSuchBucket": 404, "InvalidRange": 416, "NotImplemented": 501,
		"MethodNotAllowed": 405, "MetadataTooLarge": 400, "SlowDown": 503, "ServiceUnavailable": 503, "kms:KeyNotFound": 404,
		"kms:NotAuthorized": 403, "kms:KeyAlreadyExists": 409, "KMS.NotFoundException": 400, "PreconditionFailed": 412,
		"XAmzContentSHA256Mismatch": 400, "MalformedTrailerError": 400, "SignatureDoesNotMatch": 403, "InternalError": 500,
		"ServerSideEncryptionConfigurationNotFoundError": 404, "MissingContentLength": 411, "NotModified": 304,
	}
	for code, want := range status {
		if e := ErrorByCode(code); e.Code != code || e.Status != want || e.Message == "" {
			t.Errorf("%s: %+v", code, e)
		}
	}
	if e := ErrorByCode("NoSuchCode"); e != ErrInternal {
		t.Errorf("unknown code: %v", e)
	}
	rows := len(requestErrors) + len(resourceErrors) + len(authErrors) + len(serverErrors)
	if rows != len(errorTable) {
		t.Errorf("%d rows, %d codes", rows, len(errorTable))
	}
	for code, e := range errorTable {
		if retry := e.Header.Get("Retry-After"); (e.Status == 503) != (retry == "1") {
			t.Errorf("%s: status %d, Retry-After %q", code, e.Status, retry)
		}
	}
}

func TestErrorCopies(t *testing.T) {
	t.Parallel()
	e := ErrNoSuchKey.Msg("no %s", "k").With(io.ErrUnexpectedEOF)
	wrapped := fmt.Errorf("doing x: %w", e)
	if !errors.Is(wrapped, ErrNoSuchKey) || !errors.Is(wrapped, io.ErrUnexpectedEOF) || errors.Is(wrapped, ErrNoSuchBucket) {
		t.Error("errors.Is is wrong")
	}
	if e.Error() != "s3: NoSuchKey: no k: unexpected EOF" {
		t.Error(e.Error())
	}
	if ErrNoSuchKey.Message == e.Message || ErrNoSuchKey.Unwrap() != nil {
		t.Error("the table's entry was changed")
	}
}

func TestWriteError(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "5")
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("ETag", `"x"`)
	r := newRequest(t, "GET", "/bkt/a%26%3Cb%01")
	WriteError(w, r, ErrServiceUnavailable.Msg("<&\r\n>").With(errors.New("secret")), "ID\r\nX: 1")
	res := w.Result()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" || res.Header.Get("Content-Type") != "application/xml" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if res.Header.Get("ETag") != "" || res.Header.Get("Content-Encoding") != "" || res.ContentLength != int64(w.Body.Len()) {
		t.Errorf("headers of another body: %v", res.Header)
	}
	if strings.ContainsAny(res.Header.Get(HeaderRequestID), "\r\n") {
		t.Error("line break in a header")
	}
	body := w.Body.String()
	var doc struct {
		XMLName                                    xml.Name `xml:"Error"`
		Code, Message, Resource, RequestId, HostId string
	}
	if err := xml.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Code != "ServiceUnavailable" || doc.Message != "<&\r\n>" || doc.Resource != "/bkt/a&<b\uFFFD" || doc.RequestId == "" {
		t.Errorf("%+v", doc)
	}
	if strings.Contains(body, "secret") {
		t.Error("the cause was sent")
	}
}

// TestWriteErrorQuotes checks that Amazon's wording appears literally in the
// document, because some clients search for it.
func TestWriteErrorQuotes(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	WriteError(w, newRequest(t, "POST", "/bkt"), ErrAccessDenied.Msg(`["eq", "$a", "it's &#34;"]`), "id")
	if want := `<Message>["eq", "$a", "it's &amp;#34;"]</Message>`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("%s\nwithout %s", w.Body, want)
	}
}

func TestWriteErrorWithoutBody(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	WriteError(w, newRequest(t, "HEAD", "/bkt/k"), ErrNoSuchKey.Msg("no \"such\"\r\nX-Evil: 1 é"), "id")
	if w.Code != 404 || w.Body.Len() != 0 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w.Header().Get("x-minio-error-code") != "NoSuchKey" || w.Header().Get("x-minio-error-desc") != `"no 'such'??X-Evil: 1 ?"` {
		t.Errorf("%v", w.Header())
	}

	w = httptest.NewRecorder()
	w.Header().Set("Content-Type", "text/plain")
	WriteError(w, newRequest(t, "GET", "/bkt/k"), ErrNotModified.Headers(http.Header{"ETag": {`"x"`}}), "id")
	if w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("ETag") != `"x"` || w.Header().Get("Content-Type") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestETagShown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		upstream string
		sealed   bool
		want     string
	}{
		{`"abc"`, false, `"abc"`},
		{`abc`, false, `"abc"`},
		{`"abc"`, true, `"abc-1"`},
		{`abc`, true, `"abc-1"`},
		{`"abc-3"`, true, `"abc-3"`},
		{`W/"abc"`, true, `"abc-1"`},
		{``, true, ``},
		{`""`, false, ``},
	}
	for _, tt := range tests {
		if got := ETagShown(tt.upstream, tt.sealed); got != tt.want {
			t.Errorf("%s %v: got %s, want %s", tt.upstream, tt.sealed, got, tt.want)
		}
	}
}
