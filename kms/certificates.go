package kms

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/minio/kms-go/kes"
	"go.uber.org/zap"
)

// certificates are what connections to KES are made with.
type certificates struct {
	identity *source[*tls.Certificate] // the client's own
	roots    *source[*x509.CertPool]   // which KES's are checked against
}

// newCertificates loads the certificates that c names.
func newCertificates(c Config) (certificates, error) {
	identity, err := newIdentity(c, time.Now)
	if err != nil {
		return certificates{}, err
	}
	roots, err := newRoots(c.CAPath)
	return certificates{identity, roots}, err
}

// kesIdentity returns what KES calls this client.
func (c certificates) kesIdentity() kes.Identity { return kesIdentity(c.identity.get()) }

// refresh loads what has changed again, and reports whether anything had.
func (c certificates) refresh(log *zap.Logger) bool {
	roots := c.roots.refresh(log)
	return c.identity.refresh(log) || roots
}

// tlsConfig returns the settings of connections with the certificates of now.
func (c certificates) tlsConfig() *tls.Config {
	cert := c.identity.get()
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    c.roots.get(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cert, nil // whatever CA the server names: KES goes by the public key
		},
	}
}
