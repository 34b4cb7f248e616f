package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"
)

// Access is what a credential may do with objects and buckets.
type Access string

// Values of Credential.Access.
const (
	AccessReadWrite Access = "read-write" // everything
	AccessRead      Access = "read"       // GET and HEAD
	AccessWrite     Access = "write"      // writing and deleting objects, without their ACLs
)

// ConsoleAccess is what a credential may do with the console.
type ConsoleAccess string

// ConsoleRead is the only value of Credential.Console but "".
const ConsoleRead ConsoleAccess = "read" // sign in and look

// Credential is one entry of the credentials file: a key pair that clients sign
// with, the credential used for its requests to the store, and its limits.
type Credential struct {
	AccessKey string `json:"access_key"` // at least 3 characters
	SecretKey Secret `json:"secret_key"` // at least 8 characters

	// UpstreamAccessKey and UpstreamSecretKey sign this credential's requests
	// to the store. If they are empty, the gateway's own credential does.
	UpstreamAccessKey string `json:"upstream_access_key"`
	UpstreamSecretKey Secret `json:"upstream_secret_key"`

	Buckets []string `json:"buckets"`  // names, or prefixes that end in *; nil: all
	Access  Access   `json:"access"`   // empty in the file: read-write
	KMSKeys []string `json:"kms_keys"` // KES keys, written as in Buckets; nil: all

	Console ConsoleAccess `json:"console"` // empty: none
}

// maxCredentials bounds the size in bytes of a credentials file.
const maxCredentials = 4 << 20

// Patterns of KES key and bucket names, or of prefixes that end in *.
var (
	keyPattern    = regexp.MustCompile(`^[0-9A-Za-z_-]*\*?$`)
	bucketPattern = regexp.MustCompile(`^[a-z0-9.-]*\*?$`)
)

// ReadCredentials reads a credentials file: a JSON object whose only member,
// credentials, is an array of objects with the fields of [Credential]. Unknown
// fields, duplicate access keys and the access key of the root credential are
// errors. No error contains a secret.
func ReadCredentials(path, rootAccessKey string) ([]Credential, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: credentials: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxCredentials+1))
	if err != nil {
		return nil, fmt.Errorf("config: credentials: %w", err)
	}
	if len(content) > maxCredentials {
		return nil, fmt.Errorf("config: credentials: %s is larger than %d bytes", path, maxCredentials)
	}
	list, err := parseCredentials(content, rootAccessKey)
	if err != nil {
		return nil, fmt.Errorf("config: credentials: %s: %w", path, err)
	}
	return list, nil
}

func parseCredentials(content []byte, rootAccessKey string) ([]Credential, error) {
	var file struct {
		Credentials []Credential `json:"credentials"`
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, describeJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text follows the JSON object")
	}
	seen := map[string]bool{rootAccessKey: true}
	for i := range file.Credentials {
		c := &file.Credentials[i]
		if c.Access == "" {
			c.Access = AccessReadWrite
		}
		problem := c.problem()
		if problem == "" && seen[c.AccessKey] {
			problem = "access_key is already used by another credential"
		}
		if problem != "" {
			return nil, fmt.Errorf("credential %d: %s", i+1, problem)
		}
		seen[c.AccessKey] = true
	}
	return file.Credentials, nil
}

// describeJSON describes a decoder's error without quoting the input.
func describeJSON(err error) error {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d", syntax.Offset)
	case errors.As(err, &wrong):
		return fmt.Errorf("%s must not be of type %s", cmp.Or(wrong.Field, "it"), wrong.Value)
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return errors.New("not a JSON object")
}

// problem describes what is wrong with a credential. It returns "" for a valid
// one.
func (c *Credential) problem() string {
	secret := c.SecretKey.Reveal()
	switch {
	case len(c.AccessKey) < minAccessKey:
		return fmt.Sprintf("access_key must have at least %d characters", minAccessKey)
	case strings.ContainsFunc(c.AccessKey, badInAccessKey), strings.ContainsFunc(c.UpstreamAccessKey, badInAccessKey):
		return "access keys must be letters, digits and signs other than / , and ="
	case secret == c.AccessKey:
		return "secret_key must not be the same as the access key"
	case isShipped(secret):
		return "secret_key must not be a well-known default"
	case len(secret) < minSecretKey:
		return fmt.Sprintf("secret_key must have at least %d characters", minSecretKey)
	case strings.ContainsFunc(secret, unicode.IsControl), strings.ContainsFunc(c.UpstreamSecretKey.Reveal(), unicode.IsControl):
		return "secret keys must not have line breaks or other control characters"
	case (c.UpstreamAccessKey == "") != c.UpstreamSecretKey.IsZero():
		return "upstream_access_key and upstream_secret_key go together"
	case c.Access != AccessRead && c.Access != AccessWrite && c.Access != AccessReadWrite:
		return "access must be read, write or read-write"
	case c.Console != "" && c.Console != ConsoleRead:
		return "console must be read, or left out"
	}
	if problem := patternProblem("buckets", c.Buckets, bucketPattern); problem != "" {
		return problem
	}
	return patternProblem("kms_keys", c.KMSKeys, keyPattern)
}

// patternProblem describes what is wrong with a list of names and prefixes, or
// returns "". An empty list is refused because it could mean none or all.
func patternProblem(field string, list []string, allowed *regexp.Regexp) string {
	if list != nil && len(list) == 0 {
		return field + " must not be empty: leave it out to allow all"
	}
	for _, p := range list {
		if p == "" || !allowed.MatchString(p) {
			return field + " must be names, or prefixes that end in *"
		}
	}
	return ""
}
