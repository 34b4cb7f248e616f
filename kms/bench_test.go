package kms_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"

	"ssegw/kms"
	"ssegw/kms/kmstest"
)

// benchConfig returns a configuration for the KES server named in the
// environment, or for one in this process.
func benchConfig(b *testing.B) kms.Config {
	b.Helper()
	if endpoint := os.Getenv("BENCH_KES_ENDPOINT"); endpoint != "" {
		return kms.Config{
			Endpoints: []string{endpoint}, APIKey: os.Getenv("BENCH_KES_API_KEY"), CAPath: os.Getenv("BENCH_KES_CAPATH"),
			DefaultKey: "bench-key",
		}
	}
	return kmstest.NewServer(b).Config()
}

// dataKeys generates a data key or unseals one.
type dataKeys struct {
	generate func(context.Context, kms.Context) ([]byte, error)
	unseal   func(ctx context.Context, sealed []byte, kctx kms.Context) error
}

func throughPool(client *kms.Client) dataKeys {
	return dataKeys{
		generate: func(ctx context.Context, kctx kms.Context) ([]byte, error) {
			dk, err := client.Generate(ctx, client.DefaultKey(), kctx)
			return dk.Sealed, err
		},
		unseal: func(ctx context.Context, sealed []byte, kctx kms.Context) error {
			_, err := client.Unseal(ctx, client.DefaultKey(), sealed, kctx)
			return err
		},
	}
}

// throughBare is the simplest possible KES client: net/http with one transport
// and no timeout.
func throughBare(b *testing.B, config kms.Config, http2 bool) dataKeys {
	b.Helper()
	key, err := kes.ParseAPIKey(config.APIKey)
	if err != nil {
		b.Fatal(err)
	}
	cert, err := kes.GenerateCertificate(key)
	if err != nil {
		b.Fatal(err)
	}
	pem, err := os.ReadFile(config.CAPath)
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		Protocols:           protocols,
		MaxIdleConnsPerHost: 64,
	}
	b.Cleanup(transport.CloseIdleConnections)
	post := func(ctx context.Context, path string, in, out any) error {
		body, err := json.Marshal(in)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, config.Endpoints[0]+path+config.DefaultKey, bytes.NewReader(body))
		if err != nil {
			return err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", resp.Status, answer)
		}
		return json.Unmarshal(answer, out)
	}
	var out struct{ Plaintext, Ciphertext []byte }
	return dataKeys{
		generate: func(ctx context.Context, kctx kms.Context) ([]byte, error) {
			out := out
			err := post(ctx, "/v1/key/generate/", map[string][]byte{"context": kctx.Canonical()}, &out)
			return out.Ciphertext, err
		},
		unseal: func(ctx context.Context, sealed []byte, kctx kms.Context) error {
			out := out
			return post(ctx, "/v1/key/decrypt/", map[string][]byte{"ciphertext": sealed, "context": kctx.Canonical()}, &out)
		},
	}
}

// BenchmarkDataKeys compares the client with bare ones, for 1, 8 and 64
// concurrent callers.
func BenchmarkDataKeys(b *testing.B) {
	config := benchConfig(b)
	client, err := kms.New(config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	if err := client.Ensure(b.Context(), config.DefaultKey); err != nil {
		b.Fatal(err)
	}
	kctx := kms.Context{"bucket": "bucket/some/object"}
	dk, err := client.Generate(b.Context(), config.DefaultKey, kctx)
	if err != nil {
		b.Fatal(err)
	}
	for _, op := range []string{"generate", "unseal"} {
		for _, callers := range []int{1, 8, 64} {
			for _, way := range []struct {
				name string
				keys dataKeys
			}{{"pool", throughPool(client)}, {"HTTP1", throughBare(b, config, false)}, {"HTTP2", throughBare(b, config, true)}} {
				b.Run(fmt.Sprintf("%s/%d/%s", op, callers, way.name), func(b *testing.B) {
					callAtOnce(b, callers, func() (err error) {
						if op == "generate" {
							_, err = way.keys.generate(b.Context(), kctx)
							return err
						}
						return way.keys.unseal(b.Context(), dk.Sealed, kctx)
					})
				})
			}
		}
	}
}

// callAtOnce makes b.N calls, several at a time, and reports the rate and the
// latency. Some calls before that, which do not count, open the connections.
func callAtOnce(b *testing.B, callers int, call func() error) {
	b.Helper()
	run := func(n int) []time.Duration {
		took := make([]time.Duration, n)
		var next atomic.Int64
		var wait sync.WaitGroup
		for range callers {
			wait.Go(func() {
				for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
					start := time.Now()
					if err := call(); err != nil {
						b.Error(err)
						return
					}
					took[i] = time.Since(start)
				}
			})
		}
		wait.Wait()
		return took
	}
	run(4 * callers)
	b.ResetTimer()
	took := run(b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	slices.Sort(took)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(took[min(b.N-1, b.N*p/100)])/float64(time.Millisecond), fmt.Sprintf("p%d-ms", p))
	}
}
