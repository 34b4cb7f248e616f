package console

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"ssegw/kms"
	"ssegw/proxy/task"
)

// history holds what the plots show: counters of the last hour, a sample every
// ten seconds.
type history struct {
	metrics prometheus.Gatherer
	kms     *kms.Client

	mu      sync.Mutex
	samples []sample // the latest last; at most historySamples
}

const (
	historyEvery   = 10 * time.Second
	historySamples = 361 // an hour of differences
)

// sample holds counters at one time.
type sample struct {
	at     time.Time
	counts [seriesCount]float64
}

// The series of the plots. Each is the rate of a counter per second.
const (
	seriesGood     = iota // requests answered with a status below 400
	seriesRefused         // 400 to 499
	seriesFailed          // 500 and above
	seriesIn              // bytes of bodies from clients
	seriesOut             // bytes of bodies to clients
	seriesCalls           // calls of KES for data keys
	seriesHits            // data keys found in the cache
	seriesTampered        // integrity failures
	seriesCount
)

var seriesNames = [seriesCount]string{"good", "refused", "failed", "in", "out", "calls", "hits", "tampered"}

func newHistory(metrics prometheus.Gatherer, client *kms.Client) *history {
	h := &history{metrics: metrics, kms: client}
	h.take(time.Now())
	return h
}

// run takes samples until ctx ends.
func (h *history) run(ctx context.Context) {
	tick := time.NewTicker(historyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			_ = task.Guard(func() error { h.take(now); return nil }) // a sample that cannot be taken is left out
		}
	}
}

// take adds a sample, unless the counters cannot be read.
func (h *history) take(now time.Time) {
	counts, err := h.counters()
	if err != nil {
		return
	}
	s := sample{at: now, counts: counts}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == historySamples {
		copy(h.samples, h.samples[1:])
		h.samples = h.samples[:historySamples-1]
	}
	h.samples = append(h.samples, s)
}

func (h *history) counters() (counts [seriesCount]float64, err error) {
	families, err := h.metrics.Gather()
	if err != nil {
		return counts, err
	}
	for _, f := range families {
		switch f.GetName() {
		case "ssegw_http_requests_total":
			for _, m := range f.GetMetric() {
				counts[seriesOfStatus(label(m, "code"))] += m.GetCounter().GetValue()
			}
		case "ssegw_http_bytes_total":
			for _, m := range f.GetMetric() {
				series := seriesOut
				if label(m, "direction") == "in" {
					series = seriesIn
				}
				counts[series] += m.GetCounter().GetValue()
			}
		case "ssegw_integrity_failures_total":
			for _, m := range f.GetMetric() {
				counts[seriesTampered] += m.GetCounter().GetValue()
			}
		}
	}
	stats := h.kms.Stats()
	counts[seriesCalls], counts[seriesHits] = float64(stats.Calls.Count), float64(stats.CacheHits+stats.SharedUsed)
	return counts, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// seriesOfStatus returns the series of a status. 0 is a request that was
// aborted before an answer.
func seriesOfStatus(code string) int {
	switch {
	case strings.HasPrefix(code, "5"), code == "0":
		return seriesFailed
	case strings.HasPrefix(code, "4"):
		return seriesRefused
	}
	return seriesGood
}

// plots is the document that plots are drawn from.
type plots struct {
	Times  []int64              `json:"times"` // Unix seconds
	Series map[string][]float64 `json:"series"`
}

// plots returns the rates of the last hour.
func (h *history) plots() plots {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := plots{Times: []int64{}, Series: map[string][]float64{}}
	for i, name := range seriesNames {
		p.Series[name] = []float64{}
		for j := 1; j < len(h.samples); j++ {
			p.Series[name] = append(p.Series[name], rateOf(h.samples[j-1], h.samples[j], i))
		}
	}
	for _, s := range h.samples[min(1, len(h.samples)):] {
		p.Times = append(p.Times, s.at.Unix())
	}
	return p
}

func rateOf(from, to sample, series int) float64 {
	seconds := to.at.Sub(from.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return max(to.counts[series]-from.counts[series], 0) / seconds
}

// rates are the mean rates of a series.
type rates struct {
	Now    float64 // of the last ten seconds
	Recent float64 // of five minutes
	Hour   float64
	Total  float64 // count of the hour
}

// rates returns the rates of each series.
func (h *history) rates() (all [seriesCount]rates) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == 0 {
		return all
	}
	last := len(h.samples) - 1
	end := h.samples[last]
	for i := range all {
		all[i] = rates{
			Now:    rateOf(h.samples[max(last-1, 0)], end, i),
			Recent: rateOf(h.samples[max(last-int(5*time.Minute/historyEvery), 0)], end, i),
			Hour:   rateOf(h.samples[0], end, i),
			Total:  end.counts[i] - h.samples[0].counts[i],
		}
	}
	return all
}
