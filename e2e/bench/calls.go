package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// calls counts requests to the store and to KES. Those to the store are NaN
// unless it is the sink, which counts them.
type calls struct{ store, kes float64 }

func (c calls) minus(o calls) calls { return calls{c.store - o.store, c.kes - o.kes} }

// calls returns the requests so far.
func (r *side) calls(ctx context.Context) (c calls, err error) {
	c.store = math.NaN()
	if r.sink != nil {
		c.store = float64(r.sink.requests.Load())
	}
	c.kes, err = sumMetric(ctx, r.gateway.AdminEndpoint+"/metrics", "ssegw_kes_requests_total")
	return c, err
}

// sumMetric returns the sum of a metric over its labels.
func sumMetric(ctx context.Context, url, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", url, resp.Status)
	}
	sum := 0.0
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), name+"{") {
			continue
		}
		fields := strings.Fields(lines.Text())
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", url, err)
		}
		sum += v
	}
	return sum, lines.Err()
}
