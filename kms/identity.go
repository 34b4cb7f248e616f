package kms

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"ssegw/config/files"
	"time"

	"github.com/minio/kms-go/kes"
)

// newIdentity returns a source of the client certificate that c describes.
func newIdentity(c Config, now func() time.Time) (*files.Source[*tls.Certificate], error) {
	hasFiles := c.CertFile != "" || c.KeyFile != "" || c.KeyPassword != ""
	switch {
	case c.APIKey != "" && hasFiles:
		return nil, errors.New("kms: both an API key and a client certificate are given")
	case c.APIKey != "":
		key, err := kes.ParseAPIKey(c.APIKey)
		if err != nil {
			return nil, errors.New("kms: invalid API key") // the cause may quote part of the key
		}
		return files.Open(&files.Source[*tls.Certificate]{
			What:  "certificate of the API key for KES",
			Load:  func() (*tls.Certificate, error) { return apiKeyCertificate(key, now()) },
			Stale: func(cert *tls.Certificate) bool { return cert.Leaf.NotAfter.Sub(now()) <= renewBefore },
		})
	case !hasFiles:
		return nil, errors.New("kms: neither an API key nor a client certificate is given")
	case c.CertFile == "" || c.KeyFile == "":
		return nil, errors.New("kms: a client certificate needs both a certificate file and a key file")
	}
	password := []byte(c.KeyPassword)
	return files.Open(&files.Source[*tls.Certificate]{
		What:  "client certificate for KES",
		Files: func() ([]string, error) { return []string{c.CertFile, c.KeyFile}, nil },
		Load:  func() (*tls.Certificate, error) { return loadKeyPair(c.CertFile, c.KeyFile, password) },
	})
}

// kesIdentity returns the KES identity of cert: the SHA-256 of its public key,
// in hex.
func kesIdentity(cert *tls.Certificate) kes.Identity {
	sum := sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
	return kes.Identity(hex.EncodeToString(sum[:]))
}

const (
	// renewBefore is how long before expiry the certificate of an API key is
	// replaced. KES may check the dates. kes.GenerateCertificate makes
	// certificates that are valid for 90 days.
	renewBefore = 30 * 24 * time.Hour
	// clockSkew is how far the clock of KES may be behind ours.
	clockSkew = time.Hour
)

// apiKeyCertificate generates a certificate for an API key.
func apiKeyCertificate(key kes.APIKey, now time.Time) (*tls.Certificate, error) {
	cert, err := kes.GenerateCertificate(key, func(c *x509.Certificate) {
		c.NotAfter = now.Add(c.NotAfter.Sub(c.NotBefore)).UTC()
		c.NotBefore = now.Add(-clockSkew).UTC()
	})
	if err != nil {
		return nil, fmt.Errorf("kms: making a certificate from the API key: %w", err)
	}
	return &cert, nil
}

// loadKeyPair reads a certificate and a private key. The password decrypts the
// key if it is encrypted.
func loadKeyPair(certFile, keyFile string, password []byte) (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("kms: %w", files.Error("client certificate", certFile, err))
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("kms: %w", files.Error("client key", keyFile, err))
	}
	defer clear(keyPEM)
	block, rest := pem.Decode(bytes.TrimSpace(keyPEM))
	switch {
	case block == nil:
		return nil, fmt.Errorf("kms: client key %s: no PEM block", keyFile)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("kms: client key %s: more than one PEM block", keyFile)
	case block.Type == "ENCRYPTED PRIVATE KEY":
		return nil, fmt.Errorf("kms: client key %s: encrypted PKCS #8 is not supported, RFC 1423 encryption is", keyFile)
	}
	// RFC 1423 encryption is weak, but MinIO uses it, so operators have such
	// keys on disk.
	if x509.IsEncryptedPEMBlock(block) { //nolint:staticcheck // see above
		der, err := x509.DecryptPEMBlock(block, password) //nolint:staticcheck // see above
		defer clear(der)
		// The padding of one wrong key in 256 looks right.
		if err != nil || !isPrivateKey(der) {
			return nil, fmt.Errorf("kms: client key %s: the password does not decrypt it", keyFile)
		}
		keyPEM = pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der})
		defer clear(keyPEM)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("kms: client certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return &cert, nil
}

// isPrivateKey reports whether der is a private key that crypto/tls can read.
func isPrivateKey(der []byte) bool {
	_, pkcs1 := x509.ParsePKCS1PrivateKey(der)
	_, pkcs8 := x509.ParsePKCS8PrivateKey(der)
	_, ec := x509.ParseECPrivateKey(der)
	return pkcs1 == nil || pkcs8 == nil || ec == nil
}
