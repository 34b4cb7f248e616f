package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// maxRows is how many rows of a table a page shows. A filter finds the others.
const maxRows = 300

// bucketPages serves the pages of buckets.
type bucketPages struct{ *Server }

// named serves a page of the bucket in its path.
func (s bucketPages) named(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s3.CheckBucket(r.PathValue("bucket")) != nil {
			s.problem(w, r, http.StatusNotFound, "There is no such bucket", "That cannot be the name of a bucket.")
			return
		}
		next(w, r)
	}
}

// bucketRow is a line of the table of buckets.
type bucketRow struct {
	Name    string
	Created time.Time
	Rule    *state.Rule // nil: none
	Serves  bool        // sealed objects only
	Share   *share      // nil: no inventory has looked
}

// bucketListData is what the page of all buckets shows.
type bucketListData struct {
	Rows   []bucketRow
	Filter string
	Hidden int // rows that are not shown
	All    int
}

func (s bucketPages) bucketList(w http.ResponseWriter, r *http.Request) {
	d := bucketListData{Filter: strings.TrimSpace(r.URL.Query().Get("filter"))}
	buckets, err := s.api.buckets(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	rules, err := s.rules(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	shares := s.shares(r.Context())
	d.All = len(buckets)
	for _, b := range buckets {
		if !strings.Contains(b.Name, d.Filter) {
			continue
		}
		if len(d.Rows) == maxRows {
			d.Hidden++
			continue
		}
		row := bucketRow{Name: b.Name, Created: b.CreationDate, Share: shares[b.Name]}
		if rule, ok := rules[b.Name]; ok {
			row.Rule, row.Serves = &rule, s.servesSealedOnly(&rule)
		}
		d.Rows = append(d.Rows, row)
	}
	s.show(w, r, http.StatusOK, "buckets", &page{Title: "Buckets", Data: &d})
}

// ruleForm is what the form of a rule asks for.
type ruleForm struct {
	Algorithm string
	Key       string // KES key; "": the default key
	MakeKey   bool   // create the key first
	BucketKey bool
	BlockSSEC bool
}

func readRuleForm(r *http.Request) ruleForm {
	return ruleForm{
		Algorithm: r.PostFormValue("algorithm"), Key: strings.TrimSpace(r.PostFormValue("key")), MakeKey: r.PostFormValue("make-key") != "",
		BucketKey: r.PostFormValue("bucket-key") != "", BlockSSEC: r.PostFormValue("block-ssec") != "",
	}
}

// encryption returns the rule that the form asks for.
func (f *ruleForm) encryption() *s3.Encryption {
	e := &s3.Encryption{Algorithm: f.Algorithm}
	if f.Algorithm == s3.AWSKMS {
		e.KeyID, e.BucketKey = f.Key, f.BucketKey
	}
	if f.BlockSSEC {
		e.Blocked = []string{"SSE-C"}
	}
	return e
}

// formOf returns the form as it stands for a rule. Without a rule it offers
// SSE-KMS under the default key.
func (s bucketPages) formOf(rule *s3.Encryption) ruleForm {
	if rule == nil {
		return ruleForm{Algorithm: s3.AWSKMS, Key: s.KMS.DefaultKey(), BucketKey: true}
	}
	f := ruleForm{Algorithm: rule.Algorithm, Key: strings.TrimPrefix(rule.KeyID, "arn:aws:kms:"), BucketKey: rule.BucketKey, BlockSSEC: slices.Contains(rule.Blocked, "SSE-C")}
	f.Key = cmp.Or(f.Key, s.KMS.DefaultKey())
	return f
}

// bucketData is what the page of a bucket shows.
type bucketData struct {
	Name    string
	Rule    *s3.Encryption // nil: none
	Serves  bool           // sealed objects only
	Default string         // of buckets without a rule
	Share   *share
	Form    ruleForm
	Keys    []string
	Preview []string
	Error   string
}

func (s bucketPages) bucketPage(w http.ResponseWriter, r *http.Request) {
	d, err := s.bucketData(r.Context(), r.PathValue("bucket"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	notice := ""
	switch q := r.URL.Query(); {
	case q.Has("saved"):
		notice = "The rule is saved. It holds at all replicas within 5 seconds."
	case q.Has("cleared"):
		notice = "The rule is cleared. No replica follows it after 5 seconds."
	}
	s.show(w, r, http.StatusOK, "buckets-one", &page{Title: d.Name, Data: d, Notice: notice})
}

// ruleData is bucketData without what is not about the rule.
func (s bucketPages) ruleData(ctx context.Context, bucket string) (*bucketData, error) {
	rule, err := s.api.encryption(ctx, bucket)
	if err != nil {
		return nil, err
	}
	return &bucketData{Name: bucket, Rule: rule, Form: s.formOf(rule), Default: s.AutoEncryption}, nil
}

func (s bucketPages) bucketData(ctx context.Context, bucket string) (*bucketData, error) {
	d, err := s.ruleData(ctx, bucket)
	if err != nil {
		return nil, err
	}
	d.Share = s.shares(ctx)[bucket]
	if rules, _, err := s.State.KnownRules(); err == nil {
		if stored, ok := rules[bucket]; ok {
			d.Serves = s.servesSealedOnly(&stored)
		}
	}
	d.Keys, _ = s.KMS.List(ctx, "") // only for completion: KES may not allow it
	if len(d.Keys) > maxRows {
		d.Keys = d.Keys[:maxRows]
	}
	d.Preview = s.preview(d)
	return d, nil
}

// preview tells in sentences what saving the form would change.
func (s bucketPages) preview(d *bucketData) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	f := &d.Form
	switch f.Algorithm {
	case s3.AWSKMS:
		key := cmp.Or(f.Key, s.KMS.DefaultKey())
		if f.MakeKey {
			add("KES makes the key %s.", key)
		}
		if f.BucketKey {
			add("New objects are sealed with SSE-KMS under the KES key %s. They share data keys, so that KES is asked rarely.", key)
		} else {
			add("New objects are sealed with SSE-KMS under the KES key %s. Each has a data key of its own, and costs a call of KES.", key)
		}
	case s3.AES256:
		add("New objects are sealed with SSE-S3 under the gateway\u2019s default key %s.", s.KMS.DefaultKey())
	}
	if d.Rule != nil && d.Rule.Algorithm == s3.AWSKMS && d.Rule.KeyID == "" && f.Algorithm == s3.AWSKMS {
		add("The rule names its key from now on. So far it follows the gateway\u2019s default key.")
	}
	if f.BlockSSEC {
		add("Writes with a customer\u2019s key (SSE-C) are refused.")
	}
	switch {
	case d.Rule == nil:
		add("Objects that are there already stay as they are. If the bucket is empty now, it serves sealed objects only from now on.")
	case d.Rule.Algorithm != f.Algorithm || d.Form.Key != strings.TrimPrefix(cmp.Or(d.Rule.KeyID, s.KMS.DefaultKey()), "arn:aws:kms:"):
		add("Objects that are there already keep their encryption. A job (rekey) can move them to another key.")
	}
	return lines
}

// previewRule shows the page with the form as it is filled in. A script asks
// for it at each change of the form, and needs the preview alone.
func (s bucketPages) previewRule(w http.ResponseWriter, r *http.Request) {
	read := s.bucketData
	if r.Header.Get("Hx-Request") != "" {
		read = s.ruleData
	}
	d, err := read(r.Context(), r.PathValue("bucket"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	d.Form = readRuleForm(r)
	d.Preview = s.preview(d)
	s.show(w, r, http.StatusOK, "buckets-one", &page{Title: d.Name, Data: d})
}

// setRule sets the rule of a bucket as the form asks.
func (s bucketPages) setRule(w http.ResponseWriter, r *http.Request) {
	bucket, form := r.PathValue("bucket"), readRuleForm(r)
	err := s.applyRule(r, bucket, &form)
	if err == nil {
		redirect(w, r, "buckets/"+url.PathEscape(bucket)+"?saved")
		return
	}
	d, err2 := s.bucketData(r.Context(), bucket)
	if err2 != nil {
		s.fail(w, r, err)
		return
	}
	status, text := explain(err)
	d.Form, d.Error = form, text
	d.Preview = s.preview(d)
	s.show(w, r, status, "buckets-one", &page{Title: d.Name, Data: d})
}

func (s bucketPages) applyRule(r *http.Request, bucket string, form *ruleForm) error {
	if form.MakeKey && form.Algorithm == s3.AWSKMS {
		err := s.KMS.Create(r.Context(), form.Key)
		s.audit(r, change{action: "CreateKey", kesKey: form.Key}, err)
		if err != nil {
			return err
		}
		form.MakeKey = false // a second attempt finds the key
	}
	e := form.encryption()
	err := s.api.setEncryption(r.Context(), bucket, e)
	s.audit(r, change{action: "SetRule", bucket: bucket, kesKey: e.KeyID}, err)
	return err
}

func (s bucketPages) clearPage(w http.ResponseWriter, r *http.Request) {
	d, err := s.bucketData(r.Context(), r.PathValue("bucket"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "buckets-clear", &page{Title: "Clear the rule of " + d.Name, Data: d})
}

func (s bucketPages) clearRule(w http.ResponseWriter, r *http.Request) {
	bucket := r.PathValue("bucket")
	err := s.api.setEncryption(r.Context(), bucket, nil)
	s.audit(r, change{action: "ClearRule", bucket: bucket}, err)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	redirect(w, r, "buckets/"+url.PathEscape(bucket)+"?cleared")
}
