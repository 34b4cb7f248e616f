package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
)

const (
	maxBody     = 64 << 10         // largest request body, in bytes
	apiDeadline = 30 * time.Second // for a request and its answer
)

// apiError is an error answer of the admin API. Its status is never 502, 503,
// 429 or 408: MinIO's clients retry those for a minute.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

var (
	errDenied         = &apiError{http.StatusForbidden, "AccessDenied", "Only the root credential of the gateway may do this."}
	errNotImplemented = &apiError{http.StatusNotImplemented, "NotImplemented", "The gateway does not have this operation. Users, policies and the like belong to the object store behind it."}
)

// refusals maps errors to answers of the admin API. The first match counts.
var refusals = []struct {
	is     error
	answer apiError // an empty message means that of the error
}{
	{kms.ErrKeyExists, apiError{http.StatusConflict, "kms:KeyAlreadyExists", "key with given key ID already exists"}},
	{kms.ErrKeyNotFound, apiError{http.StatusNotFound, "kms:KeyNotFound", "key with given key ID does not exist"}},
	{kms.ErrNotAllowed, apiError{http.StatusForbidden, "kms:NotAuthorized", "insufficient permissions to perform KMS operation"}},
	{kms.ErrInvalidKeyName, apiError{http.StatusBadRequest, "InvalidArgument", ""}},
}

// refusal returns the answer for err. It may contain details, because the
// caller is the operator.
func refusal(err error) *apiError {
	var own *apiError
	if errors.As(err, &own) {
		return own
	}
	var signature *sigv4.Error
	if errors.As(err, &signature) {
		return &apiError{s3.ErrorByCode(signature.Code).Status, signature.Code, signature.Message}
	}
	for _, r := range refusals {
		if errors.Is(err, r.is) {
			answer := r.answer
			if answer.message == "" {
				answer.message = err.Error()
			}
			return &answer
		}
	}
	return &apiError{http.StatusInternalServerError, "InternalError", "We encountered an internal error, please try again. (" + err.Error() + ")"}
}

// operation is one operation of the admin API. It returns the JSON document of
// the answer, a text, a stream or noContent, or nil for an answer without a
// document. The body of r has been read and verified.
type operation func(r *http.Request) (any, error)

type (
	text      []byte                      // an answer that is not JSON
	stream    func(w http.ResponseWriter) // writes JSON documents until the client leaves
	noContent struct{}                    // an answer with the status 204
)

// send answers with the result of an operation.
func send(w http.ResponseWriter, document any) {
	switch d := document.(type) {
	case nil:
		w.WriteHeader(http.StatusOK)
	case noContent:
		w.WriteHeader(http.StatusNoContent)
	case text:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(d) // an error means that the client has gone
	case stream:
		w.Header().Set("Content-Type", "application/json")
		d(w)
	default:
		writeJSON(w, http.StatusOK, document)
	}
}

// api returns a handler for do. It authenticates the root credential, sets
// deadlines and logs the request.
func (s *Server) api(do operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(apiDeadline))
		_ = control.SetWriteDeadline(time.Now().Add(apiDeadline))
		var document any
		r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, w.Header().Get(requestIDHeader)))
		err := s.authenticate(r)
		if err == nil {
			document, err = do(r)
		}
		log := s.Log.With(zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.String("remote", r.RemoteAddr),
			zap.String("request_id", requestID(r)))
		if err != nil {
			e := refusal(err)
			log.Warn("admin request refused", zap.Int("status", e.status), zap.Error(err))
			writeError(w, r, e)
			return
		}
		log.Info("admin request")
		send(w, document)
	}
}

const requestIDHeader = "X-Amz-Request-Id"

// requestIDKey is the context key of the request ID.
type requestIDKey struct{}

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	return id
}

// authenticate verifies that the root credential signed the request, including
// its body, which it keeps in r. MinIO's admin clients sign for no region.
func (s *Server) authenticate(r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &apiError{http.StatusBadRequest, "InvalidArgument", "The query is malformed."}
	}
	for name, values := range query {
		if len(values) > 1 {
			return &apiError{http.StatusBadRequest, "InvalidArgument", "The parameter " + name + " is given twice."}
		}
	}
	auth, err := s.verifier.Verify(&sigv4.Request{
		Method: r.Method, Path: r.URL.Path, Query: query, Header: r.Header, Host: r.Host,
		ContentLength: r.ContentLength, TLS: r.TLS != nil, AllowEmptyRegion: true,
	})
	if err != nil {
		return err
	}
	if auth.Anonymous() || auth.Presigned() || auth.AccessKey() != s.AccessKey {
		return errDenied
	}
	body, err := auth.Body(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return err
	}
	b, err := io.ReadAll(body)
	if len(b) > maxBody {
		return &apiError{http.StatusRequestEntityTooLarge, "EntityTooLarge", "The body is too large."}
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return err
}

func writeJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document) // an error means that the client has gone
}

// writeError answers with e in the form that MinIO's clients display.
func writeError(w http.ResponseWriter, r *http.Request, e *apiError) {
	writeJSON(w, e.status, struct {
		Code, Message, Resource, RequestId, HostId string //nolint:revive // names of the wire
	}{e.code, e.message, r.URL.Path, w.Header().Get(requestIDHeader), ""})
}

// notImplemented serves all operations of MinIO that the gateway does not have.
func notImplemented(*http.Request) (any, error) { return nil, errNotImplemented }

// service serves `mc admin service`.
func (s *Server) service(r *http.Request) (any, error) {
	query := r.URL.Query()
	action, dryRun := query.Get("action"), query.Get("dry-run") == "true"
	if action != "restart" {
		return nil, errNotImplemented
	}
	if err := s.Restart(dryRun); err != nil {
		// Each line of the error is one setting.
		text := strings.ReplaceAll(err.Error(), "\n", "; ")
		return nil, &apiError{http.StatusBadRequest, "InvalidConfiguration", "The gateway keeps its current configuration: " + text}
	}
	type result struct {
		Host string `json:"host"`
	}
	return struct {
		Action  string   `json:"action"`
		DryRun  bool     `json:"dryRun"`
		Results []result `json:"results"`
	}{action, dryRun, []result{{r.Host}}}, nil
}
