package proxy

import (
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

	"ssegw/proxy/s3"
)

// The sweep removes what uploads leave behind in the state bucket: records of
// uploads that were neither completed nor aborted through a gateway, and answers of
// Completes. Any number of replicas may sweep at a time.
const (
	sweepEvery    = 6 * time.Hour      // on average
	sweepAge      = 7 * 24 * time.Hour // of the last record of an upload
	doneAge       = 24 * time.Hour     // of the answer of a Complete
	sweepRequests = 5000               // of one sweep; the next one begins elsewhere
)

// errSpent ends a sweep that has made all its requests.
var errSpent = errors.New("proxy: the sweep has made all its requests")

// sweeper is one sweep.
type sweeper struct {
	*State
	now     time.Time
	left    int      // requests
	removed int      // objects
	strange []string // the first names that no gateway gives
}

// sweepForever sweeps now and then until ctx ends.
func (s *State) sweepForever(ctx context.Context) {
	for {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(sweepEvery)))
		if err != nil || !pause(ctx, sweepEvery/2+time.Duration(n.Int64())) {
			return
		}
		s.guard("sweeping", func() {
			removed, err := s.sweep(ctx, time.Now(), sweepRequests)
			if removed > 0 || err != nil {
				s.cfg.Log.Info("upload records swept", zap.Int("removed", removed), zap.Error(err))
			}
		})
	}
}

// sweep removes what has aged by now, in about as many requests as given, and
// returns the number of objects removed. It begins at a random upload, so that all
// have their turn.
func (s *State) sweep(ctx context.Context, now time.Time, requests int) (int, error) {
	w := &sweeper{State: s, now: now, left: requests}
	begin := uploadsPrefix + randomTag()
	err := w.scan(ctx, begin, "")
	if err == nil {
		err = w.scan(ctx, "", begin)
	}
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

// recordName matches the names of upload records: the upload's prefix and the rest.
var recordName = regexp.MustCompile(`^(uploads/[0-9a-f]{32}/)(upload|done|[ps]-[0-9]{5}-.+)$`)

// remains are the records of one upload.
type remains struct {
	prefix  string
	records int       // the kept answer is none
	newest  time.Time // of the records
	done    time.Time // of the kept answer
}

// scan looks at the uploads whose records come behind the name after, up to until.
func (w *sweeper) scan(ctx context.Context, after, until string) error {
	var r remains
	for {
		if err := w.spend(); err != nil {
			return err
		}
		page, err := w.page(ctx, uploadsPrefix, after)
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
			r.add(name[2], parseModified(e.LastModified), w.now)
		}
		if !page.IsTruncated || len(page.Entries) == 0 {
			return w.judge(ctx, &r)
		}
		after = page.Entries[len(page.Entries)-1].Key
	}
}

// add takes note of a record. One of an unknown time is new.
func (r *remains) add(name string, modified, now time.Time) {
	if modified.IsZero() {
		modified = now
	}
	if name == doneRecord {
		r.done = modified
		return
	}
	r.records++
	if modified.After(r.newest) {
		r.newest = modified
	}
}

// judge removes the records of an upload that have aged and serve nobody.
func (w *sweeper) judge(ctx context.Context, r *remains) error {
	if !r.done.IsZero() && w.now.Sub(r.done) > doneAge {
		if err := w.sweepAway(ctx, r.prefix+doneRecord); err != nil {
			return err
		}
	}
	if r.records == 0 || w.now.Sub(r.newest) <= sweepAge {
		return nil
	}
	gone, err := w.isGone(ctx, r.prefix)
	if errors.Is(err, errIntegrity) {
		w.cfg.Log.Warn("upload record left: it does not open", zap.String("name", r.prefix+uploadRecord), zap.Error(err))
		return nil
	}
	if err != nil || !gone {
		return err
	}
	if err := w.spend(); err != nil {
		return err
	}
	return w.each(ctx, r.prefix, func(e *s3.Entry) error {
		if e.Key == r.prefix+doneRecord {
			return nil
		}
		return w.sweepAway(ctx, e.Key)
	})
}

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

// isGone reports whether the upload of the records with that prefix is no more. Only
// the store's word for exactly that says so: an error says nothing. Where the upload
// itself is not recorded, its other records are of no use to anybody.
func (w *sweeper) isGone(ctx context.Context, prefix string) (bool, error) {
	if err := w.spend(); err != nil {
		return false, err
	}
	plain, err := w.load(ctx, prefix+uploadRecord, maxUpload)
	if statusOf(err) == http.StatusNotFound {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	var u upload
	if err := json.Unmarshal(plain, &u); err != nil {
		return false, fmt.Errorf("%w: upload record: %w", errIntegrity, err)
	}
	if w.now.Sub(u.Started) <= sweepAge {
		return false, nil
	}
	if err := w.spend(); err != nil {
		return false, err
	}
	err = w.cfg.Upstream.knows(ctx, &u, caller{})
	var refused *upstreamError
	switch {
	case isNoUpload(err):
		return true, nil
	case errors.As(err, &refused) && !errors.Is(err, errUpstream):
		return false, nil
	}
	return false, err
}
