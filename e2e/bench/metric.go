package main

import (
	"fmt"
	"math"
	"time"
)

const (
	gib = 1 << 30
	mib = 1 << 20
)

// A metric is a column of the tables.
type metric struct {
	name   string
	digits int
	of     func(r *result) float64 // NaN: not known
}

// perRequest is a metric for each request.
func perRequest(of func(usage) float64) func(*result) float64 {
	return func(r *result) float64 {
		return r.median(func(b batch) float64 { return of(b.used) / float64(len(b.latencies)) })
	}
}

// latency is a percentile in milliseconds.
func latency(p float64) func(*result) float64 {
	return func(r *result) float64 { return float64(r.percentile(p)) / float64(time.Millisecond) }
}

// requestRate is requests a second.
func requestRate(r *result) float64 {
	return r.median(func(b batch) float64 { return float64(len(b.latencies)) / b.wall.Seconds() })
}

// cpuSeconds are CPU seconds of a request.
var cpuSeconds = perRequest(func(u usage) float64 { return u.cpu })

// known returns v, or NaN if it depends on bytes and the workload has none.
func known(r *result, v float64) float64 {
	if r.bytes() == 0 {
		return math.NaN()
	}
	return v
}

// The metrics, in the order of their columns.
var (
	metricBytes    = metric{"MiB/s", 0, func(r *result) float64 { return known(r, requestRate(r)*float64(r.bytes())/mib) }}
	metricRate     = metric{"requests/s", 0, requestRate}
	metricP50      = metric{"p50 ms", 2, latency(50)}
	metricP99      = metric{"p99 ms", 1, latency(99)}
	metricP999     = metric{"p99.9 ms", 1, latency(99.9)}
	metricCPUBytes = metric{"CPU s/GiB", 2, func(r *result) float64 { return known(r, cpuSeconds(r)*gib/float64(r.bytes())) }}
	metricCPU      = metric{"CPU s/1,000", 3, func(r *result) float64 { return cpuSeconds(r) * 1000 }}
	metricPeak     = metric{"peak MiB", 0, func(r *result) float64 { return r.median(func(b batch) float64 { return b.used.peak / mib }) }}
	metricAllocs   = metric{"allocations", 0, perRequest(func(u usage) float64 { return u.allocs })}
	metricStore    = metric{"store", 2, perRequest(func(u usage) float64 { return u.store })}
	metricKES      = metric{"KES", 3, perRequest(func(u usage) float64 { return u.kes })}

	costMetrics  = []metric{metricBytes, metricRate, metricP50, metricP99, metricP999, metricCPUBytes, metricCPU, metricPeak, metricAllocs, metricStore, metricKES}
	ratioMetrics = []metric{metricRate, metricP50, metricP99, metricP999, metricCPU, metricPeak, metricAllocs, metricStore}
)

// cell returns the cell for a value that may not be known.
func cell(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, v)
}
