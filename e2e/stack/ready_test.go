package stack

import (
	"fmt"
	"net"
	"testing"
)

// TestPortsOfOtherPrograms: no port comes from a block that another program has
// claimed, and none twice.
func TestPortsOfOtherPrograms(t *testing.T) {
	ports.Lock()
	next := (ports.next/portBlock + 1) * portBlock
	ports.Unlock()
	if next >= lastPort {
		next = firstPort
	}
	if other, err := net.Listen("unix", fmt.Sprintf("@ssegw-e2e-ports-%d", next)); err == nil { // unless another program already has it
		defer other.Close()
	}
	seen := map[string]bool{}
	for range 3 * portBlock {
		addr, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		var port int
		if _, err := fmt.Sscanf(addr, "127.0.0.1:%d", &port); err != nil || port >= next && port < next+portBlock || seen[addr] {
			t.Errorf("%s, %v", addr, err)
		}
		seen[addr] = true
	}
}
