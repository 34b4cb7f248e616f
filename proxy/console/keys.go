package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ssegw/proxy/sse"
)

// keyPages serves the page of KES keys.
type keyPages struct{ *Server }

// keyRow is a line of the table of keys.
type keyRow struct {
	Name      string
	IsDefault bool
	Rules     []string // buckets whose rule names the key
	Objects   int64    // by the last inventory of all buckets, older versions included
}

// keyListData is what the page of keys shows.
type keyListData struct {
	Rows      []keyRow
	Filter    string
	Hidden    int
	All       int
	Inventory string    // ID of the inventory that has counted the objects; "": there is none
	At        time.Time // when it began
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
	rules := map[string][]string{}
	if all, err := s.rules(ctx); err == nil {
		for bucket, rule := range all {
			if key, err := sse.KeyName(rule.KeyID, s.KMS.DefaultKey()); err == nil {
				rules[key] = append(rules[key], bucket)
			}
		}
	}
	objects := map[string]int64{}
	for _, j := range s.inventories(ctx) {
		if j.Bucket == "" && j.Prefix == "" {
			d.Inventory, d.At = j.ID, j.Created
			for _, u := range j.Uses {
				objects[u.Key] += u.Objects + u.Versions
			}
			break
		}
	}
	d.All = len(names)
	for _, name := range names {
		switch {
		case !strings.Contains(name, d.Filter):
		case len(d.Rows) == maxRows:
			d.Hidden++
		default:
			d.Rows = append(d.Rows, keyRow{name, name == s.KMS.DefaultKey(), slices.Sorted(slices.Values(rules[name])), objects[name]})
		}
	}
	s.show(w, r, status, "keys", &page{Title: "Keys", Data: &d, Notice: notice})
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
