package kmstest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/kms-go/kes"

	"ssegw/kms"
)

// Op is an operation of the KES API.
type Op string

// The operations of the server. All other requests count as OpOther.
const (
	OpVersion  Op = "version"
	OpStatus   Op = "status"
	OpReady    Op = "ready"
	OpCreate   Op = "create"
	OpGenerate Op = "generate"
	OpDecrypt  Op = "decrypt"
	OpEncrypt  Op = "encrypt"
	OpDescribe Op = "describe"
	OpList     Op = "list"
	OpDelete   Op = "delete"
	OpOther    Op = "other"
)

// maxBody limits request bodies, like KES, in bytes.
const maxBody = 1 << 20

// route maps a path to an operation. A path that ends in a slash is followed by
// a key name, or by a prefix for OpList.
type route struct {
	op     Op
	method string // if it is PUT, POST is accepted too
	path   string
	handle func(s *Server, name string, req *http.Request) (any, error)
}

var routes = []route{
	{OpVersion, http.MethodGet, "/version", (*Server).version},
	{OpStatus, http.MethodGet, "/v1/status", (*Server).status},
	{OpReady, http.MethodGet, "/v1/ready", (*Server).ready},
	{OpCreate, http.MethodPut, "/v1/key/create/", (*Server).create},
	{OpGenerate, http.MethodPut, "/v1/key/generate/", (*Server).generate},
	{OpDecrypt, http.MethodPut, "/v1/key/decrypt/", (*Server).decrypt},
	{OpEncrypt, http.MethodPut, "/v1/key/encrypt/", (*Server).encrypt},
	{OpDescribe, http.MethodGet, "/v1/key/describe/", (*Server).describe},
	{OpList, http.MethodGet, "/v1/key/list/", (*Server).list},
	{OpDelete, http.MethodDelete, "/v1/key/delete/", (*Server).delete},
}

func opOf(req *http.Request) Op {
	for _, ro := range routes {
		if req.URL.Path == ro.path || strings.HasSuffix(ro.path, "/") && strings.HasPrefix(req.URL.Path, ro.path) {
			return ro.op
		}
	}
	return OpOther
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, ro := range routes {
		mux.HandleFunc(ro.path, func(w http.ResponseWriter, req *http.Request) { s.route(ro, w, req) })
	}
	return mux
}

// route checks method, client and key name, carries out the operation and
// answers.
func (s *Server) route(ro route, w http.ResponseWriter, req *http.Request) {
	if req.Method != ro.method && (req.Method != http.MethodPost || ro.method != http.MethodPut) {
		w.Header().Set("Accept", ro.method)
		fail(w, http.StatusMethodNotAllowed, fmt.Sprintf("received method '%s' expected '%s'", req.Method, ro.method))
		return
	}
	if ro.op != OpVersion {
		id, err := identify(req)
		if err == nil && !s.store.knows(id) {
			err = kes.ErrNotAllowed
		}
		if err != nil {
			answer(w, nil, err)
			return
		}
	}
	name := strings.TrimPrefix(req.URL.Path, ro.path)
	switch {
	case ro.op == OpList && !validPrefix(name):
		fail(w, http.StatusBadRequest, fmt.Sprintf("listing pattern '%s' is empty, too long or is invalid", name))
		return
	case ro.op != OpList && strings.HasSuffix(ro.path, "/"):
		if s.store.denied(name) {
			answer(w, nil, kes.ErrNotAllowed)
			return
		}
		if kms.ValidKeyName(name) != nil {
			fail(w, http.StatusBadRequest, fmt.Sprintf("key name '%s' is empty, too long or contains invalid characters", name))
			return
		}
	}
	v, err := ro.handle(s, name, req)
	answer(w, v, err)
}

// identify returns the identity of the client: the SHA-256 of its public key.
func identify(req *http.Request) (kes.Identity, error) {
	switch certs := req.TLS.PeerCertificates; len(certs) {
	case 0:
		return "", kes.NewError(http.StatusBadRequest, "tls: client certificate is required")
	case 1:
		sum := sha256.Sum256(certs[0].RawSubjectPublicKeyInfo)
		return kes.Identity(hex.EncodeToString(sum[:])), nil
	default:
		return "", kes.NewError(http.StatusBadRequest, "tls: received more than one client certificate")
	}
}

// validPrefix reports whether KES accepts s as the prefix of a listing.
func validPrefix(s string) bool {
	if s == "" || s == "*" {
		return true
	}
	if s == "_" || len(s) > kms.MaxKeyNameLen {
		return false
	}
	s = strings.TrimSuffix(s, "*")
	return strings.Trim(s, "_") == "" || kms.ValidKeyName(s) == nil
}

func (s *Server) version(string, *http.Request) (any, error) {
	return map[string]string{"version": "kmstest", "commit": ""}, nil
}

func (s *Server) status(string, *http.Request) (any, error) {
	return map[string]any{"version": "kmstest", "os": "none", "arch": "none", "uptime": 1, "keystore_latency": 1}, nil
}

func (s *Server) ready(string, *http.Request) (any, error) { return nil, nil }

func (s *Server) create(name string, req *http.Request) (any, error) {
	id, err := identify(req)
	if err != nil {
		return nil, err
	}
	if !s.store.create(name, id) {
		return nil, kes.ErrKeyExists
	}
	return nil, nil
}

func (s *Server) generate(name string, req *http.Request) (any, error) {
	var in struct{ Context []byte }
	if req.ContentLength != 0 { // without a body KES uses no context; -1 means an unknown length
		if err := decode(req, &in); err != nil {
			return nil, err
		}
	}
	k, ok := s.store.get(name)
	if !ok {
		return nil, kes.ErrKeyNotFound
	}
	dataKey := make([]byte, 32)
	rand.Read(dataKey)
	return map[string][]byte{"plaintext": dataKey, "ciphertext": k.seal(dataKey, in.Context)}, nil
}

func (s *Server) encrypt(name string, req *http.Request) (any, error) {
	var in struct{ Plaintext, Context []byte }
	if err := decode(req, &in); err != nil {
		return nil, err
	}
	k, ok := s.store.get(name)
	if !ok {
		return nil, kes.ErrKeyNotFound
	}
	return map[string][]byte{"ciphertext": k.seal(in.Plaintext, in.Context)}, nil
}

func (s *Server) decrypt(name string, req *http.Request) (any, error) {
	var in struct{ Ciphertext, Context []byte }
	if err := decode(req, &in); err != nil {
		return nil, err
	}
	k, ok := s.store.get(name)
	if !ok {
		return nil, kes.ErrKeyNotFound
	}
	plaintext, ok := k.open(in.Ciphertext, in.Context)
	if !ok {
		return nil, kes.ErrDecrypt
	}
	return map[string][]byte{"plaintext": plaintext}, nil
}

func (s *Server) describe(name string, _ *http.Request) (any, error) {
	k, ok := s.store.get(name)
	if !ok {
		return nil, kes.ErrKeyNotFound
	}
	return map[string]string{
		"name":       name,
		"algorithm":  "AES256",
		"created_at": k.createdAt.Format(time.RFC3339Nano),
		"created_by": k.createdBy.String(),
	}, nil
}

func (s *Server) list(prefix string, _ *http.Request) (any, error) {
	if prefix == "*" {
		prefix = ""
	}
	names := s.store.list(prefix)
	out := map[string]any{"names": names}
	if len(names) > s.pageSize {
		out["names"], out["continue_at"] = names[:s.pageSize], names[s.pageSize]
	}
	return out, nil
}

func (s *Server) delete(name string, _ *http.Request) (any, error) {
	if !s.store.remove(name) {
		return nil, kes.ErrKeyNotFound
	}
	return nil, nil
}

// readBody reads the body into memory: net/http then notices if the client
// disconnects while the request hangs.
func readBody(w http.ResponseWriter, req *http.Request) bool {
	b, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid request body")
		return false
	}
	req.Body = io.NopCloser(bytes.NewReader(b))
	return true
}

func decode(req *http.Request, v any) error {
	if json.NewDecoder(req.Body).Decode(v) != nil {
		return kes.NewError(http.StatusBadRequest, "invalid request body")
	}
	return nil
}

// answer sends an error, or v as JSON, or an empty body if v is nil.
func answer(w http.ResponseWriter, v any, err error) {
	var kerr kes.Error
	switch {
	case errors.As(err, &kerr):
		fail(w, kerr.Status(), kerr.Error())
	case err != nil:
		fail(w, http.StatusInternalServerError, err.Error())
	case v == nil:
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
	default:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v) //nolint:errcheck // the client may be gone
	}
}

// fail sends an error in the form KES uses.
func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": message}) //nolint:errcheck // the client may be gone
}
