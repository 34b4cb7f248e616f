package admin

import (
	"cmp"
	"errors"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"ssegw/kms"
)

// createKey serves `mc admin kms key create`.
func (s *Server) createKey(r *http.Request) (any, error) {
	name := r.URL.Query().Get("key-id")
	err := s.KMS.Create(r.Context(), name)
	s.audit(r, KeyUse{Action: "KMSCreateKey", KESKey: name, Use: "create"}, err)
	return nil, err
}

func (s *Server) audit(r *http.Request, use KeyUse, err error) {
	if s.Audit == nil {
		return
	}
	use.RequestID, use.Result = requestID(r), "ok"
	if err != nil {
		use.Result = refusal(err).code
	}
	s.Audit(use)
}

// key is an element of a list of keys. KES does not report who made a key, or
// when.
type key struct {
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	Name      string    `json:"name"`
}

// listKeys serves `mc admin kms key list`. The wildcards ? and * are MinIO's;
// KES knows only prefixes.
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

// keyStatus serves `mc admin kms key status`. It makes a data key and opens it
// again. Errors are part of the answer.
func (s *Server) keyStatus(r *http.Request) (any, error) {
	name := cmp.Or(r.URL.Query().Get("key-id"), s.KMS.DefaultKey())
	status := struct {
		KeyID         string `json:"key-id"`
		EncryptionErr string `json:"encryption-error,omitempty"`
		DecryptionErr string `json:"decryption-error,omitempty"`
	}{KeyID: name}
	err := s.KMS.Check(r.Context(), name)
	s.audit(r, KeyUse{Action: "KMSKeyStatus", KESKey: name, Use: "check"}, err)
	switch {
	case err == nil:
	case errors.Is(err, kms.ErrCheckUnseal):
		status.DecryptionErr = reason(err)
	default:
		status.EncryptionErr = reason(err)
	}
	return status, nil
}

// reason returns one line that describes a KMS error to the operator.
func reason(err error) string {
	if e := refusal(err); e.status != http.StatusInternalServerError {
		return e.message
	}
	return err.Error()
}

// kmsStatus serves madmin's KMS status.
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
		return Online
	}
	return Offline
}

// kmsVersion serves madmin's KMS version: that of the first endpoint that is
// online.
func (s *Server) kmsVersion(r *http.Request) (any, error) {
	for _, e := range s.KMS.Status(r.Context()) {
		if e.Online {
			return map[string]string{"version": e.Version}, nil
		}
	}
	return nil, kms.ErrUnreachable
}

// kmsMetrics serves madmin's KMS metrics: the sum over all endpoints since the
// start.
func (s *Server) kmsMetrics(*http.Request) (any, error) {
	m := struct {
		OK      uint64            `json:"kms_req_success"`
		Refused uint64            `json:"kms_req_error"`   // by KES
		Failed  uint64            `json:"kms_req_failure"` // no valid answer
		Latency map[string]uint64 `json:"kms_resp_time"`   // number of answers within so many nanoseconds, cumulative
	}{Latency: map[string]uint64{}}
	for _, e := range s.KMS.Endpoints() {
		for _, r := range e.Requests {
			switch r.Result {
			case "ok":
				m.OK += r.Count
			case "refused":
				m.Refused += r.Count
			default:
				m.Failed += r.Count
			}
		}
		for seconds, n := range e.Latency.Buckets {
			m.Latency[strconv.FormatInt(int64(seconds*1e9), 10)] += n
		}
	}
	return m, nil
}
