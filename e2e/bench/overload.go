package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ssegw/e2e/stack"
)

// Overload is twice the load that the gateway serves at its peak, in two kinds:
// twice the clients, which wait for answers and so slow down with the gateway,
// and requests at twice the rate, which arrive in any case.
const (
	peakTime     = 6 * time.Second
	overloadTime = time.Minute
	overloadSize = 4 << 10
	sdkTries     = 3 // attempts of one request in the SDKs' standard mode
)

// peakClients are how many clients try to find the peak.
var peakClients = []int{8, 16, 32, 64, 128}

// overloads are the loads that follow the peak.
var overloads = []struct {
	name  string
	tries int
	run   func(ctx context.Context, l *load, clients int, rate float64)
}{
	{"twice the clients", 1, func(ctx context.Context, l *load, clients int, _ float64) { l.closed(ctx, 2*clients) }},
	{"twice the rate, clients do not try again", 1, func(ctx context.Context, l *load, _ int, rate float64) { l.open(ctx, 2*rate) }},
	{"twice the rate, clients try again like SDKs", sdkTries, func(ctx context.Context, l *load, _ int, rate float64) { l.open(ctx, 2*rate) }},
}

// measureOverload finds the peak, and then prints what becomes of overload.
func (s *side) measureOverload(ctx context.Context) (err error) {
	join, err := s.split()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, join()) }()
	client, err := s.through().client.raw(ctx, request{
		method: http.MethodPut, bucket: sseKMS.bucket(), key: discarded + "overload", body: newContent(overloadSize),
	})
	if err != nil {
		return err
	}
	defer client.close()
	peak, clients, err := s.findPeak(ctx, client.do)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n### Overload, PUT of %d KiB, %s, %s\n\n", overloadSize>>10, sseKMS, protocol(s.tls))
	fmt.Fprint(s.out, overloadHead)
	row := func(name string, l *load, run func(*load)) error {
		fmt.Fprintf(os.Stderr, "overload: %s, for %v\n", name, l.length)
		w, err := s.watch(ctx, func() { run(l) })
		if err == nil {
			fmt.Fprint(s.out, overloadRow(name, l, peak, w))
		}
		return err
	}
	again := func(l *load) { l.closed(ctx, clients) }
	if err := row(fmt.Sprintf("peak: %d clients", clients), peak, again); err != nil {
		return err
	}
	for i, o := range overloads {
		if s.options.profile != "" {
			time.AfterFunc(overloadTime/3, func() { // of a part of the load, so its end is not waited for
				_ = s.fetchProfile(ctx, filepath.Join(s.options.profile, fmt.Sprintf("overload-%d.pprof", i+1)))
			})
		}
		rate := peak.rate()
		if err := row(o.name, newLoad(overloadTime, o.tries, client.do), func(l *load) { o.run(ctx, l, clients, rate) }); err != nil {
			return err
		}
	}
	if err := row("the peak again", newLoad(peakTime, 1, client.do), again); err != nil {
		return err
	}
	return s.measureRefusals(ctx)
}

// findPeak returns a new load, and the fewest clients that reach nearly the
// highest rate with it.
func (s *side) findPeak(ctx context.Context, do func(context.Context) error) (peak *load, clients int, err error) {
	rates := make([]float64, len(peakClients))
	for i, n := range peakClients {
		fmt.Fprintf(os.Stderr, "overload: %d clients\n", n)
		l := newLoad(peakTime/2, 1, do)
		l.closed(ctx, n)
		if rates[i] = l.rate(); rates[i] == 0 {
			return nil, 0, fmt.Errorf("no request was served: %s", l.refusals())
		}
	}
	best := slices.Max(rates)
	i := slices.IndexFunc(rates, func(r float64) bool { return r >= 0.95*best })
	return newLoad(peakTime, 1, do), peakClients[i], ctx.Err()
}

// refusals lists the answers that are not success, except those of some names.
func (l *load) refusals(except ...string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(l.answers)) {
		if name != "served" && !slices.Contains(except, name) {
			out = append(out, fmt.Sprintf("%d: %s", l.answers[name], name))
		}
	}
	if out == nil {
		return "0"
	}
	return strings.Join(out, ", ")
}

const overloadHead = "| load | served/s | of the peak | SlowDown/s | other errors | not sent | p50 ms | p99 ms | of the peak | health p99 ms | MiB: start, first half, second half | CPUs: gateway | KES | client and store |\n" +
	"|---|--:|--:|--:|---|--:|--:|--:|--:|--:|---|--:|--:|--:|\n"

// overloadRow is the row of a load in the table.
func overloadRow(name string, l, peak *load, w watched) string {
	half, slow := len(w.memory)/2, l.answers[slowDown]
	p99 := l.percentile(99)
	cpus := func(d time.Duration) float64 { return d.Seconds() / w.took.Seconds() }
	return fmt.Sprintf("| %s | %.0f | %.2f | %.0f | %s | %d | %s | %s | %.1f | %s | %d, %d, %d | %.2f | %.2f | %.2f |\n",
		name, l.rate(), l.rate()/peak.rate(), float64(slow)/w.took.Seconds(), l.refusals(slowDown), l.unsent,
		milliseconds(l.percentile(50)), milliseconds(p99), p99.Seconds()/peak.percentile(99).Seconds(), milliseconds(percentile(w.health, 99)),
		w.memory[0]/mib, slices.Max(w.memory[:half+1])/mib, slices.Max(w.memory[half:])/mib, cpus(w.gateway), cpus(w.kes), cpus(w.own))
}

// watched is what a watch saw.
type watched struct {
	memory            []int64         // resident, in bytes, in intervals of a second
	health            []time.Duration // latencies of health checks
	took              time.Duration
	gateway, kes, own time.Duration // CPU time
}

// watch looks at the gateway's memory and asks for its health and its metrics
// while f runs. It fails if the gateway does not answer.
func (s *side) watch(ctx context.Context, f func()) (w watched, err error) {
	client, err := stack.HTTPClient(s.gateway.CAFile)
	if err != nil {
		return w, err
	}
	client.Timeout = 10 * time.Second
	defer client.CloseIdleConnections()
	before, err := cpuTimes(s.gateway.Service, s.kes.Service)
	if err != nil {
		return w, err
	}
	start, done := time.Now(), make(chan struct{})
	go func() { defer close(done); f() }()
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for i := 0; ; i++ {
		if i%10 == 0 {
			u, err := s.gateway.Usage()
			if err != nil {
				return w, err
			}
			w.memory = append(w.memory, u.RSS)
			if _, err := scrape(ctx, s.gateway.AdminEndpoint+"/metrics"); err != nil {
				return w, err
			}
		}
		begin := time.Now()
		if err := ask(ctx, client, s.gateway.Endpoint+"/minio/health/live"); err != nil {
			return w, err
		}
		w.health = append(w.health, time.Since(begin))
		select {
		case <-ticks.C:
			continue
		case <-done:
		}
		w.took = time.Since(start)
		after, err := cpuTimes(s.gateway.Service, s.kes.Service)
		w.gateway, w.kes, w.own = after[0]-before[0], after[1]-before[1], after[2]-before[2]
		return w, err
	}
}

// ask makes a request whose answer is 200.
func ask(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
