package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"
)

// store is the state that the servers of one cluster share.
type store struct {
	cert    tls.Certificate
	certPEM []byte
	apiKey  kes.APIKey

	mu       sync.Mutex
	keys     map[string]*key
	refused  map[string]bool
	admitted map[kes.Identity]bool
}

func newStore(t testing.TB) *store {
	t.Helper()
	apiKey, err := kes.GenerateAPIKey(nil)
	if err != nil {
		t.Fatalf("kmstest: %v", err)
	}
	cert, certPEM, err := newCertificate()
	if err != nil {
		t.Fatalf("kmstest: %v", err)
	}
	s := &store{
		cert:     cert,
		certPEM:  certPEM,
		apiKey:   apiKey,
		keys:     make(map[string]*key),
		refused:  make(map[string]bool),
		admitted: map[kes.Identity]bool{apiKey.Identity(): true},
	}
	s.create(DefaultKey, apiKey.Identity())
	return s
}

// newCertificate generates a self-signed server certificate for this host. It
// is its own CA, like the certificates that KES generates.
func newCertificate() (tls.Certificate, []byte, error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "kmstest"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, priv.Public(), priv)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func (s *store) get(name string) (*key, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.keys[name]
	return k, ok
}

func (s *store) create(name string, by kes.Identity) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.keys[name]; ok {
		return false
	}
	s.keys[name] = newKey(by)
	return true
}

func (s *store) remove(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.keys[name]
	delete(s.keys, name)
	return ok
}

func (s *store) list(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := []string{}
	for name := range s.keys {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *store) deny(name string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[name] = on
}

func (s *store) denied(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[name]
}

func (s *store) admit(id kes.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admitted[id] = true
}

func (s *store) knows(id kes.Identity) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.admitted[id]
}

// key is a KES key.
type key struct {
	secret    [32]byte
	id        string // 32 hex digits
	createdAt time.Time
	createdBy kes.Identity
}

func newKey(by kes.Identity) *key {
	k := &key{createdAt: time.Now().UTC(), createdBy: by}
	id := make([]byte, 16)
	rand.Read(k.secret[:])
	rand.Read(id)
	k.id = hex.EncodeToString(id)
	return k
}

// Sizes of the parts of a sealed data key. Its total length is that of KES: 124
// bytes for a data key of 32.
const (
	saltSize  = 16
	nonceSize = 12
)

// header returns the start of a sealed data key, as KES writes it in
// MessagePack: an array of five, the algorithm and the ID of the key. The
// random part follows.
func (k *key) header() []byte {
	return []byte("\x95\xa6AES256\xd9\x20" + k.id + "\xc4\x10")
}

// seal seals up to 239 bytes and binds them to context.
func (k *key) seal(plaintext, context []byte) []byte {
	salt, nonce := make([]byte, saltSize), make([]byte, nonceSize)
	rand.Read(salt)
	rand.Read(nonce)
	aead := k.aead(salt)
	return slices.Concat(k.header(), salt, []byte{0xc4, nonceSize}, nonce,
		[]byte{0xc4, byte(len(plaintext) + aead.Overhead())}, aead.Seal(nil, nonce, plaintext, context))
}

// open opens the result of seal. context must be the same.
func (k *key) open(sealed, context []byte) ([]byte, bool) {
	rest, ok := strings.CutPrefix(string(sealed), string(k.header()))
	if !ok || len(rest) < saltSize+2+nonceSize+2 {
		return nil, false
	}
	salt, rest := rest[:saltSize], rest[saltSize+2:]
	nonce, rest := rest[:nonceSize], rest[nonceSize+2:]
	plaintext, err := k.aead([]byte(salt)).Open(nil, []byte(nonce), []byte(rest), context)
	return plaintext, err == nil
}

func (k *key) aead(salt []byte) cipher.AEAD {
	mac := hmac.New(sha256.New, k.secret[:])
	mac.Write(salt)
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		panic("kmstest: " + err.Error()) // the key has 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("kmstest: " + err.Error()) // the block has 16 bytes
	}
	return aead
}
