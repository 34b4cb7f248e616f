package console

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ssegw/proxy/jobs"
)

// keyPages serves the page of KES keys.
type keyPages struct{ *Server }

// keyRow is a line of the table of keys.
type keyRow struct {
	Name      string
	IsDefault bool
	IsMissing bool        // KES does not have it, or does not tell
	Needs     *jobs.Needs // nil: nothing needs it, as far as is known
}

// keyListData is what the page of keys shows.
type keyListData struct {
	Rows      []keyRow
	Filter    string
	Hidden    int
	All       int
	Inventory string    // ID of the inventory that has counted the objects; "": there is none
	At        time.Time // when it began
	Unknown   int64     // objects that it could not read: they may need any key
	Error     string    // of the last change
	New       string    // name that was asked for
}

func (s keyPages) keyList(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	notice := ""
	switch {
	case q.Has("made"):
		notice = "KES has made the key " + q.Get("made") + "."
	case q.Has("tried"):
		notice = "The key " + q.Get("tried") + " works: KES made a data key and opened it again."
	}
	s.showKeys(w, r, http.StatusOK, notice, nil, "")
}

// showKeys shows the keys, after an error if err is not nil.
func (s keyPages) showKeys(w http.ResponseWriter, r *http.Request, status int, notice string, err error, asked string) {
	ctx := r.Context()
	d := keyListData{Filter: strings.TrimSpace(r.URL.Query().Get("filter")), New: asked}
	if err != nil {
		status, d.Error = explain(err)
	}
	names, err := s.KMS.List(ctx, "")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	needs, err := s.needs(ctx, &d)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	rows := []keyRow{}
	for _, name := range names {
		rows = append(rows, keyRow{Name: name, IsDefault: name == s.KMS.DefaultKey(), Needs: needs[name]})
		delete(needs, name)
	}
	for _, name := range slices.Sorted(maps.Keys(needs)) {
		rows = append(rows, keyRow{Name: name, IsDefault: name == s.KMS.DefaultKey(), IsMissing: true, Needs: needs[name]})
	}
	d.All = len(rows)
	for _, row := range rows {
		switch {
		case !strings.Contains(row.Name, d.Filter):
		case len(d.Rows) == maxRows && !row.IsMissing:
			d.Hidden++
		default:
			d.Rows = append(d.Rows, row)
		}
	}
	s.show(w, r, status, "keys", &page{Title: "Keys", Data: &d, Notice: notice})
}

// needs returns what needs each key: objects as the last inventory of all
// buckets has counted them, and rules, roots and uploads as they are now.
func (s keyPages) needs(ctx context.Context, d *keyListData) (map[string]*jobs.Needs, error) {
	last := &jobs.Job{}
	for _, j := range s.inventories(ctx) {
		if j.Bucket == "" && j.Prefix == "" {
			last, d.Inventory, d.At, d.Unknown = j, j.ID, j.Created, j.Incomplete()
			break
		}
	}
	list, err := s.Jobs.NeedsOf(ctx, last, "")
	if err != nil {
		return nil, err
	}
	all := map[string]*jobs.Needs{}
	for _, n := range list {
		all[n.Key] = n
	}
	return all, nil
}

func (s keyPages) createKey(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSpace(r.PostFormValue("key"))
	err := s.KMS.Create(r.Context(), name)
	s.audit(r, change{action: "CreateKey", kesKey: name}, err)
	if err != nil {
		s.showKeys(w, r, 0, "", err, name)
		return
	}
	redirect(w, r, "keys?made="+url.QueryEscape(name))
}

// tryKey makes a data key under a KES key and opens it again.
func (s keyPages) tryKey(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("key")
	err := s.KMS.Check(r.Context(), name)
	s.audit(r, change{action: "TryKey", kesKey: name}, err)
	if err != nil {
		s.showKeys(w, r, 0, "", err, "")
		return
	}
	redirect(w, r, "keys?tried="+url.QueryEscape(name))
}
