// Command govulncheck reports known vulnerabilities in the code that the module
// in a directory calls. It runs govulncheck with the database at vuln.go.dev.
// If that host cannot be reached, it uses the database in the module
// golang.org/x/vulndb, which comes from the module proxy in the version that
// go.mod pins.
//
// It exits with status 1 if a dependency has a vulnerability. It only reports
// those of the standard library, because a newer Go fixes them, and not a
// change here. Without any database it prints a message and exits with status
// 0.
//
//	go -C e2e/tools/govulncheck run . DIRECTORY
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/vuln/scan"
)

const online = "https://vuln.go.dev"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: govulncheck DIRECTORY")
		os.Exit(2)
	}
	db, err := database()
	if err != nil {
		fmt.Println("govulncheck: database unreachable, not run:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	fmt.Println("govulncheck: database", db)
	found, err := check(os.Args[1], db)
	if err != nil {
		fmt.Fprintln(os.Stderr, "govulncheck:", err)
		os.Exit(2)
	}
	failed := false
	for _, v := range found {
		fmt.Println(v)
		failed = failed || !v.standard()
	}
	if failed {
		os.Exit(1)
	}
}

// database returns the URL of a readable database.
func database() (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Head(online + "/index/modules.json.gz")
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return online, nil
		}
		err = fmt.Errorf("%s answers %s", online, resp.Status)
	}
	out, downloadErr := exec.Command("go", "mod", "download", "-json", "golang.org/x/vulndb").Output()
	if downloadErr != nil {
		return "", errors.Join(err, fmt.Errorf("golang.org/x/vulndb: %w", downloadErr))
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", err
	}
	path := filepath.ToSlash(filepath.Join(module.Dir, "data", "osv"))
	return (&url.URL{Scheme: "file", Path: path}).String(), nil
}

// vulnerability is a vulnerability in code that is called.
type vulnerability struct {
	id, summary   string
	module, fixed string
}

func (v vulnerability) standard() bool { return v.module == "stdlib" }

func (v vulnerability) String() string {
	what := v.module
	if v.standard() {
		what = "warning: Go's standard library"
	}
	fixed := "not fixed yet"
	if v.fixed != "" {
		fixed = "fixed in " + v.fixed
	}
	return fmt.Sprintf("govulncheck: %s: %s: %s (%s, https://pkg.go.dev/vuln/%s)", what, v.id, v.summary, fixed, v.id)
}

// message is the part of govulncheck's JSON output that is needed.
type message struct {
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *struct {
		OSV          string `json:"osv"`
		FixedVersion string `json:"fixed_version"`
		Trace        []struct {
			Module   string `json:"module"`
			Function string `json:"function"`
		} `json:"trace"` // from the vulnerable symbol to the code that was checked
	} `json:"finding"`
}

// check returns the vulnerabilities that the packages of the module in dir
// call, sorted by ID and without duplicates.
func check(dir, db string) ([]vulnerability, error) {
	r, w := io.Pipe()
	cmd := scan.Command(context.Background(), "-C", dir, "-db", db, "-format", "json", "./...")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { w.CloseWithError(cmd.Wait()) }() // nil becomes io.EOF

	var found []vulnerability
	summaries, seen := map[string]string{}, map[string]bool{}
	for messages := json.NewDecoder(r); ; {
		var m message
		if err := messages.Decode(&m); errors.Is(err, io.EOF) {
			slices.SortFunc(found, func(a, b vulnerability) int { return strings.Compare(a.id, b.id) })
			return found, nil
		} else if err != nil {
			return nil, err
		}
		if m.OSV != nil {
			summaries[m.OSV.ID] = m.OSV.Summary
		}
		f := m.Finding
		// Without a function it is only imported or required.
		if f == nil || len(f.Trace) == 0 || f.Trace[0].Function == "" || seen[f.OSV] {
			continue
		}
		seen[f.OSV] = true
		found = append(found, vulnerability{f.OSV, summaries[f.OSV], f.Trace[0].Module, f.FixedVersion})
	}
}
