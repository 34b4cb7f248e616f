package kms

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/minio/kms-go/kes"
)

// Paths of the KES API, version 1. A path that ends in a slash is followed by a
// key name.
const (
	pathVersion  = "/version"
	pathCreate   = "/v1/key/create/"
	pathGenerate = "/v1/key/generate/"
	pathDecrypt  = "/v1/key/decrypt/"
	pathDescribe = "/v1/key/describe/"
	pathList     = "/v1/key/list/"
)

// op is an operation of the KES API.
type op uint8

const (
	opGenerate op = iota
	opUnseal
	opCreate
	opDescribe
	opList
	opVersion
	numOps
)

var opNames = [numOps]string{"generate", "unseal", "create", "describe", "list", "version"}

func (o op) String() string { return opNames[o] }

// idempotent reports whether the call may be sent twice, to one endpoint or to
// two.
func (o op) idempotent() bool { return o != opCreate }

// call is a request that can be sent more than once.
type call struct {
	op     op
	method string
	path   string
	body   []byte // nil if there is none
}

// answer is the answer of an endpoint: the status, which is below 500, and the
// complete body.
type answer struct {
	status int
	date   time.Time // from the clock of KES; zero if missing
	json   bool      // according to its content type
	body   []byte
	took   time.Duration
	tries  int // number of attempts, including this one
}

type generateRequest struct {
	Context []byte `json:"context"`
}

type generateResponse struct {
	Plaintext  []byte `json:"plaintext"`
	Ciphertext []byte `json:"ciphertext"`
}

type decryptRequest struct {
	Ciphertext []byte `json:"ciphertext"`
	Context    []byte `json:"context"`
}

type decryptResponse struct {
	Plaintext []byte `json:"plaintext"`
}

type describeResponse struct {
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
}

type versionResponse struct {
	Version string `json:"version"`
}

type listResponse struct {
	Names      []string `json:"names"`
	ContinueAt string   `json:"continue_at"`
}

// encode returns v as JSON. The request types in this file always marshal.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("kms: request does not marshal: " + err.Error())
	}
	return b
}

// decode unmarshals the body of a 200 answer into v. For any other status it
// returns the error. If v is nil it ignores the body.
func (a answer) decode(v any) error {
	if a.status != http.StatusOK {
		return refusal(a.kesError())
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		return badAnswer("body is not valid JSON for this call") // the cause may quote the body
	}
	return nil
}

// kesError returns the KES error in an answer that is not 200. The message is
// the one KES sent, made safe to print, or the text of the status.
func (a answer) kesError() kes.Error {
	return kes.NewError(a.status, a.message())
}

// maxMessage limits the error messages kept from KES, in bytes.
const maxMessage = 200

// message returns the error message of an answer as one line. It keeps nothing
// of a body that is not JSON from KES.
func (a answer) message() string {
	var m struct {
		Message string `json:"message"`
		Error   string `json:"error"` // older servers
	}
	if !a.json || json.Unmarshal(a.body, &m) != nil {
		return http.StatusText(a.status)
	}
	msg := m.Message
	if msg == "" {
		msg = m.Error
	}
	msg = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, msg)
	if len(msg) > maxMessage {
		msg = strings.ToValidUTF8(msg[:maxMessage], "")
	}
	if msg == "" {
		return http.StatusText(a.status)
	}
	return msg
}
