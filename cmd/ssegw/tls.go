package main

import (
	"crypto/tls"
	"net/http"
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
func serverTLS(certFile, keyFile string, http2 bool, log *zap.Logger) (*tls.Config, error) {
	c, err := openCertificate(certFile, keyFile, log)
	if err != nil {
		return nil, err
	}
	protocols := []string{"http/1.1"}
	if http2 {
		protocols = []string{"h2", "http/1.1"}
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}, nil
}

// withTickets returns a configuration for all connections of an address. Each
// handshake uses what current returns, but the keys of the session tickets are
// those of the returned configuration. So clients can resume their sessions
// after a restart in place and after a change of the certificate.
func withTickets(current func() *tls.Config) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current(), nil },
	}
}

// http2Limits make HTTP/2 fit for uploads: a client may send 2 MiB of a body,
// in frames of up to 1 MiB, before the gateway has read any of it. So this is
// also the memory that an upload can hold.
var http2Limits = &http.HTTP2Config{
	MaxConcurrentStreams: 250, MaxReadFrameSize: 1 << 20,
	MaxReceiveBufferPerStream: 2 << 20, MaxReceiveBufferPerConnection: 4<<20 - 1,
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
