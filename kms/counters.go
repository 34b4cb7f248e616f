package kms

import (
	"errors"
	"math"
	"net/http"
	"sync/atomic"
	"time"
)

// Results of a request to an endpoint, as EndpointState names them.
const (
	resultOK      = iota // 200
	resultRefused        // any other status but a 5xx
	resultFailed         // a connection error, a 5xx, an answer that makes no sense
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

// counters count what was sent to one endpoint.
type counters struct {
	requests [numOps][numResults]atomic.Uint64
	hedges   atomic.Uint64
	strikes  atomic.Uint64
	answers  histogram
	mean     atomic.Int64 // moving average of the answers' time, in nanoseconds
}

// histogram counts durations.
type histogram struct {
	buckets [len(latencyBounds) + 1]atomic.Uint64 // the last is for all above
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

// count takes note of one request.
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
		mean := c.mean.Load() // one that is lost to a race does not matter
		c.mean.Store(mean + (int64(ans.took)-mean)/8)
	}
}

// EndpointState is what the client has seen of one endpoint since it was made.
// Unlike Status it asks nobody.
type EndpointState struct {
	Endpoint string // https://host[:port]
	// Open says that the endpoint has failed, and that no probe has been
	// answered since: calls go to the others.
	Open bool
	// Err is why it is open, one short line without secrets; empty when it is
	// not.
	Err      string
	Requests []RequestCount
	Latency  Latency // of answers, from the dialing or the first byte sent to the last byte read
	// Hedges are requests to this endpoint because another one was slow.
	Hedges uint64
	// Strikes are calls that another endpoint answered first, though it was
	// asked later.
	Strikes uint64
}

// RequestCount says how many requests of an operation ended in one way. Those
// that never happened are left out.
type RequestCount struct {
	Op     string // generate, unseal, create, describe, list or version
	Result string // ok, refused (by KES), failed or timeout
	Count  uint64
}

// Latency is the time that answers took, or calls.
type Latency struct {
	Count   uint64
	Sum     time.Duration
	Buckets map[float64]uint64 // answers up to that many seconds; cumulative
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

// Quantile returns the upper bound of the bucket that the q-quantile of the
// answers' times is in, for q from 0 to 1. It is 0 without answers, and the
// largest bound for all above it.
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
