package kms

import (
	"errors"
	"math"
	"net/http"
	"sync/atomic"
	"time"
)

// Results of a request to an endpoint. EndpointState uses their names.
const (
	resultOK      = iota // 200
	resultRefused        // any other status below 500
	resultFailed         // connection error, 5xx, or an invalid answer
	resultTimeout        // no answer in time
	numResults
)

var resultNames = [numResults]string{"ok", "refused", "failed", "timeout"}

// latencyBounds are the upper bounds of the latency histogram's buckets.
var latencyBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
}

// counters counts the requests to one endpoint.
type counters struct {
	requests [numOps][numResults]atomic.Uint64
	hedges   atomic.Uint64
	strikes  atomic.Uint64
	answers  histogram
	mean     atomic.Int64 // moving average of the answer time, in nanoseconds
}

// histogram is a histogram of durations.
type histogram struct {
	buckets [len(latencyBounds) + 1]atomic.Uint64 // the last one is for everything above the bounds
	sum     atomic.Int64                          // in nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) latency() Latency {
	l := Latency{Sum: time.Duration(h.sum.Load()), Buckets: make(map[float64]uint64, len(latencyBounds))}
	for i := range h.buckets {
		l.Count += h.buckets[i].Load()
		if i < len(latencyBounds) {
			l.Buckets[latencyBounds[i].Seconds()] = l.Count
		}
	}
	return l
}

// count records one request.
func (c *counters) count(o op, ans answer, err error) {
	res := resultOK
	switch {
	case errors.Is(err, errNoAnswer):
		res = resultTimeout
	case err != nil:
		res = resultFailed
	case ans.status != http.StatusOK:
		res = resultRefused
	}
	c.requests[o][res].Add(1)
	if res == resultTimeout || res == resultFailed {
		return
	}
	c.answers.observe(ans.took)
	if o != opVersion {
		mean := c.mean.Load() // losing an update to a race is harmless
		c.mean.Store(mean + (int64(ans.took)-mean)/8)
	}
}

// EndpointState is what the client has recorded about one endpoint since it was
// created. Unlike Status it makes no request.
type EndpointState struct {
	Endpoint string // https://host[:port]
	// Open reports that the endpoint has failed and no probe has succeeded
	// since. Calls go to the other endpoints.
	Open bool
	// Err is the reason why it is open: one short line without secrets. It is
	// empty if the endpoint is not open.
	Err      string
	Requests []RequestCount
	Latency  Latency // of answers: from dialing, or the first byte sent, to the last byte read
	// Hedges counts requests made to this endpoint because another was slow.
	Hedges uint64
	// Strikes counts calls that another endpoint answered first although it was
	// asked later.
	Strikes uint64
}

// RequestCount counts the requests of one operation with one result. Counts of
// zero are omitted.
type RequestCount struct {
	Op     string // generate, unseal, create, describe, list or version
	Result string // ok, refused (by KES), failed or timeout
	Count  uint64
}

// Latency is a histogram of the duration of answers or calls.
type Latency struct {
	Count   uint64
	Sum     time.Duration
	Buckets map[float64]uint64 // by upper bound in seconds; cumulative
}

func (c *counters) requestCounts() []RequestCount {
	var counts []RequestCount
	for o := range numOps {
		for res := range numResults {
			if n := c.requests[o][res].Load(); n > 0 {
				counts = append(counts, RequestCount{o.String(), resultNames[res], n})
			}
		}
	}
	return counts
}

// Quantile returns the upper bound of the bucket that contains the q-quantile,
// for q from 0 to 1. It returns 0 if there are no values, and the largest bound
// if the quantile exceeds all bounds.
func (l Latency) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(l.Count)))
	if l.Count == 0 {
		return 0
	}
	for _, bound := range latencyBounds {
		if l.Buckets[bound.Seconds()] >= max(rank, 1) {
			return bound
		}
	}
	return latencyBounds[len(latencyBounds)-1]
}
