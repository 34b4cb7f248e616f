package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
)

// split gives the gateway and KES one half of the CPUs, and this program, which
// is client and store, the other half. Otherwise a load that the gateway cannot
// serve would take the CPUs away that the gateway needs to serve any of it.
// join gives all CPUs back.
func (s *side) split() (join func() error, err error) {
	n := runtime.NumCPU()
	if n < 2 {
		return nil, fmt.Errorf("overload needs 2 CPUs")
	}
	gateway, err := s.gateway.PID()
	if err != nil {
		return nil, err
	}
	kes, err := s.kes.PID()
	if err != nil {
		return nil, err
	}
	served, serving := cpus(0, n/2-1), cpus(n/2, n-1)
	all := cpus(0, n-1)
	pins := []struct {
		pid  int
		cpus string
	}{{gateway, served}, {kes, served}, {os.Getpid(), serving}}
	for _, p := range pins {
		if err := pin(p.pid, p.cpus); err != nil {
			return nil, err
		}
	}
	return func() error {
		for _, p := range pins {
			if err := pin(p.pid, all); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// cpus is a list of CPUs as taskset takes it.
func cpus(first, last int) string { return fmt.Sprintf("%d-%d", first, last) }

// pin lets all threads of a process run on some CPUs.
func pin(pid int, cpus string) error {
	out, err := exec.Command("taskset", "--all-tasks", "--pid", "--cpu-list", cpus, strconv.Itoa(pid)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("choosing the CPUs of a process: %w: %s", err, out)
	}
	return nil
}
