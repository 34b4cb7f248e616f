package main

import (
	"context"
	"fmt"
	"os"
)

// Memory is measured with huge objects.
const (
	hugeSize    = 1 << 30   // bytes of each
	hugeObjects = 8         // at a time
	memoryBound = 150 * mib // the largest resident memory that the gateway may have
)

// measureMemory prints the peak of the gateway's resident memory while huge
// objects are uploaded, and while they are downloaded. It returns an error if a
// peak exceeds the limit.
func (s *side) measureMemory(ctx context.Context) error {
	fmt.Fprintf(s.out, "\n### Gateway memory, 1 GiB, %d at a time\n\n", hugeObjects)
	fmt.Fprint(s.out, "| operation | peak, MiB | bound, MiB | MiB/s | CPU s/GiB |\n|---|--:|--:|--:|--:|\n")
	var missed error
	for _, w := range []workload{{op: opPut, size: hugeSize, parallel: hugeObjects}, {op: opGet, size: hugeSize, parallel: hugeObjects}} {
		w.complete(false)
		fmt.Fprintf(os.Stderr, "memory: %d x %s\n", hugeObjects, w.name())
		t := s.through()
		if err := t.prepare(ctx, w); err != nil {
			return err
		}
		b, err := t.run(ctx, w, 0, 0)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "| %s | %.0f | %d | %.0f | %.2f |\n", w.op.name, b.used.peak/mib, memoryBound/mib,
			float64(len(b.latencies)*hugeSize)/mib/b.wall.Seconds(), b.used.cpu/float64(len(b.latencies)))
		if b.used.peak >= memoryBound {
			missed = fmt.Errorf("%w: resident memory of the gateway reached %.0f MiB during %s", errLimit, b.used.peak/mib, w.name())
		}
	}
	return missed
}
