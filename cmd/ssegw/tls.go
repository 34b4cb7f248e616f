package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificate is a certificate that is reloaded when its files change.
type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time
	checked time.Time
}

// certificateMaxAge is how long a change of the files may go unnoticed.
const certificateMaxAge = 10 * time.Second

// serverTLS returns the TLS configuration for connections from clients.
func serverTLS(certFile, keyFile string) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if err := c.load(); err != nil {
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
	defer c.mu.Unlock()
	if time.Since(c.checked) > certificateMaxAge {
		c.checked = time.Now()
		if stamp, err := c.stamps(); err == nil && stamp != c.stamp {
			_ = c.load()
		}
	}
	return c.current
}

func (c *certificate) load() error {
	stamp, err := c.stamps()
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate %s: %w", c.certFile, err)
	}
	c.current, c.stamp, c.checked = &pair, stamp, time.Now()
	return nil
}

func (c *certificate) stamps() (stamp [2]time.Time, err error) {
	for i, file := range [...]string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return stamp, err
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}
