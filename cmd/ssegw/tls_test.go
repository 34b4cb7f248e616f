package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ssegw/kms/kmstest"

	"go.uber.org/zap"
)

// newPair makes a certificate for name and its key, both as PEM.
func newPair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// certFiles are the files of a certificate. Each write gets a later modification
// time than the last, however coarse the clock of the file system is.
type certFiles struct {
	t         *testing.T
	cert, key string
	at        time.Time
}

func newFiles(t *testing.T, name string) *certFiles {
	dir := t.TempDir()
	f := &certFiles{t: t, cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key"), at: time.Now().Add(-time.Hour)}
	cert, key := newPair(t, name)
	f.write(f.cert, cert)
	f.write(f.key, key)
	return f
}

func (f *certFiles) write(path string, content []byte) {
	f.t.Helper()
	f.at = f.at.Add(time.Minute)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chtimes(path, f.at, f.at); err != nil {
		f.t.Fatal(err)
	}
}

// pool returns a pool of the certificate alone.
func (f *certFiles) pool() *x509.CertPool {
	f.t.Helper()
	pool := x509.NewCertPool()
	cert, err := os.ReadFile(f.cert)
	if err != nil || !pool.AppendCertsFromPEM(cert) {
		f.t.Fatal("no certificate: ", err)
	}
	return pool
}

// shown returns the name in the certificate that a handshake shows.
func shown(t *testing.T, c *certificate) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.get().Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

func TestCertificateReload(t *testing.T) {
	t.Parallel()
	f := newFiles(t, "old.example.com")
	c, err := openCertificate(f.cert, f.key, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	expire := func() { c.checked = c.checked.Add(-2 * certificateMaxAge) }
	want := func(name, when string) {
		t.Helper()
		if got := shown(t, c); got != name {
			t.Errorf("%s: %s, want %s", when, got, name)
		}
	}
	want("old.example.com", "at first")

	cert, key := newPair(t, "new.example.com")
	f.write(f.cert, cert)
	want("old.example.com", "right after the change")
	expire()
	want("old.example.com", "with half of the new pair")
	f.write(f.key, key)
	want("old.example.com", "with half of the new pair, not yet looked at again")
	expire()
	want("new.example.com", "with the whole of it")

	if err := os.Remove(f.cert); err != nil {
		t.Fatal(err)
	}
	expire()
	want("new.example.com", "without a file")
	f.write(f.cert, []byte("rubbish"))
	expire()
	want("new.example.com", "with a damaged file")
	cert, key = newPair(t, "third.example.com")
	f.write(f.cert, cert)
	f.write(f.key, key)
	expire()
	want("third.example.com", "after the damage")
}

// TestTLS runs a gateway with a certificate. Clients get it, versions below TLS
// 1.2 are refused, and the health command works.
func TestTLS(t *testing.T) {
	t.Parallel()
	f := newFiles(t, "gw.example.com")
	store, kes := newStore(t), kmstest.NewServer(t)
	p := start(t, environment(store, kes, "SSEGW_TLS_CERT_FILE="+f.cert, "SSEGW_TLS_KEY_FILE="+f.key))
	pool := f.pool()
	conn, err := tls.Dial("tcp", p.address, &tls.Config{RootCAs: pool, ServerName: "gw.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	old, err := tls.Dial("tcp", p.address, &tls.Config{RootCAs: pool, ServerName: "gw.example.com", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		old.Close()
		t.Error("speaks TLS 1.1")
	}
	plain, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	plain.Close()
	env := environment(store, kes, "SSEGW_ADDRESS="+p.address, "SSEGW_TLS_CERT_FILE="+f.cert, "SSEGW_TLS_KEY_FILE="+f.key)
	if r := runCommand(t, env, "health"); r.status != 0 {
		t.Errorf("health: %+v", r)
	}
	p.signal(syscall.SIGTERM)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestServerTLSRefuses(t *testing.T) {
	t.Parallel()
	f, other := newFiles(t, "a.example.com"), newFiles(t, "b.example.com")
	for name, pair := range map[string][2]string{
		"missing":      {f.cert, f.key + ".missing"},
		"not one pair": {f.cert, other.key},
		"key, no cert": {f.key, f.key},
		"a folder":     {filepath.Dir(f.cert), f.key},
	} {
		if _, err := serverTLS(pair[0], pair[1], false, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "TLS certificate") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHTTP2 checks that clients that offer HTTP/2 get HTTP/1.1, unless
// SSEGW_HTTP2 is on.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	f := newFiles(t, "gw.example.com")
	store, kes := newStore(t), kmstest.NewServer(t)
	for setting, want := range map[string]string{"": "HTTP/1.1", "off": "HTTP/1.1", "on": "HTTP/2.0"} {
		p := start(t, environment(store, kes, "SSEGW_TLS_CERT_FILE="+f.cert, "SSEGW_TLS_KEY_FILE="+f.key, "SSEGW_HTTP2="+setting))
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: f.pool(), ServerName: "gw.example.com", MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true,
		}}
		resp, err := client.Get("https://" + p.address + "/minio/health/live")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		client.CloseIdleConnections()
		if resp.Proto != want || resp.StatusCode != http.StatusOK {
			t.Errorf("SSEGW_HTTP2=%s: %s %s, want %s 200", setting, resp.Proto, resp.Status, want)
		}
		p.signal(syscall.SIGTERM)
		p.wait()
	}
}

// TestSessionsAreResumed checks that a restart in place and a change of the
// certificate make no client begin a new TLS session.
func TestSessionsAreResumed(t *testing.T) {
	t.Parallel()
	f := newFiles(t, "gw.example.com")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	newConfig := func() *tls.Config {
		conf, err := serverTLS(f.cert, f.key, false, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		return conf
	}
	conf := newConfig()
	base := withTickets(func() *tls.Config { return conf })
	client := &tls.Config{RootCAs: f.pool(), ServerName: "gw.example.com", MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	connect := func() (resumed bool) {
		t.Helper()
		served := make(chan error, 1)
		go func() {
			conn, err := listener.Accept()
			if err == nil {
				_, err = tls.Server(conn, base).Write([]byte("x"))
				defer conn.Close()
			}
			served <- err
		}()
		conn, err := tls.Dial("tcp", listener.Addr().String(), client)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); err != nil { // the ticket comes before it
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		return conn.ConnectionState().DidResume
	}
	if connect() || !connect() {
		t.Fatal("want one session, begun by the first connection")
	}
	conf = newConfig()
	if !connect() {
		t.Error("not resumed after a restart in place")
	}
	cert, key := newPair(t, "gw.example.com")
	f.write(f.cert, cert)
	f.write(f.key, key)
	conf = newConfig()
	if !connect() {
		t.Error("not resumed after a change of the certificate")
	}
}
