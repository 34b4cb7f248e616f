package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"ssegw/e2e/stack"
)

// A workload is many equal requests, some of them at the same time.
type workload struct {
	group    string // its table
	op       operation
	size     int64 // bytes of each object
	scheme   scheme
	payload  payload
	parallel int
	tls      bool
	store    string   // "": the one that the options name
	ways     []string // the targets that it goes through
	floor    string   // the target that the gateway is compared with
	goal     goal
}

// A goal is what the gateway's CPU time may be, in multiples of the floor's. If
// it is of the latency, p50 is meant instead.
type goal struct {
	most      float64 // 0: none
	ofLatency bool
}

const kib = 1 << 10

// inFlight is how many requests there are at a time at the base points.
func inFlight(size int64) int {
	if size >= 64*mib {
		return 2
	}
	return 8
}

// Ways through which a workload goes.
var (
	allWays   = []string{nameDirect, nameBare, nameSio, nameOther, nameHTTP2, nameGateway}
	plainWays = []string{nameDirect, nameBare, nameOther, nameHTTP2, nameGateway} // sio does not apply
	listWays  = []string{nameDirect, nameBare, nameOther, nameGateway}            // what HTTP/2 has listed is not cold
	fewWays   = []string{nameBare, nameOther, nameGateway}
)

// A group is a table: the base points, or what changes if one dimension varies.
type group struct {
	name      string
	quick     bool // -quick measures it too
	workloads []workload
}

// Names of groups that plots show.
const (
	groupHTTP     = "Base points, http"
	groupHTTPS    = "Base points, https on both sides"
	groupInFlight = "Requests at a time"
)

// groups returns everything that is measured. A full cross product would take
// days. So each dimension varies by itself, around base points that are
// measured with both protocols: bucket keys, unsigned payloads, and as many
// requests at a time as inFlight tells. The default store has no latency of its
// own, so listings are compared with MinIO's.
func groups() []group {
	base := []workload{
		{op: opPut, size: 4 * kib, goal: goal{most: 1.40}},
		{op: opGet, size: 4 * kib, goal: goal{most: 1.30}},
		{op: opHead, size: 4 * kib, ways: plainWays, goal: goal{most: 1.25}},
		{op: opPut, size: mib, floor: nameSio},
		{op: opGet, size: mib, floor: nameSio},
		{op: opPut, size: 64 * mib, floor: nameSio, goal: goal{most: 1.00}},
		{op: opGet, size: 64 * mib, floor: nameSio, goal: goal{most: 1.00}},
		{op: opRange, size: 64 * mib, floor: nameSio, goal: goal{most: 1.25}},
		{op: opParts, size: 64 * mib, floor: nameSio},
		{op: opCopy, size: mib, ways: plainWays},
		{op: opDelete, ways: plainWays},
		{op: opCold, ways: listWays, parallel: 1, floor: nameDirect},
		{op: opWarm, ways: listWays, parallel: 1, floor: nameDirect},
	}
	small := []workload{{op: opPut, size: 4 * kib}, {op: opGet, size: 4 * kib}}
	large := []workload{{op: opPut, size: 64 * mib}, {op: opGet, size: 64 * mib}}
	lists := []workload{
		{op: opCold, ways: listWays, parallel: 1, floor: nameDirect, goal: goal{1.8, true}},
		{op: opWarm, ways: listWays, parallel: 1, floor: nameDirect, goal: goal{1.1, true}},
	}
	middling := []workload{{op: opPut, size: mib}, {op: opGet, size: mib}}
	all := []group{
		{groupHTTP, true, base},
		{groupHTTPS, true, vary(base, []bool{true}, func(w *workload, tls bool) {
			if w.tls = tls; w.goal.most == 1.00 {
				w.goal.most = 1.05
			}
		})},
		{"How objects are sealed", false, vary(slices.Concat(small, large[:1]), []scheme{plain, sseS3, sseKMS, bucketKeys, sseC}, func(w *workload, s scheme) { w.scheme = s })},
		{"How bodies are signed", false, vary([]workload{small[0], large[0]}, []payload{unsigned, signed, signedChunks, trailer}, func(w *workload, p payload) { w.payload = p })},
		{"In front of MinIO", false, vary(slices.Concat(small, large, lists), []string{stack.StoreMinIO}, func(w *workload, s string) { w.store = s })},
		{groupInFlight, false, vary(slices.Concat(small, middling), []int{1, 8, 64, 512}, func(w *workload, n int) { w.parallel = n })},
	}
	for i, g := range all {
		for j := range g.workloads {
			g.workloads[j].group = g.name
			g.workloads[j].complete(i > 1)
		}
	}
	return all
}

// vary returns each workload with each value of a dimension.
func vary[T any](workloads []workload, values []T, set func(*workload, T)) []workload {
	var out []workload
	for _, w := range workloads {
		for _, v := range values {
			set(&w, v)
			out = append(out, w)
		}
	}
	return out
}

// complete sets the dimensions that are at their base points.
func (w *workload) complete(few bool) {
	w.scheme = cmp.Or(w.scheme, bucketKeys)
	w.payload = cmp.Or(w.payload, unsigned)
	w.parallel = cmp.Or(w.parallel, inFlight(w.size))
	w.floor = cmp.Or(w.floor, nameBare)
	switch {
	case w.ways != nil:
	case few && w.store == "":
		w.ways = fewWays
	default:
		w.ways = allWays
	}
}

// name tells workloads of a group apart.
func (w workload) name() string {
	name := w.op.name
	if w.size > 0 && w.op.name != opRange.name {
		name += " " + sizeName(w.size)
	}
	if w.scheme != bucketKeys {
		name += ", " + string(w.scheme)
	}
	if w.payload != unsigned {
		name += ", " + w.payload.String()
	}
	if w.parallel != inFlight(0) {
		name += fmt.Sprintf(", %d at a time", w.parallel)
	}
	return name
}

// bytes is the payload of one request.
func (w workload) bytes() int64 {
	switch {
	case w.op.part > 0:
		return w.op.part
	case slices.Contains([]string{opPut.name, opGet.name, opParts.name}, w.op.name):
		return w.size
	}
	return 0
}

// length is how long a batch of the workload lasts, at least.
func (w workload) length(quick bool) time.Duration {
	if quick {
		return 100 * time.Millisecond
	}
	return 400 * time.Millisecond
}

func sizeName(n int64) string {
	if n >= mib {
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return fmt.Sprintf("%d KiB", n/kib)
}
