package kms

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"go.uber.org/zap"
)

// Defaults of Config.
const (
	DefaultAttemptTimeout = 500 * time.Millisecond
	DefaultSharedInterval = 5 * time.Minute
	DefaultSharedUses     = 65_536
)

// Config is what a Client is made from. It prints without its secrets.
type Config struct {
	// Endpoints are KES servers of one cluster as https://host:port, at least
	// one; see ParseEndpoints.
	Endpoints []string

	// APIKey is a KES API key, "kes:v1:" and base64; the prefix may be missing.
	// Either it is set, or CertFile and KeyFile.
	APIKey string
	// CertFile and KeyFile are PEM files of a client certificate (with its
	// chain, if any) and its private key. They are read again when they have
	// changed, and connections made anew. Files that are wrong then leave the
	// last certificate in use.
	CertFile, KeyFile string
	// KeyPassword opens a KeyFile that is encrypted as RFC 1423 describes
	// ("Proc-Type: 4,ENCRYPTED").
	KeyPassword string

	// CAPath is a PEM file of CA certificates, or a folder of such files; they
	// are trusted besides the system's. Empty means the system's alone. A
	// missing path, or one without any certificate, is an error. It is read
	// again like CertFile.
	CAPath string

	// DefaultKey is the name of the KES key to use where none is asked for. It
	// is not checked against KES here.
	DefaultKey string

	// Dial connects to an endpoint, as net.Dialer's DialContext does. Nil means
	// TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// AttemptTimeout bounds one attempt at one endpoint, from dialing to the
	// last byte of the answer. Where it is longer than DefaultAttemptTimeout,
	// all other waiting for KES is as much longer. 0 means
	// DefaultAttemptTimeout.
	AttemptTimeout time.Duration

	// CacheTTL is how long a data key that was opened for reading is kept. 0
	// means not at all.
	CacheTTL time.Duration

	// SharedInterval and SharedUses bound what one shared data key seals: so
	// many objects within so much time, by this client. That is what its loss,
	// or a KES key that must not be used any more, would concern at most. No
	// bound of cryptography is near: each object has an object key of its own,
	// sealed under a key derived for it alone. 0 means DefaultSharedInterval
	// and DefaultSharedUses.
	SharedInterval time.Duration
	SharedUses     int

	// Log gets a line when an endpoint fails and when it answers again. Nil
	// means none.
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
