package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"ssegw/proxy/admin"
	"ssegw/proxy/jobs"
)

// overviewPages serves the first page.
type overviewPages struct{ *Server }

// overviewData is what the first page shows.
type overviewData struct {
	Attention []attention
	Health    admin.Health
	KES       []kesRow
	Store     string
	State     stateData
	Rates     []rateRow
	Uptime    time.Time
	Buckets   int // with a rule
}

// attention is something that the operator should look at.
type attention struct {
	Grave  bool // data or access is at risk now
	Text   string
	Remedy string
	Page   string // where the remedy is; "": not in the console
}

// kesRow is a KES endpoint.
type kesRow struct {
	admin.Endpoint
	Answers, Failures uint64
}

// stateData is about the state bucket.
type stateData struct {
	Bucket   string
	Problem  string // why it is not open
	Root     string // ID of the present root
	RootKey  string // KES key that the root is sealed under
	Revision uint64 // of the rules
}

// rateRow is a line of the table of rates.
type rateRow struct {
	Name    string
	IsBytes bool
	rates
}

// overviews is the last overview. Viewers share it.
type overviews struct {
	mu   sync.Mutex
	at   time.Time
	last *overviewData
}

const overviewMaxAge = 2 * time.Second

func (s overviewPages) overview(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, "overview", &page{Title: "Overview", Data: s.lastOverview(r.Context())})
}

// lastOverview returns the last overview, or a new one if that is old.
func (s overviewPages) lastOverview(ctx context.Context) *overviewData {
	s.overviews.mu.Lock()
	defer s.overviews.mu.Unlock()
	if time.Since(s.overviews.at) > overviewMaxAge {
		s.overviews.last = s.newOverview(context.WithoutCancel(ctx))
		s.overviews.at = time.Now()
	}
	return s.overviews.last
}

// overviewTimeout limits what an overview asks of the store.
const overviewTimeout = 5 * time.Second

func (s overviewPages) newOverview(ctx context.Context) *overviewData {
	ctx, cancel := context.WithTimeout(ctx, overviewTimeout)
	defer cancel()
	d := &overviewData{Health: s.Health(ctx), Store: s.Store, Uptime: s.started, State: s.stateData(ctx), Rates: s.rateRows()}
	for i, e := range s.KMS.Endpoints() {
		row := kesRow{Endpoint: d.Health.Endpoints[i]} // they are in the same order
		for _, c := range e.Requests {
			if c.Result == "ok" || c.Result == "refused" {
				row.Answers += c.Count
			} else {
				row.Failures += c.Count
			}
		}
		d.KES = append(d.KES, row)
	}
	if rules, _, err := s.State.KnownRules(); err == nil {
		d.Buckets = len(rules)
	}
	d.Attention = s.attention(ctx, d)
	return d
}

func (s overviewPages) stateData(ctx context.Context) stateData {
	d := stateData{Bucket: s.State.Bucket(), Problem: s.stateProblem()}
	if d.Problem != "" {
		return d
	}
	d.Root = s.State.Root().ID.String()
	_, d.Revision, _ = s.State.KnownRules()                  // the state is open
	if record, _, err := s.State.ReadRoot(ctx); err == nil { // otherwise the store is away, which the page tells
		d.RootKey = record.KeyName
	}
	return d
}

var rateNames = [seriesCount]string{
	"Requests answered", "Requests refused (4xx)", "Requests failed (5xx) or aborted", "Bytes from clients, as declared", "Bytes to clients",
	"Calls of KES", "Data keys from the cache", "Integrity failures",
}

func (s overviewPages) rateRows() (rows []rateRow) {
	for i, r := range s.history.rates() {
		rows = append(rows, rateRow{rateNames[i], i == seriesIn || i == seriesOut, r})
	}
	return rows
}

// attention returns what the operator should look at, the gravest first.
func (s overviewPages) attention(ctx context.Context, d *overviewData) (list []attention) {
	add := func(grave bool, page, text, remedy string) { list = append(list, attention{grave, text, remedy, page}) }
	h := d.Health
	if d.State.Problem != "" {
		add(true, "check", "The gateway serves no requests: "+d.State.Problem+".", "Run the check: it names what is missing.")
	}
	if h.Upstream != admin.Online {
		add(true, "check", "The store does not answer at "+s.Store+".", "Look at the store and at the network between it and the gateway.")
	}
	if h.KMS != admin.Online {
		add(true, "check", "KES gives no data keys under the default key "+s.KMS.DefaultKey()+". Sealed objects cannot be written, and read only while their data keys are cached.",
			"Bring a KES server back, or allow the key in its policy.")
	}
	if n := s.history.rates()[seriesTampered].Total; n > 0 {
		add(true, "jobs/new?kind=verify", fmt.Sprintf("Reads in the last hour that found objects altered by the store: %.0f.", n),
			"The log has the names (\u201crequest failed\u201d). Verify the buckets, and restore what is not authentic.")
	}
	for _, e := range h.Endpoints {
		if e.State != admin.Online && h.KMS == admin.Online {
			add(false, "", "The KES server "+e.URL+" is down: "+e.Error+".", "The others do its work. Repair it before another one fails.")
		}
	}
	if d.State.Problem == "" {
		list = append(list, s.jobsToMind(ctx)...)
		list = append(list, s.rulesToMind()...)
	}
	slices.SortStableFunc(list, func(a, b attention) int {
		switch {
		case a.Grave == b.Grave:
			return 0
		case a.Grave:
			return -1
		}
		return 1
	})
	return list
}

// minded is how long a job that has failed is shown on the first page.
const minded = 7 * 24 * time.Hour

func (s overviewPages) jobsToMind(ctx context.Context) (list []attention) {
	all, err := s.Jobs.List(ctx)
	if err != nil {
		return []attention{{Text: "The jobs could not be read: " + plainText(err) + ".", Remedy: "Run the check.", Page: "check"}}
	}
	newest := map[string]*jobs.Job{} // of each kind and scope: a later one replaces it
	for _, j := range all {
		id := string(j.Kind) + j.Bucket + "/" + j.Prefix
		if n := newest[id]; n == nil || n.Created.Before(j.Created) {
			newest[id] = j
		}
	}
	for _, j := range newest {
		if j.Status.Ended() && j.Status != jobs.Cancelled && time.Since(j.Ended) < minded && (j.Status == jobs.Failed || j.Incomplete() > 0) {
			text := fmt.Sprintf("The job %s of %s left out or failed at %s.", j.Kind, j.Scope(), objects(j.Incomplete()))
			if j.Status == jobs.Failed {
				text = fmt.Sprintf("The job %s of %s failed: %s.", j.Kind, j.Scope(), j.Error)
			}
			list = append(list, attention{Text: text, Remedy: "Its page names them.", Page: "jobs/" + j.ID})
		}
	}
	slices.SortFunc(list, func(a, b attention) int { return strings.Compare(a.Text, b.Text) })
	return list
}

func (s overviewPages) rulesToMind() []attention {
	rules, _, err := s.State.KnownRules()
	if err != nil {
		return []attention{{Grave: true, Text: "The rules of the buckets could not be read: " + plainText(err) + ".", Remedy: "Run the check.", Page: "check"}}
	}
	migrating := 0
	for _, rule := range rules {
		if rule.Algorithm != "" && !s.servesSealedOnly(&rule) {
			migrating++
		}
	}
	if migrating == 0 || s.SealedOnly == "never" {
		return nil
	}
	return []attention{{
		Text:   "Buckets that have a rule and may still hold objects in plaintext from before: " + humanize.Comma(int64(migrating)) + ".",
		Remedy: "Seal them with a job. Then a bucket serves sealed objects only.", Page: "buckets",
	}}
}

func (s overviewPages) historyDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.history.plots()) // an error means that the browser has gone
}
