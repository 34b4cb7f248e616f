package kms_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ssegw/kms"
	"ssegw/kms/kmstest"
)

// newOtherClient returns a client with its own API key.
func newOtherClient(t *testing.T, server *kmstest.Server) *kms.Client {
	t.Helper()
	key, err := kes.GenerateAPIKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	server.AddIdentity(key.Identity())
	config := server.Config()
	config.APIKey = key.String()
	return newClient(t, config)
}

// keyPair names the files of a client certificate.
type keyPair struct {
	certFile, keyFile string
	id                kes.Identity
}

// writeKeyPair generates a client certificate and writes it to dir, replacing
// any earlier one. If password is set, the key is encrypted.
func writeKeyPair(t *testing.T, dir, password string) keyPair {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "gateway"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, priv.Public(), priv)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}
	if password != "" {
		block, err = x509.EncryptPEMBlock(rand.Reader, block.Type, keyDER, []byte(password), x509.PEMCipherAES256) //nolint:staticcheck // what operators have
		if err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	p := keyPair{filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"), kes.Identity(hex.EncodeToString(sum[:]))}
	writeFile(t, p.certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, p.keyFile, pem.EncodeToMemory(block))
	return p
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestClientCertificateFiles(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"", "correct horse"} {
		server := kmstest.NewServer(t)
		pair := writeKeyPair(t, t.TempDir(), password)
		server.AddIdentity(pair.id)
		config := server.Config()
		config.APIKey, config.CertFile, config.KeyFile, config.KeyPassword = "", pair.certFile, pair.keyFile, password
		if err := newClient(t, config).Check(t.Context(), kmstest.DefaultKey); err != nil {
			t.Errorf("password %q: %v", password, err)
		}
	}
}

func TestClientCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	dir := t.TempDir()
	first := writeKeyPair(t, dir, "")
	server.AddIdentity(first.id)
	config := server.Config()
	config.APIKey, config.CertFile, config.KeyFile = "", first.certFile, first.keyFile
	core, logs := observer.New(zap.WarnLevel)
	config.Log = zap.New(core)
	client := newClient(t, config)
	check := func() error {
		client.Reload()
		client.Reload() // logs nothing new
		return client.Check(t.Context(), kmstest.DefaultKey)
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}

	writeFile(t, first.keyFile, []byte("half of a rotation"))
	if err := check(); err != nil {
		t.Errorf("the last certificate is not in use while the files do not match: %v", err)
	}
	if n := logs.Len(); n != 1 {
		t.Errorf("%d log lines, want 1: %v", n, logs.All())
	}
	second := writeKeyPair(t, dir, "")
	later := time.Now().Add(time.Minute) // file systems may have a coarse clock
	if err := os.Chtimes(second.certFile, later, later); err != nil {
		t.Fatal(err)
	}
	if err := check(); !errors.Is(err, kms.ErrNotAllowed) {
		t.Errorf("got %v, want ErrNotAllowed: the new certificate is not known yet, and connections of the old one are no longer used", err)
	}
	server.AddIdentity(second.id)
	if err := check(); err != nil {
		t.Errorf("new certificate: %v", err)
	}
	if err := os.Remove(second.keyFile); err != nil {
		t.Fatal(err)
	}
	if err := check(); err != nil {
		t.Errorf("the last certificate is not in use when a file is gone: %v", err)
	}
	if n := logs.Len(); n != 2 {
		t.Errorf("%d log lines, want 2: %v", n, logs.All())
	}
}

func TestCAPathIsReadAgain(t *testing.T) {
	t.Parallel()
	server, other := kmstest.NewServer(t), kmstest.NewServer(t)
	read := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, folder := range []bool{false, true} {
		dir := t.TempDir()
		file := filepath.Join(dir, "ca.pem")
		writeFile(t, file, read(server.CAFile()))
		config := server.Config()
		if config.CAPath = file; folder {
			config.CAPath = dir
		}
		client := newClient(t, config)
		check := func() error {
			client.Reload()
			return client.Check(t.Context(), config.DefaultKey)
		}
		if err := check(); err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, []byte("-----BEGIN CERTIFICATE-----\nhalf a file"))
		if err := check(); err != nil {
			t.Errorf("folder %v: the last roots are not in use while the file is no good: %v", folder, err)
		}
		writeFile(t, file, read(other.CAFile()))
		var unknown x509.UnknownAuthorityError
		if err := check(); !errors.Is(err, kms.ErrUnreachable) || !errors.As(err, &unknown) {
			t.Errorf("folder %v: got %v, want ErrUnreachable for an unknown authority, for existing connections, too", folder, err)
		}
		if folder { // the time of an additional file does not matter
			writeFile(t, filepath.Join(dir, "more.pem"), read(server.CAFile()))
		} else {
			replaced := filepath.Join(dir, "new")
			writeFile(t, replaced, read(server.CAFile()))
			if err := os.Rename(replaced, file); err != nil {
				t.Fatal(err)
			}
		}
		if err := check(); err != nil {
			t.Errorf("folder %v: the new roots are not in use: %v", folder, err)
		}
	}
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	dir := t.TempDir()
	pair := writeKeyPair(t, dir, "")
	locked := writeKeyPair(t, t.TempDir(), "hunter2")
	write := func(name, content string) string {
		name = filepath.Join(dir, name)
		writeFile(t, name, []byte(content))
		return name
	}
	notPEM := write("not.pem", "hello")
	badCert := write("bad.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n")
	pkcs8 := write("pkcs8.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n")
	twoKeys := write("two.pem", strings.Repeat("-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n", 2))
	empty := t.TempDir()
	missing := filepath.Join(dir, "missing")

	tests := []struct {
		name   string
		change func(*kms.Config)
		want   string
	}{
		{"no endpoint", func(c *kms.Config) { c.Endpoints = nil }, "no KES endpoint given"},
		{"http endpoint", func(c *kms.Config) { c.Endpoints = []string{"http://kes:7373"} }, "must begin with https://"},
		{"no default key", func(c *kms.Config) { c.DefaultKey = "" }, "default key: kms: invalid key name"},
		{"bad default key", func(c *kms.Config) { c.DefaultKey = "my.key" }, `"my.key"`},
		{"negative cache time", func(c *kms.Config) { c.CacheTTL = -1 }, "cache time"},
		{"negative interval", func(c *kms.Config) { c.SharedInterval = -1 }, "shared data keys"},
		{"negative uses", func(c *kms.Config) { c.SharedUses = -1 }, "shared data keys"},
		{"negative timeout", func(c *kms.Config) { c.Timeout = -1 }, "negative timeout"},
		{"no credentials", func(c *kms.Config) { c.APIKey = "" }, "neither an API key nor a client certificate"},
		{"both credentials", func(c *kms.Config) { c.CertFile, c.KeyFile = pair.certFile, pair.keyFile }, "both an API key and"},
		{"password beside API key", func(c *kms.Config) { c.KeyPassword = "x" }, "both an API key and"},
		{"bad API key", func(c *kms.Config) { c.APIKey = "kes:v1:hunter2" }, "invalid API key"},
		{"short API key", func(c *kms.Config) { c.APIKey = "aHVudGVyMg==" }, "invalid API key"},
		{"no key file", func(c *kms.Config) { c.APIKey, c.CertFile = "", pair.certFile }, "needs both"},
		{"no cert file", func(c *kms.Config) { c.APIKey, c.KeyFile = "", pair.keyFile }, "needs both"},
		{"missing cert file", func(c *kms.Config) { c.APIKey, c.CertFile, c.KeyFile = "", missing, pair.keyFile }, missing + ": no such file"},
		{"missing key file", func(c *kms.Config) { c.APIKey, c.CertFile, c.KeyFile = "", pair.certFile, missing }, missing + ": no such file"},
		{"key is not PEM", func(c *kms.Config) { c.APIKey, c.CertFile, c.KeyFile = "", pair.certFile, notPEM }, notPEM + ": no PEM"},
		{"two keys", func(c *kms.Config) { c.APIKey, c.CertFile, c.KeyFile = "", pair.certFile, twoKeys }, "more than one PEM block"},
		{"encrypted PKCS #8", func(c *kms.Config) { c.APIKey, c.CertFile, c.KeyFile = "", pair.certFile, pkcs8 }, "PKCS #8 is not supported"},
		{"key of another certificate", func(c *kms.Config) { c.APIKey, c.CertFile, c.KeyFile = "", server.CAFile(), pair.keyFile }, "private key does not match"},
		{"no password", func(c *kms.Config) { c.APIKey, c.CertFile, c.KeyFile = "", locked.certFile, locked.keyFile }, "password does not decrypt it"},
		{"wrong password", func(c *kms.Config) {
			c.APIKey, c.CertFile, c.KeyFile, c.KeyPassword = "", locked.certFile, locked.keyFile, "hunter3"
		}, "password does not decrypt it"},
		{"missing CA path", func(c *kms.Config) { c.CAPath = missing }, missing + ": no such file"},
		{"CA file without certificate", func(c *kms.Config) { c.CAPath = notPEM }, "no certificate found"},
		{"CA file with a bad certificate", func(c *kms.Config) { c.CAPath = badCert }, badCert},
		{"CA folder without certificate", func(c *kms.Config) { c.CAPath = empty }, "no certificate found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := server.Config()
			tt.change(&config)
			client, err := kms.New(config)
			if err == nil {
				client.Close()
				t.Fatal("no error")
			}
			if s := err.Error(); !strings.Contains(s, tt.want) || strings.Contains(s, "hunter") || strings.Contains(s, "\n") {
				t.Errorf("got %q, want one line with %q and no secret", s, tt.want)
			}
		})
	}
}

func TestAPIKeyWithoutPrefix(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	config := server.Config()
	config.APIKey = strings.TrimPrefix(config.APIKey, "kes:v1:")
	if err := newClient(t, config).Check(t.Context(), config.DefaultKey); err != nil {
		t.Error(err)
	}
}

func TestCAPath(t *testing.T) {
	t.Parallel()
	server, other := kmstest.NewServer(t), kmstest.NewServer(t)
	ca, err := os.ReadFile(server.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	otherCA, err := os.ReadFile(other.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "a.crt"), otherCA)
	writeFile(t, filepath.Join(folder, "README"), []byte("no certificate"))
	if err := os.Mkdir(filepath.Join(folder, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(folder, "..data", "b.crt"), ca)
	if err := os.Symlink(filepath.Join("..data", "b.crt"), filepath.Join(folder, "b.crt")); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	writeFile(t, bundle, append(otherCA, ca...))
	tests := []struct {
		name, path string
		trusted    bool
	}{
		{"file", server.CAFile(), true},
		{"bundle", bundle, true},
		{"folder", folder, true},
		{"another CA", other.CAFile(), false},
		{"system roots", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := server.Config()
			config.CAPath = tt.path
			err := newClient(t, config).Check(t.Context(), config.DefaultKey)
			var unknown x509.UnknownAuthorityError
			switch {
			case tt.trusted && err != nil:
				t.Error(err)
			case !tt.trusted && (!errors.Is(err, kms.ErrUnreachable) || !errors.As(err, &unknown)):
				t.Errorf("got %v, want ErrUnreachable for an unknown authority", err)
			}
		})
	}
}

// TestWrongPasswords: no wrong password counts as the right one, not even the
// one in 256 whose padding looks right.
func TestWrongPasswords(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	locked := writeKeyPair(t, t.TempDir(), "the right one")
	config := server.Config()
	config.APIKey, config.CertFile, config.KeyFile = "", locked.certFile, locked.keyFile
	for i := range 2000 {
		config.KeyPassword = fmt.Sprint(i)
		client, err := kms.New(config)
		if err == nil {
			client.Close()
			t.Fatal("no error")
		}
		if !strings.Contains(err.Error(), "password does not decrypt it") {
			t.Fatalf("%d: %v", i, err)
		}
	}
}
