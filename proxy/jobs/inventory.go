package jobs

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Use counts what hangs on one KES key in one bucket.
type Use struct {
	Bucket   string `json:"bucket"`
	Scheme   string `json:"scheme"`         // SSE-S3, SSE-KMS or SSE-C; Plain or Unreadable
	Key      string `json:"key,omitempty"`  // KES key
	Root     string `json:"root,omitempty"` // ID of the root that the facts are sealed under
	Objects  int64  `json:"objects"`        // current versions
	Versions int64  `json:"versions"`       // older versions
	Bytes    int64  `json:"bytes"`          // plaintext bytes, of objects and versions
	Parts    int64  `json:"parts"`          // that multipart objects and versions have
}

// Values of Use.Scheme for objects that are not sealed, or not readable.
const (
	Plain      = "plaintext"
	Unreadable = "unreadable"
)

// uses counts by everything but the numbers.
type uses map[Use]Use

// add adds one object to the use with the fields of id.
func (u *uses) add(id Use, count func(*Use)) {
	if *u == nil {
		*u = uses{}
	}
	sum, ok := (*u)[id]
	if !ok {
		sum = id
	}
	count(&sum)
	(*u)[id] = sum
}

// addTo returns list with u added.
func (u uses) addTo(list []Use) []Use {
	for id, n := range u {
		i := slices.IndexFunc(list, func(l Use) bool {
			return l.Bucket == id.Bucket && l.Scheme == id.Scheme && l.Key == id.Key && l.Root == id.Root
		})
		if i < 0 {
			list = append(list, n)
			continue
		}
		l := &list[i]
		l.Objects, l.Versions, l.Bytes, l.Parts = l.Objects+n.Objects, l.Versions+n.Versions, l.Bytes+n.Bytes, l.Parts+n.Parts
	}
	slices.SortFunc(list, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Scheme, b.Scheme), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Root, b.Root))
	})
	return list
}

// inventoryPasses looks at each bucket of the scope in turn.
func (r *run) inventoryPasses(ctx context.Context) ([]pass, error) {
	buckets := []string{r.job.Bucket}
	if r.job.Bucket == "" {
		var err error
		if buckets, err = r.buckets(ctx); err != nil {
			return nil, err
		}
	}
	var passes []pass
	for _, bucket := range buckets {
		l := r.listing(false)
		l.bucket = bucket
		var err error
		if l.versions, err = hasVersions(ctx, l.store, bucket); err != nil {
			return nil, err
		}
		passes = append(passes, pass{listing: l, object: func(ctx context.Context, e *s3.Entry) outcome { return r.inventory(ctx, bucket, e) }})
	}
	return passes, nil
}

// buckets returns the buckets of the store, without the state bucket. A job
// goes on after a bucket by its place, so the list is part of the job.
func (r *run) buckets(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.job.Buckets != nil {
		return r.job.Buckets, nil
	}
	names := []string{}
	for token := ""; ; {
		query := url.Values{}
		if token != "" {
			query.Set("continuation-token", token)
		}
		resp, err := r.Upstream.Own().Send(ctx, upstream.Request{Method: http.MethodGet, Query: query})
		if err != nil {
			return nil, err
		}
		doc, err := upstream.ReadDocument(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		page, err := s3.ParseBuckets(doc)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", upstream.ErrUnavailable, err)
		}
		names = append(names, page.Names()...)
		if next := page.Token(); next == "" || next == token {
			break
		} else {
			token = next
		}
	}
	r.job.Buckets = slices.DeleteFunc(names, func(n string) bool { return n == r.State.Bucket() })
	return r.job.Buckets, nil
}

// inventory counts an object under the key that its proven header names.
func (r *run) inventory(ctx context.Context, bucket string, e *s3.Entry) outcome {
	if e.DeleteMarker {
		return outcome{}
	}
	id := Use{Bucket: bucket, Scheme: Plain}
	size, parts := e.Size, int64(0)
	o, err := r.prove(ctx, bucket, e)
	switch {
	case isGone(err):
		return r.unlessListed(ctx, bucket, e, outcome{result: ResultGone})
	case errors.Is(err, object.ErrIntegrity):
		id.Scheme, id.Key = Unreadable, r.claimedKey(ctx, bucket, e)
	case err != nil:
		return outcome{result: ResultFailed, err: err}
	case o != nil:
		defer o.Wipe()
		id.Scheme, id.Key, id.Root = o.Header.Scheme.String(), o.Header.KeyName, o.Header.RootID.String()
		size, parts = o.Size, int64(o.PartCount())
	}
	r.mu.Lock()
	if _, known := r.page.uses[id]; !known && len(r.job.Uses)+len(r.page.uses) >= maxUses {
		r.mu.Unlock()
		return outcome{result: ResultFailed, err: fmt.Errorf("jobs: more than %d different keys and roots", maxUses)}
	}
	r.page.uses.add(id, func(u *Use) {
		if r.isOld(e) {
			u.Versions++
		} else {
			u.Objects++
		}
		u.Bytes += size
		u.Parts += parts
	})
	r.mu.Unlock()
	if id.Scheme == Unreadable {
		return outcome{result: ResultFailed, bytes: size, err: err}
	}
	return outcome{result: ResultCounted, bytes: size}
}

// claimedKey returns the KES key that the header of an object names, which
// could not be proven; "" if it names none. The object may need that key.
func (r *run) claimedKey(ctx context.Context, bucket string, e *s3.Entry) string {
	head, err := r.readerIn(bucket, e).Head(ctx, object.Request{})
	if err != nil {
		return ""
	}
	parsed, err := sealer.ParseHeader(head.Header)
	if err != nil {
		return ""
	}
	return parsed.KeyName
}

// Needs tells what still needs a KES key, as far as an inventory found out.
type Needs struct {
	Key      string    `json:"key"`
	Bucket   string    `json:"bucket,omitempty"` // the only one that was looked at; "": all were
	AsOf     time.Time `json:"as_of"`            // when the inventory began
	Unknown  int64     `json:"unknown"`          // objects and versions that could not be read: they may need the key
	Objects  int64     `json:"objects"`
	Versions int64     `json:"versions"`
	Uploads  int64     `json:"uploads"`
	Rules    []string  `json:"rules,omitempty"` // buckets whose rule names the key
	Roots    []string  `json:"roots,omitempty"` // records of roots that are sealed under the key
}

// Nothing reports whether nothing needs the key.
func (n *Needs) Nothing() bool {
	return n.Unknown == 0 && n.Objects == 0 && n.Versions == 0 && n.Uploads == 0 && len(n.Rules) == 0 && len(n.Roots) == 0
}

// String is one line that answers whether the key may be retired.
func (n *Needs) String() string {
	in := ""
	if n.Bucket != "" {
		in = " in " + n.Bucket
	}
	if n.Nothing() {
		return fmt.Sprintf("nothing%s needs the key %s (as of %s)", in, n.Key, n.AsOf.Format(time.RFC3339))
	}
	var by []string
	for _, c := range [...]struct {
		n    int64
		what string
	}{{n.Objects, "objects"}, {n.Versions, "older versions"}, {n.Uploads, "unfinished uploads"}} {
		if c.n > 0 {
			by = append(by, fmt.Sprintf("%d %s%s", c.n, c.what, in))
		}
	}
	if len(n.Rules) > 0 {
		by = append(by, "the rules of "+strings.Join(n.Rules, ", "))
	}
	if len(n.Roots) > 0 {
		by = append(by, "the gateway's "+strings.Join(n.Roots, ", "))
	}
	if n.Unknown > 0 {
		by = append(by, fmt.Sprintf("maybe %d objects that could not be read", n.Unknown))
	}
	last := len(by) - 1
	text := by[last]
	if last > 0 {
		text = strings.Join(by[:last], ", ") + " and " + text
	}
	return fmt.Sprintf("key %s is still needed by %s", n.Key, text)
}

// NeedsOf returns what needs each KES key of a finished inventory, or the one
// named key, together with the gateway's own records.
func (e *Engine) NeedsOf(ctx context.Context, j *Job, key string) ([]*Needs, error) {
	all := map[string]*Needs{}
	of := func(name string) *Needs {
		if all[name] == nil {
			all[name] = &Needs{Key: name, Bucket: j.Bucket, AsOf: j.Created, Unknown: j.Incomplete()}
		}
		return all[name]
	}
	for _, u := range j.Uses {
		if u.Key != "" {
			n := of(u.Key)
			n.Objects, n.Versions = n.Objects+u.Objects, n.Versions+u.Versions
		}
	}
	own, err := state.KeyUses(ctx, e.State)
	if err != nil {
		return nil, err
	}
	for _, u := range own {
		name, err := sse.KeyName(u.Key, e.KMS.DefaultKey())
		if err != nil {
			return nil, err
		}
		n := of(name)
		switch {
		case u.Root != "":
			n.Roots = append(n.Roots, u.Root)
		case u.Rule != "":
			n.Rules = append(n.Rules, u.Rule)
		case j.Bucket == "" || j.Bucket == u.Upload:
			n.Uploads++
		}
	}
	if key != "" {
		return []*Needs{of(key)}, nil
	}
	var list []*Needs
	for _, n := range all {
		slices.Sort(n.Rules)
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b *Needs) int { return cmp.Compare(a.Key, b.Key) })
	return list, nil
}

// useColumns are those of the CSV of an inventory.
var useColumns = []string{"bucket", "scheme", "kes_key", "root", "objects", "versions", "bytes", "parts", "present_root"}

// WriteUses writes the counts of an inventory as CSV. present is the ID of the
// present root. The last column says whether a root is that one; it is empty
// where there is no root.
func (j *Job) WriteUses(out io.Writer, present string) error {
	w := csv.NewWriter(out)
	if err := w.Write(useColumns); err != nil {
		return err
	}
	for _, u := range j.Uses {
		row := []string{u.Bucket, u.Scheme, u.Key, u.Root}
		for _, n := range [...]int64{u.Objects, u.Versions, u.Bytes, u.Parts} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		if u.Root == "" {
			row = append(row, "")
		} else {
			row = append(row, strconv.FormatBool(u.Root == present))
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}
