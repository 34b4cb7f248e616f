package stack

import (
	"os/exec"
	"strings"
	"testing"
)

// TestProgram checks that a program only sees its own settings, and that its
// error contains its output.
func TestProgram(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "/of/the/caller")
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.NewProgram(sh, map[string]string{"SETTING": "given"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(t.Context(), "-c", `printf %s "$SETTING,$AWS_CA_BUNDLE,$HOME,$PWD"`)
	if want := "given,," + p.Home() + "," + p.Home(); err != nil || out != want {
		t.Errorf("printed %q, error %v; want %q", out, err, want)
	}
	var text strings.Builder
	if err := p.Stream(t.Context(), strings.NewReader("piped"), &text, "-c", "cat"); err != nil || text.String() != "piped" {
		t.Errorf("passed on %q, %v", text.String(), err)
	}
	if out, err := p.Run(t.Context(), "-c", "echo so far; echo the reason >&2; exit 3"); out != "so far\n" ||
		err == nil || !strings.Contains(err.Error(), "exit status 3: the reason") {
		t.Errorf("a failure: printed %q, error %v", out, err)
	}
}
