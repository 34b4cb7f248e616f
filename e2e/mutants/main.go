// Command mutants puts faults into a copy of the gateway's source, one by one,
// and runs the tests of the reference model against each: random histories,
// also before a store that lies, concurrent histories, and crashes at every
// request to the store. A fault that none of them finds is a gap. See
// docs/adr/0022-model.md.
//
//	mutants [-limit 10m] [-run regexp] [-check]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func main() {
	limit := flag.Duration("limit", 10*time.Minute, "how long the tests look for one fault")
	run := flag.String("run", "", "only faults whose name matches")
	check := flag.Bool("check", false, "only see that the faults fit the source, and compile")
	flag.Parse()
	if err := mutate(*limit, *run, *check); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// mutate tries all faults whose names match, and prints a table. It fails if
// one is not found.
func mutate(limit time.Duration, run string, check bool) error {
	match, err := regexp.Compile(run)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return fmt.Errorf("a folder for the copy: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := copyTree("..", dir); err != nil {
		return err
	}
	tried, missed := 0, 0
	fmt.Printf("%-9s %6s %6s %10s  %-24s %s\n", "", "build", "tests", "operations", "found by", "fault")
	for _, m := range mutations {
		if !match.MatchString(m.name) {
			continue
		}
		tried++
		r, err := m.try(dir, limit, check)
		verdict := "found"
		switch {
		case err != nil || !check && r.test == "":
			verdict = "NOT FOUND"
			missed++
		case check:
			verdict = "compiles"
		}
		fmt.Printf("%-9s %6s %6s %10d  %-24s %s\n", verdict, r.build.Round(time.Second), r.tests.Round(time.Second), r.operations, r.test, m.name)
		if r.why != "" {
			fmt.Printf("          %.300s\n", r.why)
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	fmt.Printf("%d of %d faults found\n", tried-missed, tried)
	if missed > 0 {
		return errors.New("faults were not found")
	}
	return nil
}

// copyTree copies the files that git knows, or would add.
func copyTree(from, to string) error {
	list, err := exec.Command("git", "-C", from, "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.Lines(string(list)) {
		name = strings.TrimSuffix(name, "\n")
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			continue // deleted, or a link to a folder
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
			return fmt.Errorf("the copy: %w", err)
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			return fmt.Errorf("the copy: %w", err)
		}
	}
	return nil
}

// mutation is a fault: texts that are replaced.
type mutation struct {
	name  string
	edits []edit
}

// edit replaces a text that is there exactly once.
type edit struct{ file, old, replacement string }

// result is what became of a mutation.
type result struct {
	build, tests time.Duration
	operations   int    // that the tests carried out
	test         string // that found the fault; "": none
	why          string // the line that shows it
}

// try puts a fault in, and runs the tests. With check it only compiles.
func (m mutation) try(dir string, limit time.Duration, check bool) (r result, err error) {
	for _, e := range m.edits {
		file := filepath.Join(dir, e.file)
		before, err := os.ReadFile(file)
		if err != nil {
			return r, fmt.Errorf("reading: %w", err)
		}
		if n := bytes.Count(before, []byte(e.old)); n != 1 {
			return r, fmt.Errorf("%s has %q %d times: adapt the mutation", e.file, e.old, n)
		}
		if err := os.WriteFile(file, bytes.Replace(before, []byte(e.old), []byte(e.replacement), 1), 0o600); err != nil {
			return r, fmt.Errorf("writing: %w", err)
		}
		defer func() { err = errors.Join(err, os.WriteFile(file, before, 0o600)) }()
	}
	program := filepath.Join(dir, "model.test")
	build := exec.Command("go", "test", "-c", "-o", program, "./proxy")
	if check {
		build = exec.Command("go", "build", "./proxy/...")
	}
	build.Dir = dir
	began := time.Now()
	out, err := build.CombinedOutput()
	if r.build = time.Since(began); err != nil {
		return r, fmt.Errorf("the mutation does not compile: %s", out)
	}
	if check {
		return r, nil
	}
	return r, r.search(program, filepath.Join(dir, "proxy"), limit)
}

// tests look for a fault in turn. The first round is short, since most faults
// are found at once; each further one is longer.
var tests = []string{"TestModel", "TestModelLies", "TestConcurrentHistories", "TestCrashes"}

const firstRound = 10 * time.Second

// search runs the tests until one fails, or limit is over.
func (r *result) search(program, dir string, limit time.Duration) error {
	began := time.Now()
	defer func() { r.tests = time.Since(began) }()
	for round := firstRound; ; round *= 4 {
		for _, test := range tests {
			left := limit - time.Since(began)
			if left <= 0 {
				return nil
			}
			found, err := r.run(program, dir, test, min(round, left))
			if found || err != nil {
				return err
			}
		}
	}
}

// hangs is how long a test may take in excess of its time. A fault that makes
// the gateway hang is found, too.
const hangs = 4 * time.Minute

// operationCount is the line of a test that tells its operations.
var operationCount = regexp.MustCompile(`: (\d+) operations`)

// run runs a test for some time.
func (r *result) run(program, dir, test string, long time.Duration) (found bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), long+hangs)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-test.run", "^"+test+"$", "-test.failfast", "-test.v", "-test.timeout", "0")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SSEGW_MODEL="+long.String(), "SSEGW_MODEL_SHRINK=0s")
	out, err := cmd.CombinedOutput()
	if n := operationCount.FindSubmatch(out); n != nil {
		count, _ := strconv.Atoi(string(n[1]))
		r.operations += count
	}
	var failed *exec.ExitError
	switch {
	case err == nil:
		return false, nil
	case !errors.As(err, &failed):
		return false, fmt.Errorf("running %s: %w", test, err)
	}
	r.test = test
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "[rapid]") || strings.Contains(line, "Illegal") || strings.Contains(line, "crash_test.go") {
			r.why = strings.TrimSpace(line)
			break
		}
	}
	return true, nil
}
