package kms

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// watchInterval is how often certificates are looked at: whether their files have changed, or their end is near.
const watchInterval = 5 * time.Second

// source is something that connections are made with, and that can change. A change that cannot be used leaves the last good
// value, so that files replaced one after the other do no harm.
type source[T any] struct {
	what  string
	files func() ([]string, error) // what it is read from; nil for none
	load  func() (T, error)
	stale func(T) bool // whether it is to be loaded again though no file has changed; nil for never

	mu      sync.Mutex
	value   T
	seen    []os.FileInfo // of the files when they were read
	problem string        // that was logged
}

// newSource returns s with its value loaded.
func newSource[T any](s *source[T]) (*source[T], error) {
	_, err := s.reload()
	return s, err
}

// get returns the last good value.
func (s *source[T]) get() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value
}

// refresh loads the value again where that is due, and reports whether there is another one. What goes wrong is logged once.
func (s *source[T]) refresh(log *zap.Logger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err := s.reload()
	if err != nil {
		if problem := err.Error(); problem != s.problem {
			s.problem = problem
			log.Warn(s.what+" cannot be read again, the last one stays in use", zap.Error(err))
		}
		return false
	}
	s.problem = ""
	if changed {
		log.Info(s.what+" changed", zap.Int("files", len(s.seen)))
	}
	return changed
}

// reload loads the value if it never was, if a file has changed, or if it is stale.
func (s *source[T]) reload() (changed bool, err error) {
	seen, err := s.stat()
	if err != nil {
		return false, err
	}
	if s.seen != nil && slices.EqualFunc(seen, s.seen, sameVersion) && (s.stale == nil || !s.stale(s.value)) {
		return false, nil
	}
	value, err := s.load()
	if err != nil {
		return false, err
	}
	s.value, s.seen = value, seen
	return true, nil
}

// stat looks at the files. It returns no nil without an error.
func (s *source[T]) stat() ([]os.FileInfo, error) {
	infos := []os.FileInfo{}
	if s.files == nil {
		return infos, nil
	}
	names, err := s.files()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fileError(s.what, name, err)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// sameVersion reports whether a file was neither written nor replaced in between.
func sameVersion(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// tlsConfig is for connections with what the sources have now.
func tlsConfig(roots *source[*x509.CertPool], identity *source[*tls.Certificate]) *tls.Config {
	cert := identity.get()
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    roots.get(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cert, nil // whatever CA the server names: KES goes by the public key
		},
	}
}

// watch reloads the certificates until the client is closed.
func (c *Client) watch() {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.reload()
		case <-c.pool.ctx.Done():
			return
		}
	}
}

// reload makes connections anew when a certificate has changed, so that those of before do not outlive it.
func (c *Client) reload() {
	roots := c.roots.refresh(c.pool.log)
	if c.identity.refresh(c.pool.log) || roots {
		c.pool.reconnect(tlsConfig(c.roots, c.identity))
	}
}
