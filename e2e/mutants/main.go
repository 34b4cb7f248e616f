// Command mutants puts faults into a copy of the gateway's source, one by one,
// and runs the reference model against each (TestModel), and then concurrent
// histories (TestConcurrentHistories). A fault that neither finds is a gap. See docs/adr/0022-model.md.
//
//	mutants [-limit 2m] [-run regexp] [-check]
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
	"strings"
	"time"
)

func main() {
	limit := flag.Duration("limit", 2*time.Minute, "how long each of the two tests looks for one fault")
	run := flag.String("run", "", "only faults whose name matches")
	check := flag.Bool("check", false, "only see that the faults fit the source, and compile")
	flag.Parse()
	if err := mutate(*limit, *run, *check); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// mutate tries all faults whose names match. It fails if one is not found.
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
	for _, m := range mutations {
		if !match.MatchString(m.name) {
			continue
		}
		tried++
		began := time.Now()
		found, err := m.try(dir, limit, check)
		verdict := "found"
		if check {
			verdict = "compiles"
		}
		if err != nil {
			fmt.Println(err)
		}
		if !found || err != nil {
			verdict = "NOT FOUND"
			missed++
		}
		fmt.Printf("%-10s after %6s: %s\n", verdict, time.Since(began).Round(time.Second), m.name)
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

// try reports whether a test finds the fault. With check it only compiles.
func (m mutation) try(dir string, limit time.Duration, check bool) (found bool, err error) {
	for _, e := range m.edits {
		file := filepath.Join(dir, e.file)
		before, err := os.ReadFile(file)
		if err != nil {
			return false, fmt.Errorf("reading: %w", err)
		}
		if n := bytes.Count(before, []byte(e.old)); n != 1 {
			return false, fmt.Errorf("%s has %q %d times: adapt the mutation", e.file, e.old, n)
		}
		if err := os.WriteFile(file, bytes.Replace(before, []byte(e.old), []byte(e.replacement), 1), 0o600); err != nil {
			return false, fmt.Errorf("writing: %w", err)
		}
		defer func() { err = errors.Join(err, os.WriteFile(file, before, 0o600)) }()
	}
	program := filepath.Join(dir, "model.test")
	build := exec.Command("go", "test", "-c", "-o", program, "./proxy")
	if check {
		build = exec.Command("go", "build", "./proxy/...")
	}
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return false, fmt.Errorf("the mutation does not compile: %s", out)
	}
	if check {
		return true, nil
	}
	// A fault can make the gateway hang, which is found, too.
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit+5*time.Minute)
	defer cancel()
	test := exec.CommandContext(ctx, program, "-test.run", "^Test(Model|ConcurrentHistories)$", "-test.failfast", "-test.timeout", "0")
	test.Dir = filepath.Join(dir, "proxy")
	test.Env = append(os.Environ(), "SSEGW_MODEL="+limit.String(), "SSEGW_MODEL_SHRINK=0s")
	out, err := test.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err == nil:
		return false, nil
	case !errors.As(err, &failed):
		return false, fmt.Errorf("running the model: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "[rapid]") || strings.Contains(line, "Illegal") {
			fmt.Printf("           %.300s\n", strings.TrimSpace(line))
			break
		}
	}
	return true, nil
}
