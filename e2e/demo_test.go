package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDemo runs the demo like make demo ONCE=1.
func TestDemo(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./demo", "-once")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"HEAD  1280 bytes", "aws:kms arn:aws:kms:demo-key", "LIST  letter.txt, 1280 bytes",
		"|Dear store, you |", "OK: 1280 bytes of plaintext came back whole", "Try it:", "/console/link?token=",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not print %q:\n%s", want, out)
		}
	}
	if n := strings.Count(string(out), "|Dear store, you |"); n != 1 {
		t.Errorf("the plaintext is shown %d times, want once", n)
	}
}
