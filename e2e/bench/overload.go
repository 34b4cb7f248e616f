package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"ssegw/e2e/stack"
)

// Overload is twice the rate that the gateway serves at its peak. Requests
// arrive whether or not earlier ones were answered: clients that wait for
// answers would slow down with the gateway, and so hide the overload.
const (
	peakTime     = 8 * time.Second
	overloadTime = 60 * time.Second
	overloadSize = 4 << 10
	sdkTries     = 3 // attempts of one request in the SDKs' standard mode
)

// peakClients are how many clients try to find the peak.
var peakClients = []int{8, 16, 32, 64, 128, 256}

// measureOverload finds the peak, and then prints what becomes of twice its
// load, from clients that do and do not try again.
func (s *side) measureOverload(ctx context.Context) (err error) {
	join, err := s.split()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, join()) }()
	client, body := s.through().client, newContent(overloadSize)
	put := func(ctx context.Context) error {
		return client.put(ctx, request{bucket: sseKMS.bucket(), key: discarded + "overload"}, body)
	}
	fmt.Printf("\n### Overload, PUT of %d KiB, %s, %s\n\n", overloadSize>>10, sseKMS, protocol(s.tls))
	fmt.Print("| load | served/s | of the peak | SlowDown/s | other errors | not sent | p50 ms | p99 ms | of the peak | health p99 ms | MiB before, first half, second half |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	peak, clients, err := s.findPeak(ctx, put)
	if err != nil {
		return err
	}
	s.overloadRow(fmt.Sprintf("peak: %d clients in turn", clients), peak, peak, watched{})
	rate := 2 * peak.rate()
	for _, c := range []struct {
		name  string
		tries int
	}{{"clients that do not try again", 1}, {"clients that try again like SDKs", sdkTries}} {
		fmt.Fprintf(os.Stderr, "overload: %s, for %v\n", c.name, overloadTime)
		l := newLoad(overloadTime, c.tries, put)
		w, err := s.watch(ctx, func() { l.open(ctx, rate) })
		if err != nil {
			return err
		}
		s.overloadRow(fmt.Sprintf("%.0f/s, %s", rate, c.name), l, peak, w)
	}
	again := newLoad(peakTime, 1, put)
	again.closed(ctx, clients)
	s.overloadRow("the peak again", again, peak, watched{})
	return ctx.Err()
}

// findPeak returns the load of the fewest clients that reach nearly the highest
// rate.
func (s *side) findPeak(ctx context.Context, do func(context.Context) error) (peak *load, clients int, err error) {
	loads := make([]*load, len(peakClients))
	best := 0.0
	for i, n := range peakClients {
		fmt.Fprintf(os.Stderr, "overload: %d clients\n", n)
		warm := newLoad(time.Second, 1, do)
		warm.closed(ctx, n)
		loads[i] = newLoad(peakTime, 1, do)
		loads[i].closed(ctx, n)
		best = max(best, loads[i].rate())
	}
	i := slices.IndexFunc(loads, func(l *load) bool { return l.rate() >= 0.95*best })
	if i < 0 || best == 0 {
		return nil, 0, fmt.Errorf("no request was served: %s", loads[0].refusals())
	}
	return loads[i], peakClients[i], nil
}

// refusals lists the answers that are not success.
func (l *load) refusals() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(l.answers)) {
		if name != "served" {
			out = append(out, fmt.Sprintf("%d: %s", l.answers[name], name))
		}
	}
	if out == nil {
		return "0"
	}
	return strings.Join(out, ", ")
}

func (s *side) overloadRow(name string, l, peak *load, w watched) {
	health, memory := "-", "-"
	if len(w.memory) > 0 {
		half := len(w.memory) / 2
		health = milliseconds(percentile(w.health, 99))
		memory = fmt.Sprintf("%d, %d, %d", w.memory[0]/mib, slices.Max(w.memory[:half+1])/mib, slices.Max(w.memory[half:])/mib)
	}
	other := l.failures()
	fmt.Printf("| %s | %.0f | %.2f | %.0f | %d | %d | %s | %s | %.1f | %s | %s |\n", name, l.rate(), l.rate()/peak.rate(),
		float64(l.answers[slowDown])/l.length.Seconds(), other, l.unsent, milliseconds(l.percentile(50)), milliseconds(l.percentile(99)),
		l.percentile(99).Seconds()/peak.percentile(99).Seconds(), health, memory)
	if other > 0 {
		fmt.Fprintf(os.Stderr, "%s: not served: %s\n", name, l.refusals())
	}
}

// watched is what a watch saw.
type watched struct {
	memory []int64         // resident, in bytes, in intervals of a second
	health []time.Duration // latencies of health checks
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
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for i := 0; ; i++ {
		select {
		case <-done:
			return w, nil
		case <-ticks.C:
		}
		if i%10 == 0 {
			u, err := s.gateway.Usage()
			if err != nil {
				return w, err
			}
			w.memory = append(w.memory, u.RSS)
			if _, err := s.calls(ctx); err != nil {
				return w, err
			}
		}
		begin := time.Now()
		if err := ask(ctx, client, s.gateway.Endpoint+"/minio/health/live"); err != nil {
			return w, err
		}
		w.health = append(w.health, time.Since(begin))
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
