package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"

	"github.com/minio/sio"
)

// A sealing bare proxy encrypts and decrypts bodies with sio in one pass, and
// does nothing else: it has one key, no headers, no checksums. It shows what
// encryption alone costs.
const (
	sioPackage = 64 << 10        // bytes of plaintext
	sioSealed  = sioPackage + 32 // bytes of ciphertext
)

// sioKey is the same in each process.
var sioKey = make([]byte, 32)

// sioConfig returns the configuration for a body that begins with a package.
func sioConfig(first uint32) sio.Config {
	return sio.Config{
		Key: sioKey, SequenceNumber: first, MinVersion: sio.Version20, MaxVersion: sio.Version20,
		CipherSuites: []byte{sio.AES_256_GCM},
	}
}

// sealBody encrypts the body of a request to the store, and makes its range
// one of whole packages.
func sealBody(r *httputil.ProxyRequest) {
	if r.In.Method == http.MethodPut && r.In.ContentLength > 0 {
		sealed, err := sio.EncryptReader(r.In.Body, sioConfig(0))
		size, sizeErr := sio.EncryptedSize(uint64(r.In.ContentLength))
		if err := errors.Join(err, sizeErr); err != nil {
			panic(err) // the configuration is a constant
		}
		r.Out.Body, r.Out.ContentLength = io.NopCloser(sealed), int64(size)
	}
	if first, last, ok := rangeOf(r.In); ok {
		r.Out = r.Out.WithContext(context.WithValue(r.Out.Context(), wantedRange{}, wantedRange{first, last}))
		r.Out.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first/sioPackage*sioSealed, (last/sioPackage+1)*sioSealed-1))
	}
}

// wantedRange is the range that the client asked for, in the context of the
// request to the store.
type wantedRange struct{ first, last int64 }

// openAnswer decrypts the body of an answer with an object.
func openAnswer(resp *http.Response) error {
	r := resp.Request
	if r.Method != http.MethodGet || resp.StatusCode >= 300 || r.URL.RawQuery != "" {
		return nil
	}
	var first, length int64
	if want, ok := r.Context().Value(wantedRange{}).(wantedRange); ok {
		first, length = want.first, want.last-want.first+1
	} else {
		size, err := sio.DecryptedSize(uint64(resp.ContentLength))
		if err != nil {
			return err
		}
		length = int64(size)
	}
	plain, err := sio.DecryptReader(resp.Body, sioConfig(uint32(first/sioPackage)))
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, plain, first%sioPackage); err != nil {
		return err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(plain, length), resp.Body}
	resp.ContentLength = length
	resp.Header.Set("Content-Length", strconv.FormatInt(length, 10))
	return nil
}

// rangeOf returns the first and last byte that a client asks for.
func rangeOf(r *http.Request) (first, last int64, ok bool) {
	n, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
	return first, last, n == 2 && err == nil
}

// bareTLS returns the TLS configuration of a bare proxy's server, or nil.
func bareTLS(o bareOptions) (*tls.Config, error) {
	if o.cert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}
