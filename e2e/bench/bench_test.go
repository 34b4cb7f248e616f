package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
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
	bucket := bucketKeys.bucket()
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
	kept := func(key string) request { return request{bucket: bucket, key: "get/" + key} }
	if err := c.put(t.Context(), kept("o"), body); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]request{"whole": kept("o"), "range": kept("o").with("Range", middle(body.size, mib))} {
		want := body
		if name == "range" {
			want = newContent(mib)
		}
		if err := c.get(t.Context(), r, want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if sealed := !bytes.HasPrefix(s.buckets[bucket]["get/o"].data, block[:100]); sealed != seal {
		t.Errorf("sealed %t", sealed)
	}
	if err := c.get(t.Context(), kept("damaged"), body); err == nil || !seal && !errors.Is(err, errContent) {
		t.Errorf("a changed byte: %v", err)
	}
	var refusal *answerError
	if err := c.get(t.Context(), kept("other"), body); !errors.As(err, &refusal) || refusal.code != "NoSuchKey" {
		t.Errorf("a missing object: %v", err)
	}
}

// TestOperations runs every operation of the benchmark once, in all framings,
// without a gateway.
func TestOperations(t *testing.T) {
	s := newSink()
	store := httptest.NewServer(s)
	defer store.Close()
	c, err := newClient(store.URL, "key", "secret", "", false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.transport.CloseIdleConnections()
	way := &target{name: nameDirect, client: c, sink: s}
	for _, row := range schemes {
		if err := way.makeBucket(t.Context(), row.bucket, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := way.fillPage(t.Context(), listBucket(1), ""); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups() {
		for _, w := range g.workloads {
			if w.size > mib {
				w.size = 16 * mib
			}
			if err := way.prepare(t.Context(), w); err != nil {
				t.Fatalf("%s, %s: %v", g.name, w.name(), err)
			}
			b, err := way.run(t.Context(), w, 1, 0)
			if err != nil {
				t.Fatalf("%s, %s: %v", g.name, w.name(), err)
			}
			if len(b.latencies) != w.parallel || b.wall <= 0 || b.used.store < float64(w.parallel) || !math.IsNaN(b.used.cpu) {
				t.Errorf("%s, %s: batch %+v", g.name, w.name(), b)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := way.run(ctx, workload{op: opPut, size: 1, scheme: plain, parallel: 2}, 1, 0); err == nil {
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
	cpu, allocs, err := b.ask()
	if err != nil || cpu <= 0 || allocs == 0 {
		t.Errorf("CPU time %v, %d allocations, %v", cpu, allocs, err)
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

// resultOf is a result of one batch of two requests.
func resultOf(w workload, target string, wall time.Duration, u usage) *result {
	return &result{workload: w, target: target, batches: []batch{{wall: wall, used: u, latencies: []time.Duration{wall / 2, wall}}}}
}

func TestTables(t *testing.T) {
	w := workload{op: opPut, size: 512 * mib, scheme: bucketKeys, payload: unsigned, parallel: 8, floor: nameSio, goal: goal{most: 1.5}}
	direct := unknown
	direct.store = 2
	results := []*result{
		resultOf(w, nameDirect, time.Second, direct),
		resultOf(w, nameBare, 2*time.Second, usage{1, 10 * mib, 100, 2, 0}),
		resultOf(w, nameSio, 2*time.Second, usage{2, 20 * mib, 200, 2, 0}),
		resultOf(w, nameGateway, 4*time.Second, usage{3, 50 * mib, 600, 3, 1}),
	}
	const cost = `
### Name

| what | through | MiB/s | requests/s | p50 ms | p99 ms | p99.9 ms | CPU s/GiB | CPU s/1,000 | peak MiB | allocations | store | KES |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
| PUT 512 MiB | direct | 1024 | 2 | 1000.00 | 1000.0 | 1000.0 | - | - | - | - | 1.00 | - |
| PUT 512 MiB | bare proxy | 512 | 1 | 2000.00 | 2000.0 | 2000.0 | 1.00 | 500.000 | 10 | 50 | 1.00 | 0.000 |
| PUT 512 MiB | bare proxy + sio | 512 | 1 | 2000.00 | 2000.0 | 2000.0 | 2.00 | 1000.000 | 20 | 100 | 1.00 | 0.000 |
| PUT 512 MiB | gateway | 256 | 0 | 4000.00 | 4000.0 | 4000.0 | 3.00 | 1500.000 | 50 | 300 | 1.50 | 0.500 |
`
	if got := costTable("Name", results); got != cost {
		t.Errorf("got\n%s\nwant\n%s", got, cost)
	}
	const ratio = `
### The gateway, in multiples of its floor

| what | protocol | floor | requests/s | p50 | p99 | p99.9 | CPU | peak MiB | allocations | store | goal |
|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
| PUT 512 MiB | http | bare proxy + sio | 0.50 | 2.00 | 2.00 | 2.00 | 1.50 | 2.50 | 3.00 | 1.50 | CPU 1.50: reached |
`
	if got := ratioTable(results); got != ratio {
		t.Errorf("got\n%s\nwant\n%s", got, ratio)
	}
}

func TestVerdicts(t *testing.T) {
	w := workload{op: opCold, floor: nameDirect, goal: goal{1.8, true}}
	fast, slow := resultOf(w, nameDirect, time.Second, unknown), resultOf(w, nameGateway, 2*time.Second, unknown)
	near := resultOf(w, nameGateway, 1804*time.Millisecond, unknown)
	noGoal := resultOf(workload{op: opCold, floor: nameDirect}, nameGateway, time.Second, unknown)
	cpu := resultOf(workload{op: opPut, floor: nameDirect, goal: goal{most: 1}}, nameGateway, time.Second, unknown)
	for _, tt := range []struct {
		of   comparison
		want string
	}{
		{comparison{slow, fast}, "p50 1.80: missed"},
		{comparison{near, fast}, "p50 1.80: reached"},
		{comparison{noGoal, fast}, "-"},
		{comparison{cpu, fast}, "CPU 1.00: missed"}, // not known
		{comparison{slow, resultOf(w, nameBare, time.Second, unknown)}, "-"},
	} {
		if got := tt.of.verdict(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestWorkloadsAreDistinct checks that no two rows of a table look the same.
func TestWorkloadsAreDistinct(t *testing.T) {
	for _, g := range groups() {
		seen := make(map[string]bool)
		for _, w := range g.workloads {
			if seen[w.name()] {
				t.Errorf("%s has %s twice", g.name, w.name())
			}
			seen[w.name()] = true
			if w.ways[len(w.ways)-1] != nameGateway {
				t.Errorf("%s, %s: the gateway is not the last way", g.name, w.name())
			}
		}
	}
}

// TestLoad checks the counting of a load against a server that refuses each
// second attempt.
func TestLoad(t *testing.T) {
	var calls atomic.Int64
	l := newLoad(time.Hour, 2, func(context.Context) error {
		if calls.Add(1)%2 == 0 {
			return &answerError{status: 503, code: "SlowDown"}
		}
		return nil
	})
	l.start = time.Now()
	l.tries = 1
	for range 4 {
		l.request(t.Context())
	}
	l.do = func(context.Context) error { return &answerError{status: 500} }
	l.request(t.Context())
	l.do = func(context.Context) error { return io.EOF }
	l.request(t.Context())
	if got, want := l.refusals(), "1: 500 without a code, 2: 503 SlowDown, 1: no answer"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := l.refusals(slowDown); strings.Contains(got, "SlowDown") {
		t.Errorf("got %q", got)
	}
	if len(l.served) != 2 || l.goodput != 2 || l.answers["served"] != 2 {
		t.Errorf("%+v", l)
	}
}

// TestRawClient sends a request that was signed once, twice.
func TestRawClient(t *testing.T) {
	s := newSink()
	s.buckets["plain"] = map[string]*object{}
	store := httptest.NewServer(s)
	defer store.Close()
	c, err := newClient(store.URL, "key", "secret", "", false)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.raw(t.Context(), request{method: http.MethodPut, bucket: "plain", key: "get/o", body: newContent(100)})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.close()
	for range 2 {
		if err := raw.do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(raw.idle) != 1 || len(s.buckets["plain"]["get/o"].data) != 100 {
		t.Errorf("%d idle connections, objects %v", len(raw.idle), s.buckets["plain"])
	}
	delete(s.buckets, "plain")
	var refusal *answerError
	if err := raw.do(t.Context()); !errors.As(err, &refusal) || refusal.code != "NoSuchBucket" {
		t.Errorf("got %v", err)
	}
}

func TestChapters(t *testing.T) {
	text := "# Title\n\n<!-- bench cost -->\nold\n<!-- end of bench cost -->\nafter\n"
	got, err := replaceChapter([]byte(text), "cost", []byte("\n| new |\n"))
	const want = "# Title\n\n<!-- bench cost -->\n\n| new |\n\n<!-- end of bench cost -->\nafter\n"
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	again, err := replaceChapter(got, "cost", []byte("| new |"))
	if err != nil || string(again) != want {
		t.Errorf("again: got %q, %v", again, err)
	}
	if _, err := replaceChapter([]byte(text), "other", nil); !errors.Is(err, errMarkers) {
		t.Errorf("no markers: %v", err)
	}
}

// TestDocumentHasChapters checks that -update finds its places.
func TestDocumentHasChapters(t *testing.T) {
	text, err := os.ReadFile("../../" + document)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range measurements {
		if _, err := replaceChapter(text, m.name, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestPlots(t *testing.T) {
	var results []*result
	for _, g := range groups() {
		for i, w := range g.workloads {
			for j, way := range w.ways {
				results = append(results, resultOf(w, way, time.Duration(i+j+1)*time.Millisecond, usage{cpu: float64(i + j + 1)}))
			}
		}
	}
	dir := t.TempDir()
	if err := writePlots(dir, results); err != nil {
		t.Fatal(err)
	}
	for _, p := range plots {
		svg, err := os.ReadFile(filepath.Join(dir, p.file))
		if err != nil || !bytes.Contains(svg, []byte("<svg")) || !bytes.Contains(svg, []byte("gateway")) {
			t.Errorf("%s: %.100q, %v", p.file, svg, err)
		}
	}
	if err := writePlots(dir, nil); !errors.Is(err, errNothing) {
		t.Errorf("no results: %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []options{
		{what: "cost,nothing", rounds: 1}, {rounds: 0}, {quick: true, update: true}, {rounds: 1, other: login{endpoint: "http://localhost"}},
	} {
		if err := o.check(); !errors.Is(err, errOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	o := options{quick: true}
	if err := o.check(); err != nil || !o.wants("cost", false) || o.wants("held", false) {
		t.Errorf("%+v, %v", o, err)
	}
	if err := o.set("SSEGW_LOG_LEVEL=warn"); err != nil || o.settings["SSEGW_LOG_LEVEL"] != "warn" {
		t.Errorf("settings %v, %v", o.settings, err)
	}
	if err := o.set("SSEGW_LOG_LEVEL"); !errors.Is(err, errOptions) {
		t.Errorf("a setting without a value: %v", err)
	}
	o = options{rounds: 1}
	if err := o.check(); err != nil || !o.wants("held", false) || o.wants("jobs", true) {
		t.Errorf("%+v, %v", o, err)
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
