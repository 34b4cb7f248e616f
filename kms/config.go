package kms

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
)

// DefaultAttemptTimeout is how long one endpoint may take to answer before the next one is asked.
const DefaultAttemptTimeout = 500 * time.Millisecond

// Config is what a Client is made from. It prints without its secrets.
type Config struct {
	// Endpoints are KES servers of one cluster as https://host:port, at least one; see ParseEndpoints.
	Endpoints []string

	// APIKey is a KES API key, "kes:v1:" and base64; the prefix may be missing. Either it is set, or CertFile and KeyFile.
	APIKey string
	// CertFile and KeyFile are PEM files of a client certificate (with its chain, if any) and its private key. They are read
	// again when they have changed, for the next connection.
	CertFile, KeyFile string
	// KeyPassword opens a KeyFile that is encrypted as RFC 1423 describes ("Proc-Type: 4,ENCRYPTED").
	KeyPassword string

	// CAPath is a PEM file of CA certificates, or a folder of such files; they are trusted besides the system's. Empty means
	// the system's alone. A missing path, or one without any certificate, is an error.
	CAPath string

	// DefaultKey is the name of the KES key to use where none is asked for. It is not checked against KES here.
	DefaultKey string

	// AttemptTimeout bounds one attempt at one endpoint, from dialing to the last byte of the answer.
	// 0 means DefaultAttemptTimeout.
	AttemptTimeout time.Duration

	// Log gets a line when an endpoint fails and when it answers again. Nil means none.
	Log *zap.Logger
}

// String returns what the configuration is, without its secrets.
func (c Config) String() string {
	auth := "none"
	switch {
	case c.APIKey != "":
		auth = "API key"
	case c.CertFile != "":
		auth = "certificate " + c.CertFile
	}
	return fmt.Sprintf("kms.Config{Endpoints: %q, auth: %s, CAPath: %q, DefaultKey: %q}", c.Endpoints, auth, c.CAPath, c.DefaultKey)
}

// GoString returns the same as String.
func (c Config) GoString() string { return c.String() }

// Format writes the same as String, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// MarshalText returns the same as String.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// New returns a client of the KES cluster that c describes. It reads files but does not connect: use Status, Ensure or Check
// to learn whether KES is there. Errors name the setting or the file that is wrong.
func New(c Config) (*Client, error) {
	if len(c.Endpoints) == 0 {
		return nil, errors.New("kms: no KES endpoint given")
	}
	endpoints := make([]string, 0, len(c.Endpoints))
	for _, s := range c.Endpoints {
		e, err := parseEndpoint(s)
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, e)
	}
	if err := ValidKeyName(c.DefaultKey); err != nil {
		return nil, fmt.Errorf("default key: %w", err)
	}
	if c.AttemptTimeout < 0 {
		return nil, errors.New("kms: negative attempt timeout")
	}
	log := cmp.Or(c.Log, zap.NewNop())
	identity, err := newIdentity(c, log)
	if err != nil {
		return nil, err
	}
	roots, err := loadRoots(c.CAPath)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return identity.certificate()
		},
	}
	return &Client{
		pool:       newPool(endpoints, conf, cmp.Or(c.AttemptTimeout, DefaultAttemptTimeout), log),
		identity:   identity,
		defaultKey: c.DefaultKey,
	}, nil
}
