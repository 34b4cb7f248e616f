package kms

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"ssegw/config/files"
	"time"

	"github.com/minio/kms-go/kes"
	"go.uber.org/zap"
)

// certificates holds the certificates for connections to KES.
type certificates struct {
	identity *files.Source[*tls.Certificate] // of this client
	roots    *files.Source[*x509.CertPool]   // that verify the servers
}

// newCertificates loads the certificates that c names.
func newCertificates(c Config) (certificates, error) {
	identity, err := newIdentity(c, time.Now)
	if err != nil {
		return certificates{}, err
	}
	roots, err := files.Roots("CA certificates for KES", c.CAPath)
	if err != nil {
		return certificates{}, fmt.Errorf("kms: %w", err)
	}
	return certificates{identity, roots}, nil
}

// kesIdentity returns the KES identity of this client.
func (c certificates) kesIdentity() kes.Identity { return kesIdentity(c.identity.Get()) }

// refresh reloads what has changed and reports whether anything did.
func (c certificates) refresh(log *zap.Logger) bool {
	roots := c.roots.Refresh(log)
	return c.identity.Refresh(log) || roots
}

// tlsConfig returns a TLS configuration with the current certificates.
func (c certificates) tlsConfig() *tls.Config {
	cert := c.identity.Get()
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    c.roots.Get(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cert, nil // whichever CA the server names: KES looks only at the public key
		},
	}
}
