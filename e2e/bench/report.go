package main

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"
)

const (
	gib = 1 << 30
	mib = 1 << 20
	mb  = 1e6
)

// printHead prints what was measured, and where.
func printHead(o options) {
	protocol := "http"
	if o.tls {
		protocol = "https on both sides"
	}
	fmt.Printf("store %s, %s, %s, %d CPUs, %s, %s/%s, medians of %d rounds\n",
		o.store, protocol, o.encryption, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, o.rounds)
}

// unit is the unit of a workload's figures: bytes if the cost depends on them,
// otherwise requests.
type unit struct {
	rate, cost string
	perSecond  func(b batch, w workload) float64
	amount     func(b batch, w workload) float64 // amount of a batch in the unit of cost
	digits     int
}

var (
	byBytes = unit{
		rate: "MB/s", cost: "CPU s/GiB", digits: 2,
		perSecond: func(b batch, w workload) float64 {
			return float64(w.size) * float64(len(b.latencies)) / mb / b.wall.Seconds()
		},
		amount: func(b batch, w workload) float64 { return float64(w.size) * float64(len(b.latencies)) / gib },
	}
	byRequests = unit{
		rate: "requests/s", cost: "CPU s/1,000", digits: 3,
		perSecond: func(b batch, _ workload) float64 { return float64(len(b.latencies)) / b.wall.Seconds() },
		amount:    func(b batch, _ workload) float64 { return float64(len(b.latencies)) / 1000 },
	}
)

// unitOf returns the unit of a workload.
func unitOf(w workload) unit {
	if w.size >= mib {
		return byBytes
	}
	return byRequests
}

// resultsTable returns a table in Markdown. Results of one operation follow
// each other, in the order of the targets.
func resultsTable(w workload, results []*result) string {
	u := unitOf(w)
	out := new(strings.Builder)
	fmt.Fprintf(out, "\n### %s, %d at a time\n\n", w.name, w.parallel)
	fmt.Fprintf(out, "| operation | through | %s | of direct | p50 ms | p99 ms | p99.9 ms | %s | to bare | to bare + sio | store | KES |\n", u.rate, u.cost)
	fmt.Fprintf(out, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	var direct, bare, sio float64
	var op operation
	for _, r := range results {
		rate := r.median(func(b batch) float64 { return u.perSecond(b, w) })
		cost := r.median(func(b batch) float64 { return b.cpu.Seconds() / u.amount(b, w) })
		if r.op != op {
			op, direct, bare, sio = r.op, rate, 0, 0
		}
		switch r.target {
		case nameBare:
			bare = cost
		case nameSio:
			sio = cost
		}
		per := func(of func(calls) float64) float64 {
			return r.median(func(b batch) float64 { return of(b.calls) / float64(len(b.latencies)) })
		}
		fmt.Fprintf(out, "| %s | %s | %.0f | %.2f | %s | %s | %s | %s | %s | %s | %s | %.2f |\n", r.op, r.target, rate, rate/direct,
			milliseconds(r.percentile(50)), milliseconds(r.percentile(99)), milliseconds(r.percentile(99.9)),
			ratioCell(cost, 1, u.digits), ratioCell(cost, bare, 2), ratioCell(cost, sio, 2),
			countCell(per(func(c calls) float64 { return c.store })), per(func(c calls) float64 { return c.kes }))
	}
	return out.String()
}

// ratioCell returns the cell for a cost as a multiple of another.
func ratioCell(cost, of float64, digits int) string {
	if cost == 0 || of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, cost/of)
}

// countCell returns the cell for a number that may not be known.
func countCell(n float64) string {
	if math.IsNaN(n) {
		return "-"
	}
	return fmt.Sprintf("%.2f", n)
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 100 {
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}
