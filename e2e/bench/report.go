package main

import (
	"fmt"
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
	fmt.Printf("store %s, %s, %d CPUs, %s, %s/%s, medians of %d rounds\n",
		o.store, o.encryption, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, o.rounds)
}

// unit is the unit of a workload's figures: bytes if the cost depends on them,
// otherwise requests.
type unit struct {
	rate, cost string
	perSecond  func(b batch, w workload) float64
	amount     func(w workload) float64 // amount of a batch in the unit of cost
	digits     int
}

var (
	byBytes = unit{
		rate: "MB/s", cost: "CPU s/GiB", digits: 2,
		perSecond: func(b batch, w workload) float64 {
			return float64(w.size) * float64(w.requests) / mb / b.wall.Seconds()
		},
		amount: func(w workload) float64 { return float64(w.size) * float64(w.requests) / gib },
	}
	byRequests = unit{
		rate: "requests/s", cost: "CPU s/1,000", digits: 3,
		perSecond: func(b batch, w workload) float64 { return float64(w.requests) / b.wall.Seconds() },
		amount:    func(w workload) float64 { return float64(w.requests) / 1000 },
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
// each other: direct, bare proxy, gateway.
func resultsTable(w workload, results []*result) string {
	u := unitOf(w)
	out := new(strings.Builder)
	fmt.Fprintf(out, "\n### %s, %d at a time\n\n", w.name, w.parallel)
	fmt.Fprintf(out, "| operation | through | %s | of direct | p50 ms | p99 ms | %s | to bare |\n", u.rate, u.cost)
	fmt.Fprintf(out, "|---|---|--:|--:|--:|--:|--:|--:|\n")
	var direct, bare float64
	var op operation
	for _, r := range results {
		rate := r.median(func(b batch) float64 { return u.perSecond(b, w) })
		cost := r.median(func(b batch) float64 { return b.cpu.Seconds() / u.amount(w) })
		if r.op != op {
			op, direct, bare = r.op, rate, 0
		} else if bare == 0 {
			bare = cost
		}
		fmt.Fprintf(out, "| %s | %s | %.0f | %.2f | %s | %s | %s |\n", r.op, r.target, rate, rate/direct,
			milliseconds(r.percentile(50)), milliseconds(r.percentile(99)), costCells(cost, bare, u.digits))
	}
	return out.String()
}

// costCells returns the cells for the CPU time and its ratio to the bare
// proxy's.
func costCells(cost, bare float64, digits int) string {
	if cost == 0 {
		return "- | -"
	}
	return fmt.Sprintf("%.*f | %.2f", digits, cost, cost/bare)
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 100 {
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}
