package admin

import (
	"cmp"
	"errors"
	"net/http"
	"path"
	"strings"
	"time"

	"ssegw/kms"
)

// createKey is `mc admin kms key create`.
func (s *Server) createKey(r *http.Request) (any, error) {
	return nil, s.KMS.Create(r.Context(), r.URL.Query().Get("key-id"))
}

// key is an element of a list of keys. KES does not tell who made a key and when.
type key struct {
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	Name      string    `json:"name"`
}

// listKeys is `mc admin kms key list`. The pattern's ? and * are MinIO's; KES
// only knows prefixes.
func (s *Server) listKeys(r *http.Request) (any, error) {
	pattern := cmp.Or(r.URL.Query().Get("pattern"), "*")
	prefix := pattern
	if i := strings.IndexAny(pattern, "*?"); i >= 0 {
		prefix = pattern[:i]
	}
	names, err := s.KMS.List(r.Context(), prefix)
	if err != nil {
		return nil, err
	}
	keys := []key{}
	for _, name := range names {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, &apiError{http.StatusBadRequest, "InvalidArgument", "The pattern is malformed."}
		}
		if ok {
			keys = append(keys, key{Name: name})
		}
	}
	return keys, nil
}

// keyStatus is `mc admin kms key status`: a data key is made and opened again.
// What goes wrong is part of the answer.
func (s *Server) keyStatus(r *http.Request) (any, error) {
	name := cmp.Or(r.URL.Query().Get("key-id"), s.KMS.DefaultKey())
	status := struct {
		KeyID         string `json:"key-id"`
		EncryptionErr string `json:"encryption-error,omitempty"`
		DecryptionErr string `json:"decryption-error,omitempty"`
	}{KeyID: name}
	switch err := s.KMS.Check(r.Context(), name); {
	case err == nil:
	case errors.Is(err, kms.ErrCheckUnseal):
		status.DecryptionErr = reason(err)
	default:
		status.EncryptionErr = reason(err)
	}
	return status, nil
}

// reason is the one line that the operator reads of a KMS error.
func reason(err error) string {
	if e := refusal(err); e.status != http.StatusInternalServerError {
		return e.message
	}
	return err.Error()
}

// kmsStatus is madmin's KMS status.
func (s *Server) kmsStatus(r *http.Request) (any, error) {
	endpoints := map[string]string{}
	for _, e := range s.KMS.Status(r.Context()) {
		endpoints[e.Endpoint] = state(e)
	}
	return struct {
		Name         string            `json:"name"`
		DefaultKeyID string            `json:"default-key-id"`
		Endpoints    map[string]string `json:"endpoints"`
	}{"MinIO KES", s.KMS.DefaultKey(), endpoints}, nil
}

func state(e kms.EndpointStatus) string {
	if e.Online {
		return online
	}
	return offline
}

// kmsVersion is madmin's KMS version: that of the first endpoint that tells.
func (s *Server) kmsVersion(r *http.Request) (any, error) {
	for _, e := range s.KMS.Status(r.Context()) {
		if e.Online {
			return map[string]string{"version": e.Version}, nil
		}
	}
	return nil, kms.ErrUnreachable
}
