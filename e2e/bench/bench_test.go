package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestThroughBareProxy sends objects through bare proxies to a sink, as a
// benchmark does, and checks that damage on the way is noticed.
func TestThroughBareProxy(t *testing.T) {
	for _, seal := range []bool{false, true} {
		t.Run(fmt.Sprintf("seal=%t", seal), func(t *testing.T) { throughBareProxy(t, seal) })
	}
}

func throughBareProxy(t *testing.T, seal bool) {
	body := newContent(3<<20 + 17)
	damaged := make([]byte, body.size)
	if _, err := io.ReadFull(body.reader(), damaged); err != nil {
		t.Fatal(err)
	}
	damaged[2<<20]++
	s := newSink()
	s.buckets[bucket] = map[string]*object{"get/damaged": {data: damaged}}
	store := httptest.NewServer(s)
	defer store.Close()
	handler, err := newBareHandler(bareOptions{target: store.URL, seal: seal})
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(handler)
	defer proxy.Close()

	c, err := newClient(proxy.URL, "key", "secret", "", false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.transport.CloseIdleConnections()
	if err := c.makeBucket(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	if err := c.put(t.Context(), "get/o", body); err != nil {
		t.Fatal(err)
	}
	if err := c.get(t.Context(), "get/o", body); err != nil {
		t.Error(err)
	}
	if err := c.getRange(t.Context(), "get/o", body, newContent(1<<20)); err != nil {
		t.Error(err)
	}
	if err := c.head(t.Context(), "get/o"); err != nil {
		t.Error(err)
	}
	if sealed := !bytes.HasPrefix(s.buckets[bucket]["get/o"].data, block[:100]); sealed != seal {
		t.Errorf("sealed %t", sealed)
	}
	if err := c.get(t.Context(), "get/damaged", body); err == nil || !seal && !errors.Is(err, errContent) {
		t.Errorf("a changed byte: %v", err)
	}
	if err := c.get(t.Context(), "get/other", body); err == nil || !strings.Contains(err.Error(), "NoSuchKey") {
		t.Errorf("a missing object: %v", err)
	}
	tg := &target{name: "bare", client: c}
	b, err := tg.run(t.Context(), workload{size: body.size, requests: 5, parallel: 2}, opPut, body)
	if err != nil || len(b.latencies) != 5 || b.wall <= 0 {
		t.Errorf("batch %+v, error %v", b, err)
	}
	for i, l := range b.latencies {
		if l <= 0 {
			t.Errorf("request %d was not made", i)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tg.run(ctx, workload{size: body.size, requests: 5, parallel: 2}, opPut, body); err == nil {
		t.Error("a failed batch is no error")
	}
}

// TestServeBare talks to the side of the bare proxy's process.
func TestServeBare(t *testing.T) {
	in, write := io.Pipe()
	read, out := io.Pipe()
	done := make(chan error)
	go func() {
		defer out.Close()
		done <- serveBare(bareOptions{target: "http://127.0.0.1:1"}, in, out)
	}()
	b := &bareProxy{in: write, out: bufio.NewReader(read)}
	address, err := b.out.ReadString('\n')
	if err != nil || !strings.HasPrefix(address, "127.0.0.1:") {
		t.Fatalf("address %q, %v", address, err)
	}
	cpu, err := b.cpu()
	if err != nil || cpu <= 0 {
		t.Errorf("CPU time %v, %v", cpu, err)
	}
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestContentRepeatsTheBlock(t *testing.T) {
	for _, size := range []int64{0, 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5<<20 + 3} {
		got, err := io.ReadAll(content{size: size}.reader())
		if err != nil || int64(len(got)) != size {
			t.Fatalf("%d of %d bytes, %v", len(got), size, err)
		}
		if n := min(size, 1<<20); !bytes.Equal(got[:n], block[:n]) || size > 1<<20 && got[1<<20] != block[0] {
			t.Errorf("%d bytes are not the block repeated", size)
		}
		if sum := checksum(0, got); sum != newContent(size).sum {
			t.Errorf("%d bytes: CRC32C %08x, want %08x", size, sum, newContent(size).sum)
		}
	}
}

func TestResultStatistics(t *testing.T) {
	ms := func(n ...int) (d []time.Duration) {
		for _, v := range n {
			d = append(d, time.Duration(v)*time.Millisecond)
		}
		return d
	}
	r := &result{batches: []batch{
		{wall: 3 * time.Second, latencies: ms(4, 2)}, {wall: time.Second, latencies: ms(1, 3)}, {wall: 9 * time.Second},
	}}
	seconds := func(b batch) float64 { return b.wall.Seconds() }
	if got := r.median(seconds); got != 3 {
		t.Errorf("median of three: %v", got)
	}
	r.batches = r.batches[:2]
	if got := r.median(seconds); got != 2 {
		t.Errorf("median of two: %v", got)
	}
	for p, want := range map[float64]time.Duration{0: ms(1)[0], 50: ms(3)[0], 99: ms(4)[0], 100: ms(4)[0]} {
		if got := r.percentile(p); got != want {
			t.Errorf("percentile %v: %v, want %v", p, got, want)
		}
	}
}

func TestResultsTable(t *testing.T) {
	w := workload{name: "1 GiB", size: 1 << 30, requests: 2, parallel: 4}
	of := func(name string, wall, cpu time.Duration) *result {
		return &result{op: opPut, target: name, batches: []batch{
			{wall: wall, cpu: cpu, latencies: []time.Duration{wall / 2, wall}, calls: calls{store: 3}},
		}}
	}
	got := resultsTable(w, []*result{
		of("direct", time.Second, 0), of(nameBare, 2*time.Second, time.Second), of(nameSio, 2*time.Second, 2*time.Second),
		of("gateway", 4*time.Second, 3*time.Second),
	})
	const want = `
### 1 GiB, 4 at a time

| operation | through | MB/s | of direct | p50 ms | p99 ms | p99.9 ms | CPU s/GiB | to bare | to bare + sio | store | KES |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
| PUT | direct | 2147 | 1.00 | 1000 | 1000 | 1000 | - | - | - | 1.50 | 0.00 |
| PUT | bare proxy | 1074 | 0.50 | 2000 | 2000 | 2000 | 0.50 | 1.00 | - | 1.50 | 0.00 |
| PUT | bare proxy + sio | 1074 | 0.50 | 2000 | 2000 | 2000 | 1.00 | 2.00 | 1.00 | 1.50 | 0.00 |
| PUT | gateway | 537 | 0.25 | 4000 | 4000 | 4000 | 1.50 | 3.00 | 1.50 | 1.50 | 0.00 |
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestKeysTable(t *testing.T) {
	got, err := keysTable(`goos: linux
BenchmarkDataKeys/generate/8/pool-2   	    1360	    297303 ns/op	      3365 calls/s	         0.4853 p50-ms	        33.67 p99-ms
BenchmarkDataKeys/unseal/64/HTTP2     	     943	    356802 ns/op	      2.803e+03 calls/s	        14.70 p50-ms	        95.45 p99-ms
PASS
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| generate | 8 | gateway's client | 3365 | 0.4853 | 33.67 |\n", "| unseal | 64 | bare HTTP/2 | 2.803e+03 | 14.70 | 95.45 |\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if _, err := keysTable("PASS"); !errors.Is(err, errNoFigures) {
		t.Errorf("got %v, want errNoFigures", err)
	}
}
