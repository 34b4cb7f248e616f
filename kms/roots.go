package kms

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

// loadRoots returns the system's roots and those of path, a PEM file or a folder of PEM files. Of a folder, files without any
// certificate and sub-folders are passed over.
func loadRoots(path string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a minimal container image has none
	}
	if path == "" {
		return pool, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError("CA path", path, err)
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = regularFiles(path); err != nil {
			return nil, err
		}
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
		return nil, fmt.Errorf("kms: CA path %s: no certificate found", path)
	}
	return pool, nil
}

// regularFiles returns the files of a folder, also those behind symbolic links, which is how mounted secrets appear.
func regularFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fileError("CA path", dir, err)
	}
	var files []string
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		info, err := os.Stat(name)
		if err != nil {
			return nil, fileError("CA file", name, err)
		}
		if info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	return files, nil
}

// addRoots adds the certificates of a PEM file to pool and returns how many there are. One that does not parse is an error.
func addRoots(pool *x509.CertPool, name string) (int, error) {
	rest, err := os.ReadFile(name)
	if err != nil {
		return 0, fileError("CA file", name, err)
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
			return 0, fmt.Errorf("kms: CA file %s: certificate %d: %w", name, n+1, err)
		}
		pool.AddCert(cert)
		n++
	}
}
