package s3

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Encryption is a bucket's default encryption: the single rule in the document
// of GetBucketEncryption and PutBucketEncryption.
type Encryption struct {
	Algorithm string   // AES256 or AWSKMS
	KeyID     string   // key name or ARN as sent; "" for AES256 and for the default key
	BucketKey bool     // S3 Bucket Keys: one data key for many objects
	Blocked   []string // BlockedEncryptionTypes: "SSE-C" or "NONE"; nil if absent
}

// MaxEncryptionDocument is the largest encryption document in bytes.
const MaxEncryptionDocument = 64 << 10

const (
	s3Namespace   = "http://s3.amazonaws.com/doc/2006-03-01/"
	maxKeyID      = 2048 // bytes; far more than an ARN with the longest key name of any KMS
	maxDepth      = 8    // nesting of an encryption document, which needs 5
	encryptionXML = "ServerSideEncryptionConfiguration"
)

// Paths of the elements of the two encryption documents.
const (
	pathRule      = encryptionXML + "/Rule"
	pathDefault   = pathRule + "/ApplyServerSideEncryptionByDefault"
	pathAlgorithm = pathDefault + "/SSEAlgorithm"
	pathKeyID     = pathDefault + "/KMSMasterKeyID"
	pathBucketKey = pathRule + "/BucketKeyEnabled"
	pathBlocked   = pathRule + "/BlockedEncryptionTypes"
	pathType      = pathBlocked + "/EncryptionType"

	pathObjectKMS       = "ObjectEncryption/SSE-KMS"
	pathObjectKeyID     = pathObjectKMS + "/KMSKeyArn"
	pathObjectBucketKey = pathObjectKMS + "/BucketKeyEnabled"
)

// ParseEncryption parses the document of PutBucketEncryption. The error is
// MalformedXML with the reason: not well-formed, unknown or repeated elements,
// more than one rule, an algorithm other than AES256 and aws:kms, or a key ID
// with AES256. aws:kms without a key ID means the default key.
func ParseEncryption(doc []byte) (*Encryption, error) {
	values, err := leaves(doc, []string{pathRule, pathDefault, pathBlocked}, []string{pathAlgorithm, pathKeyID, pathBucketKey, pathType})
	if err != nil {
		return nil, err
	}
	e := &Encryption{}
	for path, v := range values {
		if len(v) > 1 && path != pathType {
			return nil, malformed("only one %s is allowed", path[strings.LastIndexByte(path, '/')+1:])
		}
	}
	if values[pathRule] == nil || values[pathDefault] == nil || values[pathAlgorithm] == nil {
		return nil, malformed("a rule with an SSEAlgorithm is needed")
	}
	e.Algorithm = values[pathAlgorithm][0]
	if v := values[pathKeyID]; v != nil {
		e.KeyID = v[0]
	}
	switch {
	case e.Algorithm != AES256 && e.Algorithm != AWSKMS:
		return nil, malformed("the SSEAlgorithm must be AES256 or aws:kms")
	case e.Algorithm == AES256 && e.KeyID != "":
		return nil, malformed("KMSMasterKeyID is not allowed with AES256")
	}
	if e.BucketKey, err = parseKeyOptions(e.KeyID, values[pathBucketKey]); err != nil {
		return nil, err
	}
	if e.Blocked, err = parseBlocked(values[pathBlocked], values[pathType]); err != nil {
		return nil, err
	}
	return e, nil
}

// ParseObjectEncryption parses the document of UpdateObjectEncryption, which
// always asks for aws:kms with a key. The error is MalformedXML with the
// reason.
func ParseObjectEncryption(doc []byte) (*Encryption, error) {
	values, err := leaves(doc, []string{pathObjectKMS}, []string{pathObjectKeyID, pathObjectBucketKey})
	if err != nil {
		return nil, err
	}
	for path, v := range values {
		if len(v) > 1 {
			return nil, malformed("only one %s is allowed", path[strings.LastIndexByte(path, '/')+1:])
		}
	}
	id := values[pathObjectKeyID]
	if id == nil || id[0] == "" {
		return nil, malformed("SSE-KMS with a KMSKeyArn is needed")
	}
	bucketKey, err := parseKeyOptions(id[0], values[pathObjectBucketKey])
	if err != nil {
		return nil, err
	}
	return &Encryption{Algorithm: AWSKMS, KeyID: id[0], BucketKey: bucketKey}, nil
}

// parseKeyOptions checks a key ID and parses BucketKeyEnabled, which occurs at
// most once.
func parseKeyOptions(keyID string, bucketKey []string) (bool, error) {
	if len(keyID) > maxKeyID || !isHeaderValue(keyID) {
		return false, malformed("the key ID is too long or has control characters")
	}
	if bucketKey == nil {
		return false, nil
	}
	on, err := strconv.ParseBool(bucketKey[0])
	if err != nil || bucketKey[0] != "true" && bucketKey[0] != "false" {
		return false, malformed("BucketKeyEnabled must be true or false")
	}
	return on, nil
}

// parseBlocked checks the list of blocked encryption types.
func parseBlocked(list, types []string) ([]string, error) {
	if list == nil {
		return nil, nil
	}
	if len(types) != 1 || types[0] != "SSE-C" && types[0] != "NONE" {
		return nil, malformed("EncryptionType must be SSE-C or NONE")
	}
	return types, nil
}

// Marshal returns e as the document of GetBucketEncryption.
func (e *Encryption) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	b.WriteString("<" + encryptionXML + ` xmlns="` + s3Namespace + `"><Rule><ApplyServerSideEncryptionByDefault>`)
	writeElement(&b, "SSEAlgorithm", e.Algorithm)
	if e.KeyID != "" {
		writeElement(&b, "KMSMasterKeyID", e.KeyID)
	}
	b.WriteString("</ApplyServerSideEncryptionByDefault>")
	if e.BucketKey {
		writeElement(&b, "BucketKeyEnabled", "true")
	}
	if e.Blocked != nil {
		b.WriteString("<BlockedEncryptionTypes>")
		for _, t := range e.Blocked {
			writeElement(&b, "EncryptionType", t)
		}
		b.WriteString("</BlockedEncryptionTypes>")
	}
	b.WriteString("</Rule></" + encryptionXML + ">")
	return b.Bytes()
}

// leaves parses a small document strictly. It returns the trimmed text of its
// elements, in order, by path ("Root/Child"). Elements in inner contain only
// elements, and their text is "". Elements in text contain only text. The root
// is that of the first path. Anything else is an error.
func leaves(doc []byte, inner, text []string) (map[string][]string, error) {
	if len(doc) > MaxEncryptionDocument {
		return nil, malformed("the document is too large")
	}
	root, _, _ := strings.Cut(inner[0], "/")
	values := make(map[string][]string)
	var path []string
	var chars []byte
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, malformed("the document is not well-formed").With(err)
		}
		switch t := tok.(type) {
		case xml.Directive:
			return nil, malformed("a document type is not allowed")
		case xml.StartElement:
			if len(bytes.TrimSpace(chars)) > 0 {
				return nil, malformed("unexpected text before %s", t.Name.Local)
			}
			path = append(path, t.Name.Local)
			p := strings.Join(path[:min(len(path), maxDepth)], "/")
			if len(path) > maxDepth || p != root && !slices.Contains(inner, p) && !slices.Contains(text, p) {
				return nil, malformed("unknown element %s", t.Name.Local)
			}
			if t.Name.Space != "" && t.Name.Space != s3Namespace {
				return nil, malformed("unknown namespace")
			}
			if p == root && values[root] != nil {
				return nil, malformed("more than one document")
			}
			chars = nil
		case xml.CharData:
			chars = append(chars, t...)
		case xml.EndElement:
			p := strings.Join(path, "/")
			s := strings.TrimSpace(string(chars))
			if s != "" && !slices.Contains(text, p) {
				return nil, malformed("unexpected text in %s", t.Name.Local)
			}
			values[p] = append(values[p], s)
			path, chars = path[:len(path)-1], nil
		}
	}
	if values[root] == nil {
		return nil, malformed("the document must be a %s", root)
	}
	return values, nil
}

// malformed returns MalformedXML with a reason in brackets.
func malformed(format string, a ...any) *Error {
	return ErrMalformedXML.Msg("%s (%s)", ErrMalformedXML.Message, ErrMalformedXML.Msg(format, a...).Message)
}
