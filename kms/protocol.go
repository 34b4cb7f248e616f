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

// Paths of the KES API, version 1. A name follows those that end in a slash.
const (
	pathVersion  = "/version"
	pathCreate   = "/v1/key/create/"
	pathGenerate = "/v1/key/generate/"
	pathDecrypt  = "/v1/key/decrypt/"
	pathDescribe = "/v1/key/describe/"
	pathList     = "/v1/key/list/"
)

// op is an operation of the KES API that the client uses.
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

// idempotent reports whether sending a call twice does no harm, to one endpoint
// or to two.
func (o op) idempotent() bool { return o != opCreate }

// call is one request in a form that can be sent again.
type call struct {
	op     op
	method string
	path   string
	body   []byte // nil for none
}

// answer is what an endpoint said: any status but a 5xx, and the whole body.
type answer struct {
	status int
	date   time.Time // by the clock of KES, zero when it did not say
	json   bool      // says its content type
	body   []byte
	took   time.Duration
	tries  int // attempts that were made, this one included
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

// encode returns v as JSON. The types above cannot fail to marshal.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("kms: request does not marshal: " + err.Error())
	}
	return b
}

// decode reads the body of a 200 answer into v, or returns the error that
// another status stands for. A nil v means that the body does not matter.
func (a answer) decode(v any) error {
	if a.status != http.StatusOK {
		return refusal(a.kesError())
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		return badAnswer("body is not the JSON of this call") // the cause may quote it
	}
	return nil
}

// kesError returns the error of KES in an answer that is not 200. The message
// is KES's own where the body is what KES sends, made safe to print.
func (a answer) kesError() kes.Error {
	return kes.NewError(a.status, a.message())
}

// maxMessage bounds what is kept of an error message of KES, in bytes.
const maxMessage = 200

// message returns the error message in an answer, on one line. Of a body that
// is not KES's JSON nothing is kept.
func (a answer) message() string {
	var m struct {
		Message string `json:"message"`
		Error   string `json:"error"` // of older servers
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
