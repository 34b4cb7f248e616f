package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"runtime/metrics"
	"strings"
	"sync"
	"time"
)

// bareProxy is this program running as a bare reverse proxy. It shows what a Go
// process in the middle costs that neither verifies nor seals. It ends when its
// standard input ends. It answers each line of its input with its CPU time so
// far, in nanoseconds, and how many objects it has allocated.
type bareProxy struct {
	endpoint string
	cmd      *exec.Cmd
	in       io.WriteCloser

	mu  sync.Mutex
	out *bufio.Reader
}

// bareOptions say what a bare proxy does.
type bareOptions struct {
	target string // URL of the store
	seal   bool   // encrypt and decrypt bodies with sio
	cert   string // file with the certificate to serve https with; "": http
	key    string // file with its key
	ca     string // file with the certificates to trust the store by; "": the system's
}

// startBare starts a bare proxy.
func startBare(o bareOptions) (*bareProxy, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-bare", o.target, fmt.Sprintf("-bare-seal=%t", o.seal), "-bare-cert", o.cert, "-bare-key", o.key, "-bare-ca", o.ca)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the bare proxy: %w", err)
	}
	b := &bareProxy{cmd: cmd, in: in, out: bufio.NewReader(out)}
	address, err := b.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the bare proxy: %w", err), b.Close())
	}
	b.endpoint = "http://" + strings.TrimSpace(address)
	if o.cert != "" {
		b.endpoint = "https://" + strings.TrimSpace(address)
	}
	return b, nil
}

// usage asks the proxy for its CPU time and its allocations.
func (b *bareProxy) usage(_ context.Context, reset bool) (usage, error) {
	u, err := processUsage(func() (int, error) { return b.cmd.Process.Pid, nil }, reset)
	if err != nil {
		return u, err
	}
	cpu, allocs, err := b.ask()
	u.cpu, u.allocs, u.kes = cpu.Seconds(), float64(allocs), 0
	return u, err
}

// ask returns what the proxy says about itself.
func (b *bareProxy) ask() (cpu time.Duration, allocs uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := io.WriteString(b.in, "usage\n"); err != nil {
		return 0, 0, fmt.Errorf("asking the bare proxy: %w", err)
	}
	if _, err := fmt.Fscanln(b.out, &cpu, &allocs); err != nil {
		return 0, 0, fmt.Errorf("asking the bare proxy: %w", err)
	}
	return cpu, allocs, nil
}

// Close ends the proxy.
func (b *bareProxy) Close() error {
	return errors.Join(b.in.Close(), b.cmd.Wait())
}

// serveBare is the side of the bare proxy's process. It serves until in ends.
func serveBare(o bareOptions, in io.Reader, out io.Writer) error {
	handler, err := newBareHandler(o)
	if err != nil {
		return err
	}
	conf, err := bareTLS(o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, TLSConfig: conf}
	defer func() { _ = server.Close() }()
	go func() {
		if conf != nil {
			_ = server.ServeTLS(l, "", "")
			return
		}
		_ = server.Serve(l)
	}()
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		used, err := ownCPU()
		if err != nil {
			return fmt.Errorf("reading the own usage: %w", err)
		}
		allocs := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
		metrics.Read(allocs)
		if _, err := fmt.Fprintln(out, used.Nanoseconds(), allocs[0].Value.Uint64()); err != nil {
			return err
		}
	}
	return nil
}

// newBareHandler changes neither path, query nor host, so that signatures stay
// valid, and without o.seal no body. Its buffers are as large as the gateway's.
func newBareHandler(o bareOptions) (http.Handler, error) {
	to, err := url.Parse(o.target)
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(o.ca, false)
	if err != nil {
		return nil, err
	}
	p := &httputil.ReverseProxy{
		Transport:  transport,
		BufferPool: bufferPool{},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.Out.Host = r.In.Host
			if o.seal {
				sealBody(r)
			}
		},
	}
	if o.seal {
		p.ModifyResponse = openAnswer
	}
	return p, nil
}

// bufferPool provides the pooled buffers to net/http/httputil.
type bufferPool struct{}

func (bufferPool) Get() []byte  { return buffers.Get().(*[bufferSize]byte)[:] }
func (bufferPool) Put(b []byte) { buffers.Put((*[bufferSize]byte)(b)) }
