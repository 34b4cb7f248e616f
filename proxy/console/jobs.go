package console

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"ssegw/proxy/jobs"
)

// jobPages serves the pages of jobs.
type jobPages struct{ *Server }

// jobView is a job as pages show it.
type jobView struct {
	*jobs.Job
}

// Done returns how far a job is, in percent; -1: that is not known.
func (j *jobView) Done() int64 {
	if j.Status == jobs.Finished {
		return 100
	}
	if j.Expected.Objects == 0 {
		return -1
	}
	return min(j.Total().Objects*100/j.Expected.Objects, 99)
}

// State is the status in words, with what was asked of the process that runs
// the job.
func (j *jobView) State() string {
	if j.Wanted != "" && !j.Status.Ended() && j.Status != j.Wanted {
		return string(j.Status) + ", to be " + string(j.Wanted)
	}
	return string(j.Status)
}

// MayPause, MayResume and MayStart report what the job can be asked for.
func (j *jobView) MayPause() bool  { return j.Status == jobs.Running || j.Status == jobs.Waiting }
func (j *jobView) MayResume() bool { return j.Status == jobs.Paused }
func (j *jobView) MayStart() bool  { return j.Status == jobs.Finished && j.Settings.DryRun }

// ResultRow is a line of the counts.
type resultRow struct {
	Result     jobs.Result
	Tally      jobs.Tally
	Incomplete bool
}

// Rows returns the counts.
func (j *jobView) Rows() (rows []resultRow) {
	for _, r := range j.Results() {
		rows = append(rows, resultRow{r, j.Count(r), r.IsIncomplete()})
	}
	return rows
}

// jobListData is what the page of jobs shows.
type jobListData struct{ Jobs []*jobView }

func (s jobPages) jobList(w http.ResponseWriter, r *http.Request) {
	all, err := s.Jobs.List(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	slices.SortFunc(all, func(a, b *jobs.Job) int { return b.Created.Compare(a.Created) })
	var d jobListData
	for _, j := range all[:min(len(all), maxRows)] {
		d.Jobs = append(d.Jobs, &jobView{j})
	}
	s.show(w, r, http.StatusOK, "jobs", &page{Title: "Jobs", Data: &d})
}

// jobForm is what the form of a new job asks for, as it was typed.
type jobForm struct {
	Kind, Bucket, Prefix string
	Scheme, Key, From    string
	Parallel             string
	BytesRate            string
	ObjectsRate          string
	Sample               string
	HeadersOnly          bool
	KeepPlain            bool
	Unconditional        bool

	Keys    []string // for completion
	Buckets []string // for completion
	Error   string
}

func readJobForm(get func(string) string) jobForm {
	return jobForm{
		Kind: get("kind"), Bucket: strings.TrimSpace(get("bucket")), Prefix: get("prefix"),
		Scheme: get("scheme"), Key: strings.TrimSpace(get("key")), From: strings.TrimSpace(get("from")),
		Parallel: get("parallel"), BytesRate: get("bytes-rate"), ObjectsRate: get("objects-rate"), Sample: get("sample"),
		HeadersOnly: get("headers-only") != "", KeepPlain: get("keep-plain") != "", Unconditional: get("unconditional") != "",
	}
}

// job returns the job that the form asks for. The error is for people.
func (f *jobForm) job(dryRun bool) (*jobs.Job, error) {
	j := &jobs.Job{Kind: jobs.Kind(f.Kind), Bucket: f.Bucket, Prefix: f.Prefix}
	set := &j.Settings
	wrong := func(what, text string) error {
		return fmt.Errorf("%w: %s: %q is no number that fits", jobs.ErrInvalid, what, text)
	}
	var err error
	if f.Parallel != "" {
		if set.Parallel, err = strconv.Atoi(f.Parallel); err != nil {
			return nil, wrong("objects at one time", f.Parallel)
		}
	}
	if f.BytesRate != "" {
		n, err := humanize.ParseBytes(f.BytesRate)
		if err != nil || n > 1<<50 {
			return nil, wrong("bytes per second", f.BytesRate)
		}
		set.BytesRate = int64(n)
	}
	if f.ObjectsRate != "" {
		if set.ObjectsRate, err = strconv.ParseFloat(f.ObjectsRate, 64); err != nil {
			return nil, wrong("objects per second", f.ObjectsRate)
		}
	}
	switch j.Kind {
	case jobs.Encrypt, jobs.Rekey:
		set.DryRun = dryRun
		set.Scheme, set.Key, set.Unconditional = f.Scheme, f.Key, f.Unconditional
		if j.Kind == jobs.Rekey {
			set.Filter.Key = f.From
		} else {
			set.KeepPlain = f.KeepPlain
		}
	case jobs.Inventory:
		if f.Prefix != "" {
			return nil, fmt.Errorf("%w: an inventory counts whole buckets, so leave the prefix empty", jobs.ErrInvalid)
		}
	case jobs.Verify:
		set.HeadersOnly = f.HeadersOnly
		if f.Sample != "" {
			percent, err := strconv.ParseFloat(f.Sample, 64)
			if err != nil {
				return nil, wrong("sample", f.Sample)
			}
			set.Sample = percent / 100
		}
	}
	return j, nil
}

func (s jobPages) newJobPage(w http.ResponseWriter, r *http.Request) {
	f := readJobForm(r.URL.Query().Get)
	f.Kind = cmp.Or(f.Kind, string(jobs.Encrypt))
	s.showJobForm(w, r, http.StatusOK, &f)
}

func (s jobPages) showJobForm(w http.ResponseWriter, r *http.Request, status int, f *jobForm) {
	f.Keys, _ = s.KMS.List(r.Context(), "") // only for completion: KES may not allow it
	f.Keys = f.Keys[:min(len(f.Keys), maxRows)]
	if buckets, err := s.api.buckets(r.Context()); err == nil {
		for _, b := range buckets[:min(len(buckets), maxRows)] {
			f.Buckets = append(f.Buckets, b.Name)
		}
	}
	s.show(w, r, status, "jobs-new", &page{Title: "New job", Data: f})
}

// startJob starts the job that the form asks for. Jobs that write begin with a
// dry run, unless the form says otherwise.
func (s jobPages) startJob(w http.ResponseWriter, r *http.Request) {
	f := readJobForm(r.PostFormValue)
	j, err := f.job(r.PostFormValue("start") != "now")
	if err == nil {
		j, err = s.start(r, j)
	}
	if err != nil {
		var status int
		status, f.Error = explain(err)
		s.showJobForm(w, r, status, &f)
		return
	}
	redirect(w, r, "jobs/"+url.PathEscape(j.ID))
}

// start creates a job and lets this gateway run it. It tries the key first, so
// that a job is refused that could change no object.
func (s jobPages) start(r *http.Request, j *jobs.Job) (_ *jobs.Job, err error) {
	defer func() {
		s.audit(r, change{action: "StartJob" + title(string(j.Kind)), bucket: j.Bucket, key: j.Prefix, kesKey: j.Settings.Key}, err)
	}()
	if key := j.Settings.Key; key != "" {
		if err := s.KMS.Check(r.Context(), key); err != nil {
			return j, err
		}
	}
	made, err := s.Jobs.Create(r.Context(), j)
	if err != nil {
		return j, err
	}
	s.Jobs.Begin(made.ID)
	return made, nil
}

func title(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// jobData is what the page of a job shows.
type jobData struct {
	*jobView
	Needs   []*jobs.Needs // of an inventory
	Present string        // ID of the present root
}

func (s jobPages) jobPage(w http.ResponseWriter, r *http.Request) {
	j, err := s.Jobs.Get(r.Context(), r.PathValue("job"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	d := &jobData{jobView: &jobView{j}, Present: s.State.Root().ID.String()}
	if j.Kind == jobs.Inventory && j.Status == jobs.Finished {
		if d.Needs, err = s.Jobs.NeedsOf(r.Context(), j, ""); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	s.show(w, r, http.StatusOK, "jobs-one", &page{Title: title(string(j.Kind)) + " " + d.Scope(), Data: d})
}

func (s jobPages) cancelPage(w http.ResponseWriter, r *http.Request) {
	j, err := s.Jobs.Get(r.Context(), r.PathValue("job"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "jobs-cancel", &page{Title: "Cancel the job", Data: &jobView{j}})
}

// changeJob pauses, resumes or cancels a job, or starts the job of a dry run.
func (s jobPages) changeJob(w http.ResponseWriter, r *http.Request) {
	ctx, id, action := r.Context(), r.PathValue("job"), r.PathValue("action")
	var err error
	switch action {
	case "pause":
		err = s.Jobs.Pause(ctx, id)
	case "resume":
		if err = s.Jobs.Resume(ctx, id); err == nil {
			s.Jobs.Begin(id) // another gateway would take seconds to find it
		}
	case "cancel":
		err = s.Jobs.Cancel(ctx, id)
	case "start":
		id, err = s.startAfterDryRun(r, id)
	default:
		s.problem(w, r, http.StatusNotFound, "There is no such page", "The console’s first page leads to all others.")
		return
	}
	if action != "start" {
		s.audit(r, change{action: title(action) + "Job", key: id}, err)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	redirect(w, r, "jobs/"+url.PathEscape(id))
}

// startAfterDryRun starts the job that a dry run has tried.
func (s jobPages) startAfterDryRun(r *http.Request, id string) (string, error) {
	tried, err := s.Jobs.Get(r.Context(), id)
	if err != nil {
		return id, err
	}
	if !tried.Settings.DryRun {
		return id, fmt.Errorf("%w: the job is not a dry run", jobs.ErrInvalid)
	}
	j := &jobs.Job{Kind: tried.Kind, Bucket: tried.Bucket, Prefix: tried.Prefix, Settings: tried.Settings}
	j.Settings.DryRun = false
	j, err = s.start(r, j)
	return j.ID, err
}

// jobReport serves a job as JSON.
func (s jobPages) jobReport(w http.ResponseWriter, r *http.Request) {
	j, ok := s.reported(w, r, "application/json", "json")
	if !ok {
		return
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(j) // an error means that the browser has gone
}

// jobTable serves the counts and the named objects of a job as CSV.
func (s jobPages) jobTable(w http.ResponseWriter, r *http.Request) {
	j, ok := s.reported(w, r, "text/csv; charset=utf-8", "csv")
	if !ok {
		return
	}
	if j.Kind == jobs.Inventory {
		_ = j.WriteUses(w, s.State.Root().ID.String()) // an error means that the browser has gone
		return
	}
	c := csv.NewWriter(w)
	rows := [][]string{{"result", "objects", "bytes", "key", "version", "why"}}
	for _, result := range j.Results() {
		t := j.Count(result)
		rows = append(rows, []string{string(result), strconv.FormatInt(t.Objects, 10), strconv.FormatInt(t.Bytes, 10), "", "", ""})
	}
	for _, n := range j.Named {
		rows = append(rows, []string{string(n.Result), "", "", n.Key, n.Version, n.Why})
	}
	for i, row := range rows {
		for k := range row {
			rows[i][k] = harmless(row[k])
		}
	}
	_ = c.WriteAll(rows) // an error means that the browser has gone
}

// harmless returns a cell that no spreadsheet takes for a formula.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// reported begins the answer with a report.
func (s jobPages) reported(w http.ResponseWriter, r *http.Request, contentType, ending string) (*jobs.Job, bool) {
	j, err := s.Jobs.Get(r.Context(), r.PathValue("job"))
	if err != nil {
		s.fail(w, r, err)
		return nil, false
	}
	j.Settings.Notify.Token = "" // a secret
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", j.ID+"."+ending))
	return j, true
}

// Took returns how long a job has taken so far.
func (j *jobView) Took() time.Duration {
	if j.Status.Ended() {
		return j.Ended.Sub(j.Created)
	}
	return time.Since(j.Created)
}
