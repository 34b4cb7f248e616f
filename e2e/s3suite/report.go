package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"ssegw/e2e/stack"
)

// An exception is a row of a table below "Exceptions" in docs/S3.md:
//
//	| `test`, `test` | where | reason |
//
// where is "all", or a list of stores (versitygw, minio, ceph) and values of
// SSEGW_AUTO_ENCRYPTION (off, sse-s3, sse-kms).
type exception struct {
	tests  []string
	where  []string
	reason string
}

var exceptionRow = regexp.MustCompile("^\\| (`[A-Za-z0-9_`, ]+`) \\| ([a-z0-9, -]+) \\| (.+) \\|$")

// readExceptions reads the exceptions from the document.
func readExceptions(file string) ([]exception, error) {
	doc, err := os.ReadFile(file) //nolint:gosec // named on the command line
	if err != nil {
		return nil, err
	}
	return parseExceptions(string(doc)), nil
}

func parseExceptions(doc string) []exception {
	var out []exception
	for line := range strings.Lines(doc) {
		m := exceptionRow.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		e := exception{reason: m[3]}
		for name := range strings.SplitSeq(m[1], ",") {
			e.tests = append(e.tests, strings.Trim(name, " `"))
		}
		for w := range strings.SplitSeq(m[2], ",") {
			e.where = append(e.where, strings.TrimSpace(w))
		}
		out = append(out, e)
	}
	return out
}

// covers reports whether the exception applies to a test that ran with the
// options. If the list names stores, the store must be among them. If it names
// rules, the rule must be among them.
func (e exception) covers(name string, o options) bool {
	if !slices.Contains(e.tests, name) {
		return false
	}
	fits := func(all []string, have string) bool {
		named := slices.ContainsFunc(e.where, func(w string) bool { return slices.Contains(all, w) })
		return !named || slices.Contains(e.where, have)
	}
	return fits([]string{stack.StoreVersitygw, stack.StoreMinIO, stack.StoreCeph}, o.store) && fits([]string{"off", "sse-s3", "sse-kms"}, o.auto)
}

// report is the outcome of a comparison.
type report struct {
	direct, through results
	differs         []string          // pass directly, fail through the gateway, not listed
	listed          map[string]string // the same, but listed: reason by test
	better          int               // fail directly, pass through the gateway
	passing         []string          // listed, but pass both ways
}

// compare finds the tests that pass directly and fail through the gateway.
func compare(direct, through results, exceptions []exception, o options) report {
	r := report{direct: direct, through: through, listed: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(direct)) {
		err, ran := through[name]
		i := slices.IndexFunc(exceptions, func(e exception) bool { return e.covers(name, o) })
		switch {
		case direct[name] != "":
			if ran && err == "" {
				r.better++
			}
		case ran && err == "":
			if i >= 0 {
				r.passing = append(r.passing, name)
			}
		case i >= 0:
			r.listed[name] = exceptions[i].reason
		default:
			r.differs = append(r.differs, name)
		}
	}
	return r
}

// text returns the report as text.
func (r report) text(o options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %s, SSEGW_AUTO_ENCRYPTION=%s\n\n", suites[o.suite].title, o.store, o.auto)
	fmt.Fprintf(&b, "  tests              %4d\n", len(r.direct))
	fmt.Fprintf(&b, "  pass directly      %4d\n", r.direct.passed())
	fmt.Fprintf(&b, "  pass through       %4d\n", r.through.passed())
	fmt.Fprintf(&b, "  only through       %4d\n", r.better)
	fmt.Fprintf(&b, "  exceptions         %4d\n", len(r.listed))
	fmt.Fprintf(&b, "  differ             %4d\n\n", len(r.differs))
	for _, name := range r.differs {
		fmt.Fprintf(&b, "DIFFERS %s: %s\n", name, r.through[name])
	}
	if o.verbose {
		for _, name := range slices.Sorted(maps.Keys(r.direct)) {
			if r.direct[name] != "" {
				fmt.Fprintf(&b, "FAILS DIRECTLY %s: %s\n", name, r.direct[name])
			}
		}
		for _, name := range slices.Sorted(maps.Keys(r.listed)) {
			fmt.Fprintf(&b, "LISTED %s: %s (%s)\n", name, r.through[name], r.listed[name])
		}
	}
	for _, name := range r.passing {
		fmt.Fprintf(&b, "NOTE %s is listed as an exception and passes\n", name)
	}
	return b.String()
}
