package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"time"
)

// printHead prints what was measured, and where.
func printHead(out io.Writer, o options) {
	fmt.Fprintf(out, "Store %s, %d CPUs, %s, %s/%s, medians of %d rounds.\n",
		o.store, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, o.rounds)
}

// costTable returns the table of a group in Markdown.
func costTable(name string, results []*result) string {
	head := []string{"what", "through"}
	for _, m := range costMetrics {
		head = append(head, m.name)
	}
	out := tableHead(name, 2, head)
	for _, r := range results {
		row := []string{r.name(), r.target}
		for _, m := range costMetrics {
			row = append(row, cell(m.of(r), m.digits))
		}
		tableRow(out, row)
	}
	return out.String()
}

// ratioTable returns the table of the gateway's figures as multiples of the
// floor's, with goals.
func ratioTable(results []*result) string {
	head := []string{"what", "protocol", "floor"}
	for _, m := range ratioMetrics {
		head = append(head, strings.TrimSuffix(strings.TrimSuffix(m.name, " ms"), " s/1,000"))
	}
	out := tableHead("The gateway, in multiples of its floor", 3, append(head, "goal"))
	for _, c := range comparisons(results) {
		row := []string{c.gateway.name(), c.protocol(), c.floor.target}
		for _, m := range ratioMetrics {
			row = append(row, cell(c.ratio(m), 2))
		}
		tableRow(out, append(row, c.verdict()))
	}
	return out.String()
}

// A comparison is the gateway beside its floor.
type comparison struct{ gateway, floor *result }

// comparisons pairs results of the gateway with those of their floors. The
// results of one workload follow one another, with the gateway's last.
func comparisons(results []*result) []comparison {
	var out []comparison
	var floor, bare *result
	for _, r := range results {
		switch r.target {
		case r.floor:
			floor = r
		case nameBare:
			bare = r
		case nameHTTP2, nameGateway:
			of := floor
			if of == nil {
				of = bare // no sio in front of a real store
			}
			out = append(out, comparison{r, of})
			if r.target == nameGateway {
				floor, bare = nil, nil
			}
		}
	}
	return out
}

func (c comparison) protocol() string {
	if c.gateway.target == nameHTTP2 {
		return "https, HTTP/2"
	}
	return protocol(c.gateway.tls)
}

func (c comparison) ratio(m metric) float64 { return m.of(c.gateway) / m.of(c.floor) }

// verdict tells whether the goal is reached.
func (c comparison) verdict() string {
	g := c.gateway.goal
	if g.most == 0 || c.gateway.target != nameGateway || c.floor.target != c.gateway.floor {
		return "-"
	}
	what, of := "CPU", metricCPU
	if g.ofLatency {
		what, of = "p50", metricP50
	}
	verdict := "reached"
	if ratio := c.ratio(of); math.IsNaN(ratio) || math.Round(ratio*100) > math.Round(g.most*100) {
		verdict = "missed"
	}
	return fmt.Sprintf("%s %.2f: %s", what, g.most, verdict)
}

// tableHead begins a table, whose first columns hold text.
func tableHead(name string, texts int, columns []string) *strings.Builder {
	out := new(strings.Builder)
	fmt.Fprintf(out, "\n### %s\n\n", name)
	tableRow(out, columns)
	out.WriteString("|" + strings.Repeat("---|", texts) + strings.Repeat("--:|", len(columns)-texts) + "\n")
	return out
}

func tableRow(out io.Writer, cells []string) {
	fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 100 {
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}
