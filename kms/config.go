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
	DefaultTimeout        = 900 * time.Millisecond
	DefaultPatience       = 10 * time.Second
	DefaultSharedInterval = 5 * time.Minute
	DefaultSharedUses     = 65_536
)

// Config configures a Client. It prints without its secrets.
type Config struct {
	// Endpoints are the KES servers of one cluster, as https://host:port. At
	// least one is required. See ParseEndpoints.
	Endpoints []string

	// APIKey is a KES API key: "kes:v1:" followed by base64. The prefix is
	// optional. Set either APIKey, or CertFile and KeyFile.
	APIKey string
	// CertFile and KeyFile are PEM files: a client certificate, with its chain
	// if any, and its private key. When they change they are reloaded, and new
	// connections are made. If the new files are invalid the previous
	// certificate stays in use.
	CertFile, KeyFile string
	// KeyPassword decrypts a KeyFile that is encrypted according to RFC 1423
	// ("Proc-Type: 4,ENCRYPTED").
	KeyPassword string

	// CAPath is a PEM file of CA certificates, or a directory of such files.
	// They are trusted in addition to the system's. If empty, only the system's
	// are trusted. A path that is missing or has no certificate is an error. It
	// is reloaded like CertFile.
	CAPath string

	// DefaultKey is the name of the KES key to use when a request names none.
	// New does not check that KES has it.
	DefaultKey string

	// Dial connects to an endpoint, like the DialContext method of net.Dialer.
	// If nil, TCP is used.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Timeout is how long the cluster may answer nobody before the calls that
	// wait for it fail. One endpoint fails after five ninths of that, which
	// leaves time for another one. If it exceeds DefaultTimeout, the timeouts of
	// probes grow in proportion. 0 means DefaultTimeout.
	Timeout time.Duration
	// Patience is how long an attempt waits for an endpoint that answers
	// others, but slowly. It is at least Timeout. 0 means DefaultPatience.
	Patience time.Duration

	// CacheTTL is how long a data key opened for reading is cached. 0 disables
	// the cache.
	CacheTTL time.Duration

	// SharedInterval and SharedUses limit what this client seals with one
	// shared data key: a period of time and a number of objects. They limit how
	// much a leaked data key, or a KES key that must no longer be used,
	// affects. They are far from any cryptographic limit: each object has its
	// own object key, sealed under a key derived for that object alone. 0 means
	// DefaultSharedInterval and DefaultSharedUses.
	SharedInterval time.Duration
	SharedUses     int

	// Log receives a line when an endpoint fails and when it recovers. If nil,
	// nothing is logged.
	Log *zap.Logger
}

// String returns the configuration without its secrets.
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

// Format writes the same as String, for every verb.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// MarshalText returns the same as String.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
