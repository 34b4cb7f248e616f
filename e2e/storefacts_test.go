package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ssegw/e2e/stack"
)

// factsFile has a table of what the gateway's probes find of each store, after
// the line factsBegin. A column begins with the name of the store.
const (
	factsFile  = "../docs/UPSTREAMS.md"
	factsBegin = "<!-- What the probes find; written by make stores. -->\n"
)

var factsLock sync.Mutex

// TestStoreFacts compares what the gateway's probes find of a store with the
// table in docs/UPSTREAMS.md. With -update it writes the table.
func TestStoreFacts(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) { wantStoreFacts(t, r.name, r.gateway(t, false)) })
}

// wantStoreFacts compares the capabilities that a gateway shows in its metrics with
// the table.
func wantStoreFacts(t *testing.T, store string, g *stack.Gateway) {
	t.Helper()
	facts := factsOf(t, g)
	if len(facts) == 0 {
		t.Fatal("the gateway shows no capability of the store")
	}
	factsLock.Lock()
	defer factsLock.Unlock()
	doc := string(must(os.ReadFile(factsFile))(t))
	before, rest, found := strings.Cut(doc, factsBegin)
	if !found {
		t.Fatalf("%s has no table", factsFile)
	}
	text, after, _ := strings.Cut(rest, "\n\n")
	table := parseFacts(text)
	if *update {
		table.set(store, facts, time.Now().Format(time.DateOnly))
		if err := os.WriteFile(factsFile, []byte(before+factsBegin+table.String()+"\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name, value := range facts {
		if want := table.values[store][name]; value != want {
			t.Errorf("%s: %q, and %s has %q", name, value, factsFile, want)
		}
	}
}

var factMetric = regexp.MustCompile(`(?m)^ssegw_store_capability\{name="([^"]*)",value="(.*)"\} 1$`)

// factsOf returns the capabilities that a gateway shows, by name.
func factsOf(t *testing.T, g *stack.Gateway) map[string]string {
	t.Helper()
	resp := must(http.Get(g.AdminEndpoint + "/metrics"))(t)
	defer resp.Body.Close()
	facts := map[string]string{}
	for _, m := range factMetric.FindAllStringSubmatch(string(must(io.ReadAll(resp.Body))(t)), -1) {
		facts[m[1]] = strings.NewReplacer(`\\`, `\`, `\"`, `"`, "|", `\|`).Replace(m[2])
	}
	return facts
}

// factsTable is the table of docs/UPSTREAMS.md.
type factsTable struct {
	dates  map[string]string            // by store
	values map[string]map[string]string // by store and capability
}

func parseFacts(text string) factsTable {
	table := factsTable{map[string]string{}, map[string]map[string]string{}}
	var stores []string
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		switch {
		case i == 0:
			for _, cell := range cells[1:] {
				store, date, _ := strings.Cut(strings.TrimSuffix(cell, ")"), " (")
				stores = append(stores, store)
				table.dates[store], table.values[store] = date, map[string]string{}
			}
		case i > 1:
			for j, value := range cells[1:] {
				table.values[stores[j]][strings.Trim(cells[0], "`")] = value
			}
		}
	}
	return table
}

func (f factsTable) set(store string, facts map[string]string, date string) {
	f.dates[store], f.values[store] = date, facts
}

func (f factsTable) String() string {
	stores, names := slices.Sorted(maps.Keys(f.values)), map[string]bool{}
	for _, values := range f.values {
		for name := range values {
			names[name] = true
		}
	}
	var b strings.Builder
	b.WriteString("| capability |")
	for _, store := range stores {
		fmt.Fprintf(&b, " %s (%s) |", store, f.dates[store])
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(stores)) + "\n")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&b, "| `%s` |", name)
		for _, store := range stores {
			fmt.Fprintf(&b, " %s |", f.values[store][name])
		}
		b.WriteString("\n")
	}
	return b.String()
}
