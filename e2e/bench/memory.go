package main

import (
	"context"
	"fmt"
	"os"
)

// huge is the workload for measuring memory.
var huge = workload{name: "1 GiB", size: 1 << 30, requests: 8, parallel: 8}

// memoryBound is the largest resident memory that the gateway may have, in
// bytes.
const memoryBound = 150 * mib

// measureMemory prints the peak of the gateway's resident memory while huge
// objects are uploaded, and while they are downloaded. It returns an error if a
// peak exceeds the limit.
func (r *side) measureMemory(ctx context.Context) error {
	t, body := r.through(), newContent(huge.size)
	if err := t.client.put(ctx, t.readKey(huge), body); err != nil {
		return err
	}
	fmt.Printf("\n### Gateway memory, %s, %d at a time\n\n", huge.name, huge.parallel)
	fmt.Print("| operation | resident before, MiB | peak, MiB | bound, MiB | MB/s | CPU s/GiB |\n|---|--:|--:|--:|--:|--:|\n")
	var err error
	for _, op := range []operation{opPut, opGet} {
		fmt.Fprintf(os.Stderr, "memory: %d x %s %s\n", huge.requests, huge.name, op)
		if e := r.gateway.ResetPeak(); e != nil {
			return e
		}
		before, e := r.gateway.Usage()
		if e != nil {
			return e
		}
		b, e := t.run(ctx, huge, op, body)
		if e != nil {
			return e
		}
		after, e := r.gateway.Usage()
		if e != nil {
			return e
		}
		fmt.Printf("| %s | %d | %d | %d | %.0f | %.2f |\n", op, before.RSS/mib, after.PeakRSS/mib, memoryBound/mib,
			byBytes.perSecond(b, huge), b.cpu.Seconds()/byBytes.amount(b, huge))
		if after.PeakRSS >= memoryBound {
			err = fmt.Errorf("resident memory of the gateway reached %d MiB during %s", after.PeakRSS/mib, op)
		}
	}
	return err
}
