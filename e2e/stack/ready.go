package stack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// A probe checks whether a service is healthy.
type probe func(ctx context.Context) error

// wait calls the probe until it returns nil. It gives up when ctx or the
// process ends.
func (p probe) wait(ctx context.Context, exited <-chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		last := p(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-exited:
			return ErrExited
		case <-ctx.Done():
			return errors.Join(ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// httpOK returns a probe that expects status 200 from url.
func httpOK(client *http.Client, url string) probe {
	return httpStatus(client, url, http.StatusOK)
}

// httpStatus returns a probe that expects the given status from url.
func httpStatus(client *http.Client, url string, want int) probe {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		if resp.StatusCode != want {
			return fmt.Errorf("%s: %s %s", url, resp.Status, body)
		}
		return nil
	}
}

// listens returns a probe that connects to a TCP address.
func listens(addr string) probe {
	return func(ctx context.Context) error {
		d := net.Dialer{Timeout: 10 * time.Second}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// HTTPClient returns a client with its own connections. It trusts the
// certificates in the PEM file caFile, or the system's if caFile is empty.
func HTTPClient(caFile string) (*http.Client, error) {
	t := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("stack: %s holds no certificate", caFile)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t}, nil
}

// Ports are below the range that Linux uses for outgoing connections. So a free
// port stays free until its service listens, and is never handed out twice in
// one program. Programs that run at the same time take ports from different
// blocks.
const (
	firstPort, lastPort = 20000, 32000
	portBlock           = 100
)

var ports = struct {
	sync.Mutex
	next   int
	blocks []net.Listener // claims of the latest blocks
}{next: firstPort + os.Getpid()*portBlock%(lastPort-firstPort) - 1}

// freeAddr returns a loopback address, host:port, on which no program listens.
func freeAddr() (string, error) {
	ports.Lock()
	defer ports.Unlock()
	for range lastPort - firstPort {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(nextPort()))
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("stack: no free loopback port")
}

// nextPort returns the next port of a block that no other program has claimed,
// or any if all blocks are claimed. A claim is a Unix socket with an abstract
// name, which ends with the program.
func nextPort() int {
	for range (lastPort - firstPort) / portBlock {
		if ports.next++; ports.next >= lastPort {
			ports.next = firstPort
		}
		if ports.next%portBlock != 0 {
			break
		}
		claim, err := net.Listen("unix", fmt.Sprintf("@ssegw-e2e-ports-%d", ports.next))
		if err == nil {
			ports.blocks = append(ports.blocks, claim)
			if len(ports.blocks) > 2 { // services listen on the ports of older blocks
				_ = ports.blocks[0].Close()
				ports.blocks = ports.blocks[1:]
			}
			break
		}
		ports.next += portBlock - 1
	}
	return ports.next
}

// FreeAddr returns a loopback address on which no program listens. Other calls
// do not return it soon.
func FreeAddr() (string, error) { return freeAddr() }
