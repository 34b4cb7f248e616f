package console

import (
	"context"
	"slices"
	"time"

	"ssegw/proxy/jobs"
	"ssegw/proxy/state"
)

// What several pages need to know.

// rules returns the rules of all buckets as they are now.
func (s *Server) rules(ctx context.Context) (map[string]state.Rule, error) {
	if err := s.State.Ready(); err != nil {
		return nil, err
	}
	s.State.RefreshRules(ctx)
	rules, _, err := s.State.KnownRules()
	return rules, err
}

// share is how much of a bucket is sealed, by an inventory.
type share struct {
	Sealed, Plain, Unreadable int64 // objects and older versions
	Incomplete                bool  // objects of the inventory, maybe of other buckets, are not counted
	Job                       string
	At                        time.Time
}

// Percent is the sealed part in percent, rounded down, so that 100 means all.
func (s *share) Percent() int64 { return s.Sealed * 100 / max(s.Total(), 1) }

// Total returns the number of objects and versions.
func (s *share) Total() int64 { return s.Sealed + s.Plain + s.Unreadable }

// shares returns how much of each bucket is sealed, by the latest inventory
// that has looked at all of it.
func (s *Server) shares(ctx context.Context) map[string]*share {
	all := map[string]*share{}
	for _, j := range s.inventories(ctx) {
		if j.Prefix != "" {
			continue
		}
		found := map[string]*share{}
		if j.Bucket != "" {
			found[j.Bucket] = &share{Job: j.ID, At: j.Created, Incomplete: j.Incomplete() > 0}
		}
		for _, name := range j.Buckets {
			found[name] = &share{Job: j.ID, At: j.Created, Incomplete: j.Incomplete() > 0}
		}
		for _, u := range j.Uses {
			n := found[u.Bucket]
			if n == nil {
				continue
			}
			switch u.Scheme {
			case jobs.Plain:
				n.Plain += u.Objects + u.Versions
			case jobs.Unreadable:
				n.Unreadable += u.Objects + u.Versions
			default:
				n.Sealed += u.Objects + u.Versions
			}
		}
		for name, n := range found {
			if all[name] == nil {
				all[name] = n
			}
		}
	}
	return all
}

// inventories returns the inventories that have finished, the newest first. An
// error means that there are none to show; the page of jobs tells about it.
func (s *Server) inventories(ctx context.Context) (list []*jobs.Job) {
	all, _ := s.Jobs.List(ctx)
	for _, j := range all {
		if j.Kind == jobs.Inventory && j.Status == jobs.Finished {
			list = append(list, j)
		}
	}
	slices.SortFunc(list, func(a, b *jobs.Job) int { return b.Created.Compare(a.Created) })
	return list
}

// stateProblem returns why the gateway's state is not open.
func (s *Server) stateProblem() string {
	if s.State.Ready() == nil {
		return ""
	}
	if err := s.State.Waiting(); err != nil {
		return plainText(err)
	}
	return "the gateway is starting"
}

// servesSealedOnly reports whether a bucket with a rule refuses to serve
// plaintext.
func (s *Server) servesSealedOnly(rule *state.Rule) bool {
	switch s.SealedOnly {
	case "never":
		return false
	case "always":
		return rule.SealedOnly || rule.Algorithm != "" || s.AutoEncryption != "off"
	}
	return rule.SealedOnly
}
