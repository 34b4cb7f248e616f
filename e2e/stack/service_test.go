package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// shell returns a service that runs a line of shell. It is ready at once.
func shell(t *testing.T, line string) *Service {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	svc := &Service{cmd: command{name: "sh-1", path: sh, args: []string{"-c", line}, dir: t.TempDir()}}
	t.Cleanup(func() { _ = svc.Close() })
	return svc
}

func TestServiceLife(t *testing.T) {
	svc := shell(t, "exec sleep 600")
	if svc.Running() {
		t.Fatal("runs before it is started")
	}
	if err := svc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := svc.Start(t.Context()); err == nil {
		t.Error("a running service can be started again")
	}
	if u, err := svc.Usage(); err != nil || u.RSS <= 0 || u.PeakRSS < u.RSS {
		t.Errorf("usage %+v, %v", u, err)
	}
	if err := svc.Kill(); err != nil || svc.Running() {
		t.Errorf("killed: %v, running %v", err, svc.Running())
	}
	if err := svc.Kill(); !errors.Is(err, ErrExited) {
		t.Errorf("killing it again: %v", err)
	}
	if err := svc.Restart(t.Context()); err != nil || !svc.Running() {
		t.Errorf("restarted: %v, running %v", err, svc.Running())
	}
	if err := svc.Stop(t.Context()); err == nil {
		t.Error("an end by SIGTERM without a handler is not an exit code 0")
	}
}

func TestServiceEarlyExit(t *testing.T) {
	svc := shell(t, "echo the reason >&2; exit 3")
	svc.ready = func(context.Context) error { return errors.New("not yet") }
	begin := time.Now()
	err := svc.Start(t.Context())
	if !errors.Is(err, ErrExited) || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("error %v, want ErrExited and the log", err)
	}
	if d := time.Since(begin); d > startTimeout/2 {
		t.Errorf("noticed after %v", d)
	}
}

func TestServiceEnvironment(t *testing.T) {
	t.Setenv("SSEGW_UNWANTED", "x")
	svc := shell(t, `echo "[$SSEGW_UNWANTED][$WANTED][$HOME]"`)
	svc.cmd.env = map[string]string{"WANTED": "y"}
	if err := svc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-svc.Exited()
	if got, want := svc.LogTail(1000), "[][y]["+svc.cmd.dir+"]"; got != want {
		t.Errorf("the child saw %s, want %s", got, want)
	}
}

// TestChildrenDieWithParent kills a process of this test program that runs a
// service. The service must not outlive it.
func TestChildrenDieWithParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // elsewhere only Close ends them: see dieWithParent
	}
	if os.Getenv("STACK_TEST_PARENT") != "" {
		svc := shell(t, "exec sleep 600")
		if err := svc.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		pid, err := svc.PID()
		fmt.Println("child", pid, err)
		select {}
	}
	parent := exec.Command(os.Args[0], "-test.run", "^TestChildrenDieWithParent$")
	parent.Env = append(os.Environ(), "STACK_TEST_PARENT=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	var pidErr string
	if _, err := fmt.Fscanf(out, "child %d %s\n", &pid, &pidErr); err != nil || pid == 0 {
		t.Fatal("no child: ", pidErr, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	gone := probe(func(context.Context) error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(stat), ") Z ") { // a zombie counts as dead
			return errors.New("alive")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := gone.wait(ctx, nil); err != nil {
		t.Errorf("process %d outlives its parent: %v", pid, err)
	}
}
