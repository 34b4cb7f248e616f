package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/state"
)

// ended knows the sessions that were signed out and the links that were used.
// It keeps them until their time would be over. Replicas share them in a record
// of the state bucket. A replica whose state is not open knows its own alone.
type ended struct {
	state *state.State
	log   *zap.Logger

	mu     sync.Mutex
	ids    map[string]time.Time // when they may be forgotten
	looked time.Time            // at the record
}

const (
	endedRecord = "console/ended"
	endedMaxAge = 2 * time.Second // of what is known of other replicas
	endedWait   = 2 * time.Second // for the store
	endedMost   = 20_000          // entries
	endedBytes  = 4 << 20         // of the record
	endedTries  = 5               // of a write that others overtake
)

func newEnded(s *state.State, log *zap.Logger) *ended {
	return &ended{state: s, log: log, ids: map[string]time.Time{}}
}

// has reports whether a session was signed out, or a link used.
func (e *ended) has(ctx context.Context, id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.ids[id]; ok {
		return true
	}
	if time.Since(e.looked) > endedMaxAge && e.state.Ready() == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endedWait)
		defer cancel()
		if _, err := e.read(ctx); err != nil {
			e.log.Warn("console: sign-outs at other replicas not read", zap.Error(err))
		}
		e.looked = time.Now()
	}
	_, ok := e.ids[id]
	return ok
}

// read reads the record, and adds to it what this replica knows. The caller
// holds the lock.
func (e *ended) read(ctx context.Context) (*state.Document, error) {
	d, err := e.state.Documents().Read(ctx, endedRecord, endedBytes)
	if errors.Is(err, state.ErrNoDocument) {
		return &state.Document{Name: endedRecord}, nil
	}
	if err != nil {
		return nil, err
	}
	var stored map[string]time.Time
	if err := json.Unmarshal(d.Plain, &stored); err != nil {
		return nil, fmt.Errorf("console: reading %s: %w", endedRecord, err)
	}
	maps.Copy(e.ids, stored)
	e.forget()
	return d, nil
}

// forget drops entries whose time is over. The caller holds the lock.
func (e *ended) forget() {
	now := time.Now()
	maps.DeleteFunc(e.ids, func(_ string, until time.Time) bool { return now.After(until) })
}

var errUsed = errors.New("console: used before")

// add ends a session or uses a link, at all replicas. The error is errUsed if
// it has ended before; another error means that only this replica knows.
func (e *ended) add(ctx context.Context, id string, until time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.ids[id]; ok {
		return errUsed
	}
	e.forget()
	if len(e.ids) >= endedMost {
		return fmt.Errorf("console: %d sessions have ended in the last hours; try again later", endedMost)
	}
	err := e.state.Ready()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endedWait)
		defer cancel()
		err = e.share(ctx, id, until)
	}
	e.ids[id] = until
	return err
}

// share writes the record with one more entry. The caller holds the lock.
func (e *ended) share(ctx context.Context, id string, until time.Time) error {
	for range endedTries {
		d, err := e.read(ctx)
		if err != nil {
			return err
		}
		if _, ok := e.ids[id]; ok {
			return errUsed
		}
		all := maps.Clone(e.ids)
		all[id] = until
		if d.Plain, err = json.Marshal(all); err != nil {
			return err
		}
		if err = e.state.Documents().Write(ctx, d); !errors.Is(err, state.ErrOvertaken) {
			return err
		}
	}
	return state.ErrOvertaken
}
