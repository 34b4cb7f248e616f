package stack

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTicks is the unit of CPU times in /proc: USER_HZ, 100 on every Linux
// architecture Go runs on.
const clockTicks = 100

// Usage holds the resources that a process uses.
type Usage struct {
	RSS     int64         // current resident memory, in bytes
	PeakRSS int64         // peak of resident memory since the start or ResetPeak, in bytes
	CPU     time.Duration // user and system time
}

// Usage returns what the service's process uses; see [UsageOf].
func (s *Service) Usage() (Usage, error) {
	pid, err := s.PID()
	if err != nil {
		return Usage{}, err
	}
	u, err := UsageOf(pid)
	if err != nil {
		err = fmt.Errorf("%s: %w", s.Name(), err)
	}
	return u, err
}

// ResetPeak makes PeakRSS start again from the current size.
func (s *Service) ResetPeak() error {
	pid, err := s.PID()
	if err != nil {
		return err
	}
	return ResetPeakOf(pid)
}

// UsageOf reads the figures of a process from /proc. It only works on Linux.
func UsageOf(pid int) (u Usage, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("stack: usage of a process: %w", err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("stack: usage of a process: %w", err)
	}
	if u.RSS, u.PeakRSS, err = parseStatus(status); err != nil {
		return Usage{}, fmt.Errorf("stack: usage of process %d: %w", pid, err)
	}
	if u.CPU, err = parseStat(stat); err != nil {
		return Usage{}, fmt.Errorf("stack: usage of process %d: %w", pid, err)
	}
	return u, nil
}

// ResetPeakOf is [Service.ResetPeak] for any process of the same user.
func ResetPeakOf(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// PID returns the number of the service's process. It returns [ErrExited] if
// there is none.
func (s *Service) PID() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0, fmt.Errorf("%s: %w", s.cmd.name, ErrExited)
	}
	return s.proc.Pid, nil
}

// parseStatus finds VmRSS and VmHWM of /proc/PID/status, in bytes.
func parseStatus(b []byte) (rss, peak int64, err error) {
	found := 0
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		name, rest, _ := strings.Cut(sc.Text(), ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, " kB")), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("status line %q: %w", sc.Text(), err)
		}
		found++
		if name == "VmRSS" {
			rss = kib << 10
		} else {
			peak = kib << 10
		}
	}
	if found != 2 {
		return 0, 0, fmt.Errorf("status has %d of 2 memory lines", found)
	}
	return rss, peak, nil
}

// parseStat returns utime + stime of /proc/PID/stat. These are fields 14 and
// 15, counted after the last parenthesis, because the second field may hold any
// character.
func parseStat(b []byte) (time.Duration, error) {
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 13 {
		return 0, fmt.Errorf("stat has %d fields", len(f))
	}
	var ticks int64
	for _, s := range f[11:13] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / clockTicks), nil
}
