package state

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"regexp"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/probe"
	"ssegw/proxy/s3"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
)

// A sweep removes leftovers from the state bucket: the records of uploads that
// were neither completed nor aborted through a gateway, the answers of
// Completes, and probes. Any number of replicas may sweep at the same time.
const (
	sweepEvery    = 6 * time.Hour      // on average
	sweepAge      = 7 * 24 * time.Hour // minimum age of an upload's newest record
	doneAge       = 24 * time.Hour     // minimum age of the answer of a Complete
	probeAge      = 24 * time.Hour     // minimum age of a probe
	SweepRequests = 5000               // limit of one sweep; the next one begins elsewhere
)

// errSpent ends a sweep that has no requests left.
var errSpent = errors.New("state: the sweep has no requests left")

// sweeper is the state of one sweep.
type sweeper struct {
	*State
	now     time.Time
	left    int      // requests
	removed int      // objects
	strange []string // the first names that are not of a gateway's form
}

// sweepForever sweeps at random intervals until ctx ends.
func (s *State) sweepForever(ctx context.Context) {
	for {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(sweepEvery)))
		if err != nil || !task.Pause(ctx, sweepEvery/2+time.Duration(n.Int64())) {
			return
		}
		s.guard("sweeping", func() {
			removed, err := s.Sweep(ctx, time.Now(), SweepRequests)
			if removed > 0 || err != nil {
				s.cfg.Log.Info("upload records swept", zap.Int("removed", removed), zap.Error(err))
			}
		})
	}
}

// Sweep removes the leftovers that are old enough at the time now, and returns
// the number of objects removed. It makes about as many requests as given. It
// begins at a random upload, so that short sweeps reach all uploads in the long
// run.
func (s *State) Sweep(ctx context.Context, now time.Time, requests int) (int, error) {
	w := &sweeper{State: s, now: now, left: requests}
	begin := UploadsPrefix + upstream.RandomTag()
	probes := w.sweepProbes(ctx) // first: there are few, and uploads can take all requests
	err := w.scan(ctx, begin, "")
	if err == nil {
		err = w.scan(ctx, "", begin)
	}
	err = cmp.Or(err, probes)
	if len(w.strange) > 0 {
		s.cfg.Log.Warn("the state bucket has objects that no gateway made", zap.Strings("some", w.strange))
	}
	if errors.Is(err, errSpent) {
		err = nil
	}
	return w.removed, err
}

// spend takes one request from those left.
func (w *sweeper) spend() error {
	if w.left == 0 {
		return errSpent
	}
	w.left--
	return nil
}

// recordName matches the names of upload records. Its groups are the upload's
// prefix and the rest.
var recordName = regexp.MustCompile(`^(uploads/[0-9a-f]{32}/)(upload|done|[ps]-[0-9]{5}-.+)$`)

// remains describes the records of one upload.
type remains struct {
	prefix  string
	records int       // without the answer of a Complete
	newest  time.Time // of these records
	done    time.Time // of the answer; zero if there is none
}

// scan judges the uploads whose records have names after the name after, up to
// and including until. An empty until means no limit.
func (w *sweeper) scan(ctx context.Context, after, until string) error {
	var r remains
	for {
		if err := w.spend(); err != nil {
			return err
		}
		page, err := w.page(ctx, UploadsPrefix, after)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			if until != "" && e.Key > until {
				return w.judge(ctx, &r)
			}
			name := recordName.FindStringSubmatch(e.Key)
			if name == nil {
				if len(w.strange) < 10 {
					w.strange = append(w.strange, e.Key)
				}
				continue
			}
			if name[1] != r.prefix {
				if err := w.judge(ctx, &r); err != nil {
					return err
				}
				r = remains{prefix: name[1]}
			}
			r.add(name[2], ParseModified(e.LastModified), w.now)
		}
		if !page.IsTruncated || len(page.Entries) == 0 {
			return w.judge(ctx, &r)
		}
		after = page.Entries[len(page.Entries)-1].Key
	}
}

// add adds a record. A record of unknown time counts as new.
func (r *remains) add(name string, modified, now time.Time) {
	if modified.IsZero() {
		modified = now
	}
	if name == DoneRecord {
		r.done = modified
		return
	}
	r.records++
	if modified.After(r.newest) {
		r.newest = modified
	}
}

// judge removes the records of an upload that are old enough and no longer
// needed.
func (w *sweeper) judge(ctx context.Context, r *remains) error {
	if !r.done.IsZero() && w.now.Sub(r.done) > doneAge {
		if err := w.sweepAway(ctx, r.prefix+DoneRecord); err != nil {
			return err
		}
	}
	if r.records == 0 || w.now.Sub(r.newest) <= sweepAge {
		return nil
	}
	gone, err := w.isGone(ctx, r.prefix)
	if errors.Is(err, ErrRecord) {
		w.cfg.Log.Warn("upload record kept: it does not open", zap.String("name", r.prefix+UploadRecord), zap.Error(err))
		return nil
	}
	if err != nil || !gone {
		return err
	}
	if err := w.spend(); err != nil {
		return err
	}
	return w.each(ctx, r.prefix, func(e *s3.Entry) error {
		if e.Key == r.prefix+DoneRecord {
			return nil
		}
		return w.sweepAway(ctx, e.Key)
	})
}

// sweepProbes removes the objects of probes whose process was killed. A later
// sweep removes what does not fit on a page.
func (w *sweeper) sweepProbes(ctx context.Context) error {
	if err := w.spend(); err != nil {
		return err
	}
	page, err := w.page(ctx, probe.Prefix, "")
	if err != nil {
		return err
	}
	for _, e := range page.Entries {
		if made := ParseModified(e.LastModified); made.IsZero() || w.now.Sub(made) <= probeAge {
			continue
		}
		err = cmp.Or(err, w.sweepAway(ctx, e.Key)) // one that stays does not keep the others
	}
	return err
}

// sweepAway removes an object and counts it.
func (w *sweeper) sweepAway(ctx context.Context, name string) error {
	if err := w.spend(); err != nil {
		return err
	}
	if err := w.remove(ctx, name); err != nil {
		return err
	}
	w.removed++
	return nil
}

// isGone reports whether the upload with that record prefix no longer exists.
// Only the store proves that (see IsGone); any error proves nothing. If
// the record of the upload itself is missing, the other records are useless,
// and isGone returns true.
func (w *sweeper) isGone(ctx context.Context, prefix string) (bool, error) {
	if err := w.spend(); err != nil {
		return false, err
	}
	plain, _, err := w.load(ctx, prefix+UploadRecord, maxUpload)
	if upstream.StatusOf(err) == http.StatusNotFound {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	var u Upload
	if err := json.Unmarshal(plain, &u); err != nil {
		return false, fmt.Errorf("%w: upload record: %w", ErrRecord, err)
	}
	if w.now.Sub(u.Started) <= sweepAge {
		return false, nil
	}
	if err := w.spend(); err != nil {
		return false, err
	}
	return w.store.IsGone(ctx, u.AtStore())
}
