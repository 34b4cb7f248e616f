package files

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

// Roots returns a source of CA certificates: the system's and those in path,
// which is a PEM file or a directory of PEM files. An empty path means only the
// system's. what names them in messages.
func Roots(what, path string) (*Source[*x509.CertPool], error) {
	return Open(&Source[*x509.CertPool]{
		What:  what,
		Files: func() ([]string, error) { return rootFiles(path) },
		Load:  func() (*x509.CertPool, error) { return loadRoots(path) },
	})
}

// loadRoots returns the system's roots and those in path. In a directory it
// skips subdirectories and files without certificates.
func loadRoots(path string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // minimal container images have none
	}
	if path == "" {
		return pool, nil
	}
	files, err := rootFiles(path)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, name := range files {
		n, err := addRoots(pool, name)
		if err != nil {
			return nil, err
		}
		total += n
	}
	if total == 0 {
		return nil, fmt.Errorf("CA path %s: no certificate found", path)
	}
	return pool, nil
}

// rootFiles returns path, or the files in it if it is a directory.
func rootFiles(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, Error("CA path", path, err)
	}
	if info.IsDir() {
		return regularFiles(path)
	}
	return []string{path}, nil
}

// regularFiles returns the files in a directory. It follows symbolic links,
// which mounted secrets use.
func regularFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, Error("CA path", dir, err)
	}
	var files []string
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		info, err := os.Stat(name)
		if err != nil {
			return nil, Error("CA file", name, err)
		}
		if info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	return files, nil
}

// addRoots adds the certificates in a PEM file to pool and returns their
// number. An invalid certificate is an error.
func addRoots(pool *x509.CertPool, name string) (int, error) {
	rest, err := os.ReadFile(name)
	if err != nil {
		return 0, Error("CA file", name, err)
	}
	for n := 0; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return n, nil
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return 0, fmt.Errorf("CA file %s: certificate %d: %w", name, n+1, err)
		}
		pool.AddCert(cert)
		n++
	}
}
