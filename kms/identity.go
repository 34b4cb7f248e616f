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
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/minio/kms-go/kes"
	"go.uber.org/zap"
)

// identity is what the client shows KES: a source of client certificates, asked at every handshake.
type identity interface {
	certificate() (*tls.Certificate, error)
}

// newIdentity returns the identity that c describes, checked to be usable.
func newIdentity(c Config, log *zap.Logger) (identity, error) {
	hasFiles := c.CertFile != "" || c.KeyFile != "" || c.KeyPassword != ""
	switch {
	case c.APIKey != "" && hasFiles:
		return nil, errors.New("kms: both an API key and a client certificate are given")
	case c.APIKey != "":
		key, err := kes.ParseAPIKey(c.APIKey)
		if err != nil {
			return nil, errors.New("kms: invalid API key") // the cause may quote a part of it
		}
		id := &apiKeyIdentity{key: key, now: time.Now}
		_, err = id.certificate()
		return id, err
	case !hasFiles:
		return nil, errors.New("kms: neither an API key nor a client certificate is given")
	case c.CertFile == "" || c.KeyFile == "":
		return nil, errors.New("kms: a client certificate needs both a certificate file and a key file")
	}
	id := &fileIdentity{certFile: c.CertFile, keyFile: c.KeyFile, password: []byte(c.KeyPassword), log: log}
	_, err := id.certificate()
	return id, err
}

// kesIdentity returns what KES calls the holder of cert: the SHA-256 of its public key, in hex.
func kesIdentity(cert *tls.Certificate) kes.Identity {
	sum := sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
	return kes.Identity(hex.EncodeToString(sum[:]))
}

const (
	// renewBefore is how long before its end the certificate of an API key is replaced. KES can check the dates, and
	// kes.GenerateCertificate makes them valid for 90 days.
	renewBefore = 30 * 24 * time.Hour
	// clockSkew is by how much the clock of KES may be behind ours.
	clockSkew = time.Hour
)

// apiKeyIdentity makes certificates from an API key, a new one well before the last one ends.
type apiKeyIdentity struct {
	key kes.APIKey
	now func() time.Time

	mu   sync.Mutex
	cert *tls.Certificate
}

func (id *apiKeyIdentity) certificate() (*tls.Certificate, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	now := id.now()
	if id.cert != nil && id.cert.Leaf.NotAfter.Sub(now) > renewBefore {
		return id.cert, nil
	}
	cert, err := kes.GenerateCertificate(id.key, func(c *x509.Certificate) {
		c.NotAfter = now.Add(c.NotAfter.Sub(c.NotBefore)).UTC()
		c.NotBefore = now.Add(-clockSkew).UTC()
	})
	if err != nil {
		return nil, fmt.Errorf("kms: making a certificate from the API key: %w", err)
	}
	id.cert = &cert
	return id.cert, nil
}

// fileIdentity reads a certificate and its key from files, again when one of them has changed. A pair that cannot be read
// leaves the last good one in use, so that files replaced one after the other do no harm.
type fileIdentity struct {
	certFile, keyFile string
	password          []byte
	log               *zap.Logger

	mu      sync.Mutex
	cert    *tls.Certificate
	version [2]fileVersion
}

type fileVersion struct {
	modified time.Time
	size     int64
}

func (id *fileIdentity) certificate() (*tls.Certificate, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	version, err := id.stat()
	if err == nil && id.cert != nil && version == id.version {
		return id.cert, nil
	}
	var cert tls.Certificate
	if err == nil {
		cert, err = loadKeyPair(id.certFile, id.keyFile, id.password)
	}
	switch {
	case err == nil:
		id.cert, id.version = &cert, version
	case id.cert == nil:
		return nil, err
	default:
		id.log.Warn("client certificate for KES cannot be read again, the last one stays in use", zap.Error(err))
	}
	return id.cert, nil
}

func (id *fileIdentity) stat() ([2]fileVersion, error) {
	var v [2]fileVersion
	for i, name := range []string{id.certFile, id.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return v, fileError("client certificate", name, err)
		}
		v[i] = fileVersion{info.ModTime(), info.Size()}
	}
	return v, nil
}

// loadKeyPair reads a certificate and a private key that the password opens where it is encrypted.
func loadKeyPair(certFile, keyFile string, password []byte) (tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fileError("client certificate", certFile, err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fileError("client key", keyFile, err)
	}
	defer clear(keyPEM)
	block, rest := pem.Decode(bytes.TrimSpace(keyPEM))
	switch {
	case block == nil:
		return tls.Certificate{}, fmt.Errorf("kms: client key %s: no PEM block", keyFile)
	case len(bytes.TrimSpace(rest)) > 0:
		return tls.Certificate{}, fmt.Errorf("kms: client key %s: more than one PEM block", keyFile)
	case block.Type == "ENCRYPTED PRIVATE KEY":
		return tls.Certificate{}, fmt.Errorf("kms: client key %s: encrypted PKCS #8 is not supported, RFC 1423 encryption is", keyFile)
	}
	// RFC 1423 encryption is weak, but it is what MinIO takes, and so what is on operators' disks.
	if x509.IsEncryptedPEMBlock(block) { //nolint:staticcheck // see above
		der, err := x509.DecryptPEMBlock(block, password) //nolint:staticcheck // see above
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("kms: client key %s: the password does not open it", keyFile)
		}
		defer clear(der)
		keyPEM = pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der})
		defer clear(keyPEM)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("kms: client certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return cert, nil
}

// fileError names a file once, however err was made.
func fileError(what, name string, err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return fmt.Errorf("kms: %s %s: %w", what, name, err)
}
