package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ssegw/e2e/stack"
)

// usage is what the process in the middle has used. What is not known is NaN.
type usage struct {
	cpu    float64 // seconds
	peak   float64 // resident memory in bytes, since the reset
	allocs float64
	store  float64 // requests to the store
	kes    float64 // requests to KES
}

// unknown is the usage of which nothing is known.
var unknown = usage{math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()}

// since returns the usage since an earlier one.
func (u usage) since(o usage) usage {
	return usage{u.cpu - o.cpu, u.peak, u.allocs - o.allocs, u.store - o.store, u.kes - o.kes}
}

// A process is one in the middle.
type process interface {
	// usage returns what it has used since its start. If reset is set, the peak
	// begins again.
	usage(ctx context.Context, reset bool) (usage, error)
}

// usage returns what the target's process has used, and the requests that the
// store has served. Nothing is known of a target without a process.
func (t *target) usage(ctx context.Context, reset bool) (u usage, err error) {
	u = unknown
	if t.process != nil {
		if u, err = t.process.usage(ctx, reset); err != nil {
			return u, err
		}
	}
	if t.sink != nil {
		u.store = float64(t.sink.requests.Load())
	}
	return u, nil
}

// gatewayProcess is our gateway.
type gatewayProcess struct {
	*stack.Gateway
	overhead float64 // allocations of one look at the metrics
}

// newGatewayProcess measures first what looking costs.
func newGatewayProcess(ctx context.Context, g *stack.Gateway) (*gatewayProcess, error) {
	p := &gatewayProcess{Gateway: g}
	var looks [4]usage
	for i := range looks {
		var err error
		if looks[i], err = p.usage(ctx, false); err != nil {
			return nil, err
		}
	}
	p.overhead = looks[3].allocs - looks[2].allocs
	return p, nil
}

func (p *gatewayProcess) usage(ctx context.Context, reset bool) (usage, error) {
	u, err := processUsage(p.PID, reset)
	if err != nil {
		return u, err
	}
	sums, err := scrape(ctx, p.AdminEndpoint+"/metrics")
	u.allocs, u.kes = sums["go_memstats_mallocs_total"], sums["ssegw_kes_requests_total"]
	if reset {
		u.allocs += p.overhead // so that the difference leaves it out
	}
	return u, err
}

// otherProcess is a gateway of which only the process ID is known.
type otherProcess int

func (p otherProcess) usage(_ context.Context, reset bool) (usage, error) {
	return processUsage(func() (int, error) { return int(p), nil }, reset)
}

// processUsage returns the CPU time and the memory of a process.
func processUsage(pid func() (int, error), reset bool) (usage, error) {
	id, err := pid()
	if err != nil {
		return unknown, err
	}
	if reset {
		if err := stack.ResetPeakOf(id); err != nil {
			return unknown, err
		}
	}
	of, err := stack.UsageOf(id)
	if err != nil {
		return unknown, err
	}
	u := unknown
	u.cpu, u.peak = of.CPU.Seconds(), float64(of.PeakRSS)
	return u, nil
}

// scrape returns the metrics of a URL, summed over their labels.
func scrape(ctx context.Context, url string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	sums := make(map[string]float64)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", url, err)
		}
		name, _, _ := strings.Cut(fields[0], "{")
		sums[name] += v
	}
	return sums, lines.Err()
}

// cpuTimes returns the CPU times of two services and of this program.
func cpuTimes(first, second *stack.Service) (times [3]time.Duration, err error) {
	for i, service := range [...]*stack.Service{first, second} {
		u, err := service.Usage()
		if err != nil {
			return times, err
		}
		times[i] = u.CPU
	}
	times[2], err = ownCPU()
	return times, err
}

// ownCPU returns the CPU time of this program.
func ownCPU() (time.Duration, error) {
	var own syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	return time.Duration(own.Utime.Nano() + own.Stime.Nano()), err
}
