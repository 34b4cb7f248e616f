package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// measureKeys measures the gateway's KES client next to bare clients, on the
// server that the gateway uses. The benchmark is a Go test of package kms,
// which this module cannot import.
func (r *rig) measureKeys(ctx context.Context) error {
	fmt.Fprintln(os.Stderr, "data keys ...")
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkDataKeys$", "-benchtime", "1s", "./kms")
	cmd.Dir = r.stack.Tools().Root()
	cmd.Env = append(os.Environ(), "GOWORK=off",
		"BENCH_KES_ENDPOINT="+r.kes.Endpoint, "BENCH_KES_API_KEY="+r.kes.APIKey, "BENCH_KES_CAPATH="+r.kes.CAFile)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("measuring data keys: %w\n%s", err, out.String())
	}
	table, err := keysTable(out.String())
	if err != nil {
		return err
	}
	fmt.Fprint(r.out, table)
	return nil
}

// keysLine is a line of the benchmark: operation, callers, way, figures.
var keysLine = regexp.MustCompile(`(?m)^BenchmarkDataKeys/(\w+)/(\d+)/(\w+?)(?:-\d+)?\s.*?\s([\d.e+]+) calls/s\s+([\d.e-]+) p50-ms\s+([\d.e-]+) p99-ms`)

var errNoFigures = errors.New("the benchmark of data keys printed no figures")

// keysTable returns the figures of a benchmark's output as a table in Markdown.
func keysTable(output string) (string, error) {
	lines := keysLine.FindAllStringSubmatch(output, -1)
	if len(lines) == 0 {
		return "", fmt.Errorf("%w:\n%s", errNoFigures, output)
	}
	names := map[string]string{"pool": "gateway's client", "HTTP1": "bare HTTP/1.1", "HTTP2": "bare HTTP/2"}
	out := new(strings.Builder)
	fmt.Fprintf(out, "\n### Data keys of one KES server\n\n| operation | at a time | through | calls/s | p50 ms | p99 ms |\n|---|--:|---|--:|--:|--:|\n")
	for _, l := range lines {
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", l[1], l[2], names[l[3]], l[4], l[5], l[6])
	}
	return out.String(), nil
}
