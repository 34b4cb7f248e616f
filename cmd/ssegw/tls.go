package main

import (
	"crypto/tls"
	"sync"
	"time"

	"go.uber.org/zap"

	"ssegw/config/files"
)

// certificateMaxAge is how long a change of the certificate's files may go
// unnoticed.
const certificateMaxAge = 10 * time.Second

// certificate is the certificate for connections from clients.
type certificate struct {
	source *files.Source[*tls.Certificate]
	log    *zap.Logger

	mu      sync.Mutex
	checked time.Time // when the files were last looked at
}

func openCertificate(certFile, keyFile string, log *zap.Logger) (*certificate, error) {
	source, err := files.Open(&files.Source[*tls.Certificate]{
		What:  "TLS certificate",
		Files: func() ([]string, error) { return []string{certFile, keyFile}, nil },
		Load: func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(certFile, keyFile)
			if err != nil {
				return nil, files.Error("TLS certificate", certFile, err)
			}
			return &pair, nil
		},
	})
	return &certificate{source: source, log: log, checked: time.Now()}, err
}

// serverTLS returns the TLS configuration for connections from clients.
func serverTLS(certFile, keyFile string, log *zap.Logger) (*tls.Config, error) {
	c, err := openCertificate(certFile, keyFile, log)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}, nil
}

// get returns the current certificate. If the files cannot be read, for
// instance while they are being replaced, it returns the last one.
func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	isOld := time.Since(c.checked) > certificateMaxAge
	if isOld {
		c.checked = time.Now()
	}
	c.mu.Unlock()
	if isOld {
		c.source.Refresh(c.log)
	}
	return c.source.Get()
}
