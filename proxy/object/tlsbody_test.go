package object_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// TestBodiesOverTLS: a sealed body goes to the connection in pieces of whole
// packages, as it does without TLS, which makes records of 16 KiB of them.
func TestBodiesOverTLS(t *testing.T) {
	t.Parallel()
	const size = 12 << 20
	var arrived atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		arrived.Store(n)
	}))
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	var writes, small atomic.Int64
	send := func(conf *tls.Config) error {
		store := upstream.New(upstream.Config{Endpoint: endpoint, TLS: conf, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return sizedWrites{c, &writes, &small}, err
		}}).Anonymous(nil)
		body, sealed := sealedBody(t, size)
		o := upstream.Request{Method: http.MethodPut, Bucket: "b", Key: "k", Header: http.Header{}}
		o.Frame(body, sealed, upstream.FramingTrailer, nil)
		_, err := store.Exec(t.Context(), o)
		if err == nil && arrived.Load() != o.Size {
			t.Errorf("%d bytes arrived, want %d", arrived.Load(), o.Size)
		}
		return err
	}
	if err := send(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}); err != nil {
		t.Fatal(err)
	}
	// Records of 16 KiB, a rest of each piece of one or two packages, and some
	// for the handshake and the headers.
	if n, most := writes.Load(), int64(size/(16<<10)+size/sealer.PackageSize+20); n > most {
		t.Errorf("%d writes, want at most %d", n, most)
	}
	if n, most := small.Load(), int64(size/sealer.PackageSize+20); n > most {
		t.Errorf("%d writes of less than 8 KiB, want at most %d", n, most)
	}

	if err := send(nil); err == nil {
		t.Error("a certificate of an unknown authority is trusted")
	}
	if err := send(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "other.test"}); err == nil {
		t.Error("the certificate of another host is trusted")
	}
}

// sealedBody returns the sealed form of a body, and its length.
func sealedBody(t *testing.T, size int64) (io.Reader, int64) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	var key, root sealer.Key
	_, _ = random.Read(key[:])
	_, _ = random.Read(root[:])
	_, object, err := sealer.Seal(sealer.SealParams{
		Binding: sealer.Binding{Bucket: "b", Key: "k"}, Scheme: sealer.SSEC, DataKey: key,
		Root: sealer.Root{ID: sealer.RootID{1}, Key: root}, Size: size, Facts: sealer.Facts{},
	})
	if err != nil {
		t.Fatal(err)
	}
	body, err := object.SealBody(io.LimitReader(random, size), size)
	if err != nil {
		t.Fatal(err)
	}
	return body, sealer.SealedSize(size)
}

type sizedWrites struct {
	net.Conn
	writes, small *atomic.Int64
}

func (c sizedWrites) Write(p []byte) (int, error) {
	c.writes.Add(1)
	if len(p) < 8<<10 {
		c.small.Add(1)
	}
	return c.Conn.Write(p)
}
