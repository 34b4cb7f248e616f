package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTimeout limits the wait until a service is healthy. closeTimeout limits
// the graceful end of a service in Close, after which it is killed.
const (
	startTimeout = 5 * time.Minute
	closeTimeout = 10 * time.Second
)

// ErrExited means that a service ended while it was waited for.
var ErrExited = errors.New("stack: process has ended")

// command describes how to run a program. It is kept, so that a restart runs
// the same program on the same ports.
type command struct {
	name  string            // for logs and messages
	path  string            // of the program
	args  []string          //
	env   map[string]string // in addition to PATH, HOME and TMPDIR
	dir   string            // working directory, HOME, and folder of the log
	front *valve            // in front of the program; nil if it cannot be paused
}

// A Service is one running program. It can be stopped, killed, paused and
// started again. Its ports and files stay the same.
type Service struct {
	cmd   command
	ready probe

	mu   sync.Mutex
	proc *os.Process
	done <-chan struct{} // closed when the process has ended; nil before its start
	exit error
}

// Name returns the service's name within its stack, such as "kes-1".
func (s *Service) Name() string { return s.cmd.name }

// LogFile returns the path of the file that holds the service's output.
func (s *Service) LogFile() string { return filepath.Join(s.cmd.dir, s.cmd.name+".log") }

// Start runs the program and waits until it is healthy. Starting a running
// service is an error.
func (s *Service) Start(ctx context.Context) error {
	if err := s.spawn(); err != nil {
		return err
	}
	return s.WaitReady(ctx)
}

// WaitReady waits until the service is healthy.
func (s *Service) WaitReady(ctx context.Context) error {
	if s.ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.ready.wait(ctx, s.Exited()); err != nil {
		return fmt.Errorf("stack: %s is not ready: %w\n%s", s.cmd.name, err, s.LogTail(4096))
	}
	return nil
}

// Stop sends SIGTERM and waits until the process has ended. It returns the
// error of ctx, or an error if the exit code is not 0.
func (s *Service) Stop(ctx context.Context) error {
	if err := s.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.Exited():
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.exit
	case <-ctx.Done():
		return fmt.Errorf("stack: stopping %s: %w", s.cmd.name, ctx.Err())
	}
}

// Kill sends SIGKILL and waits until the process has ended.
func (s *Service) Kill() error {
	if err := s.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-s.Exited()
	return nil
}

// Pause makes the service hang. Connections stay open and new ones are
// accepted, but the service answers nothing until Continue.
func (s *Service) Pause() error { return s.turn(true) }

// Continue ends a Pause.
func (s *Service) Continue() error { return s.turn(false) }

func (s *Service) turn(shut bool) error {
	if s.cmd.front == nil {
		return fmt.Errorf("stack: %s cannot be paused", s.cmd.name)
	}
	s.cmd.front.turn(shut)
	return nil
}

// Restart stops the service if it runs, and starts it on the same ports.
func (s *Service) Restart(ctx context.Context) error {
	if s.Running() {
		if err := s.Stop(ctx); err != nil {
			return err
		}
	}
	return s.Start(ctx)
}

// Running reports whether the process exists.
func (s *Service) Running() bool {
	select {
	case <-s.Exited():
		return false
	default:
		return true
	}
}

// Signal sends sig to the process. It returns [ErrExited] if there is no
// process.
func (s *Service) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return fmt.Errorf("%s: %w", s.cmd.name, ErrExited)
	}
	err := s.proc.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", s.cmd.name, ErrExited)
	}
	return err
}

// Close ends the process, gracefully if that is quick. It may be called again,
// and for a service that has ended.
func (s *Service) Close() error {
	if !s.Running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.Stop(ctx); ctx.Err() == nil || errors.Is(err, ErrExited) {
		return nil // the caller of Stop handles the exit code
	}
	if err := s.Kill(); err != nil && !errors.Is(err, ErrExited) {
		return err
	}
	return nil
}

// LogTail returns the last n bytes of the service's output.
func (s *Service) LogTail(n int) string {
	f, err := os.Open(s.LogFile())
	if err != nil {
		return ""
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil && fi.Size() > int64(n) {
		_, _ = f.Seek(-int64(n), io.SeekEnd)
	}
	b, _ := io.ReadAll(f)
	return strings.TrimSpace(string(b))
}

// Exited returns a channel that is closed while no process runs.
func (s *Service) Exited() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		return closedChan
	}
	return s.done
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (s *Service) spawn() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		return fmt.Errorf("stack: %s already runs", s.cmd.name)
	}
	if s.cmd.front != nil {
		if err := s.cmd.front.listen(); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(s.cmd.path, s.cmd.args...)
	cmd.Dir = s.cmd.dir
	cmd.Env = environ(s.cmd.dir, s.cmd.env)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := onStarterThread(cmd.Start); err != nil {
		return fmt.Errorf("stack: starting %s: %w", s.cmd.name, err)
	}
	done := make(chan struct{})
	s.proc, s.done = cmd.Process, done
	go s.reap(cmd, done)
	return nil
}

func (s *Service) reap(cmd *exec.Cmd, done chan<- struct{}) {
	err := cmd.Wait()
	if err != nil {
		err = fmt.Errorf("stack: %s: %w", s.cmd.name, err)
	}
	if s.cmd.front != nil {
		_ = s.cmd.front.close() // the service is down, so close what stands in front of it
	}
	s.mu.Lock()
	s.exit, s.proc = err, nil
	s.mu.Unlock()
	close(done)
}

// environ returns the environment of a child: a few variables of the caller,
// its own HOME, and env.
func environ(home string, env map[string]string) []string {
	out := []string{"HOME=" + home}
	for _, k := range []string{"PATH", "TMPDIR", "GOCOVERDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(k); ok {
			out = append(out, k+"="+v)
		}
	}
	for k, v := range env {
		out = append(out, k+"="+v) // the last entry of a name takes effect
	}
	return out
}

// onStarterThread calls f on one operating system thread that lives as long as
// this program. The parent-death signal of Linux follows the thread that made
// the child, so a child started from a short-lived thread would die early.
func onStarterThread(f func() error) error {
	starterOnce.Do(func() {
		go func() {
			runtime.LockOSThread()
			for job := range starter {
				job()
			}
		}()
	})
	done := make(chan error)
	starter <- func() { done <- f() }
	return <-done
}

var (
	starterOnce sync.Once
	starter     = make(chan func())
)
