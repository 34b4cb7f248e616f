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
// of the state bucket. What could not be shared is shared later.
type ended struct {
	state *state.State
	log   *zap.Logger
	turn  chan struct{} // of capacity 1: holds a token while the record is read or written

	mu     sync.Mutex
	ids    map[string]time.Time // when they may be forgotten
	own    map[string]time.Time // those that the record does not have yet
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
	return &ended{state: s, log: log, turn: make(chan struct{}, 1), ids: map[string]time.Time{}, own: map[string]time.Time{}}
}

// has reports whether a session was signed out, or a link used. One caller at a
// time looks at the record. The others go by what is known.
func (e *ended) has(ctx context.Context, id string) bool {
	if e.knows(id) {
		return true
	}
	if e.isOld() && e.state.Ready() == nil {
		select {
		case e.turn <- struct{}{}:
			e.look(ctx)
			<-e.turn
		default:
		}
	}
	return e.knows(id)
}

func (e *ended) knows(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ok := e.ids[id]
	return ok
}

func (e *ended) isOld() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Since(e.looked) > endedMaxAge
}

// look reads the record, and writes what it lacks. The caller has the turn.
func (e *ended) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endedWait)
	defer cancel()
	err := e.exchange(ctx, "")
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looked = time.Now()
	if err != nil {
		e.log.Warn("console: sign-outs not exchanged with other replicas", zap.Error(err))
	}
}

var errUsed = errors.New("console: used before")

// add ends a session or uses a link. The error is errUsed if it has ended
// before; another error means that only this replica knows, until it can tell
// the others.
func (e *ended) add(ctx context.Context, id string, until time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endedWait)
	defer cancel()
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		e.note(id, until)
		return ctx.Err()
	}
	if e.knows(id) {
		return errUsed
	}
	e.note(id, until)
	if err := e.state.Ready(); err != nil {
		return err
	}
	return e.exchange(ctx, id)
}

// note remembers an entry that the record does not have yet. If there are too
// many, it forgets the one whose time ends first.
func (e *ended) note(id string, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forget()
	if len(e.ids) >= endedMost {
		first := ""
		for other, end := range e.ids {
			if first == "" || end.Before(e.ids[first]) {
				first = other
			}
		}
		delete(e.ids, first)
		delete(e.own, first)
	}
	e.ids[id], e.own[id] = until, until
}

// exchange learns what the record has, and writes what it lacks. The error is
// errUsed if the record has fresh, which this replica has just added. The
// caller has the turn.
func (e *ended) exchange(ctx context.Context, fresh string) error {
	for range endedTries {
		d, stored, err := e.read(ctx)
		if err != nil {
			return err
		}
		_, used := stored[fresh]
		if missing := e.learn(stored); missing == 0 {
			if used {
				return errUsed
			}
			return nil
		}
		if d.Plain, err = json.Marshal(e.all()); err != nil {
			return fmt.Errorf("console: encoding %s: %w", endedRecord, err)
		}
		err = e.state.Documents().Write(ctx, d)
		if errors.Is(err, state.ErrOvertaken) {
			continue
		}
		if err == nil {
			e.shared()
		}
		if used {
			return errUsed
		}
		return err
	}
	return state.ErrOvertaken
}

func (e *ended) read(ctx context.Context) (*state.Document, map[string]time.Time, error) {
	d, err := e.state.Documents().Read(ctx, endedRecord, endedBytes)
	if errors.Is(err, state.ErrNoDocument) {
		return &state.Document{Name: endedRecord}, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var stored map[string]time.Time
	if err := json.Unmarshal(d.Plain, &stored); err != nil {
		return nil, nil, fmt.Errorf("console: reading %s: %w", endedRecord, err)
	}
	return d, stored, nil
}

// learn adds what the record has, and returns how many entries it lacks.
func (e *ended) learn(stored map[string]time.Time) (missing int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.Copy(e.ids, stored)
	maps.DeleteFunc(e.own, func(id string, _ time.Time) bool { _, ok := stored[id]; return ok })
	e.forget()
	return len(e.own)
}

func (e *ended) all() map[string]time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.ids)
}

// shared notes that the record has all entries.
func (e *ended) shared() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.own)
}

// forget drops entries whose time is over. The caller holds the lock.
func (e *ended) forget() {
	now := time.Now()
	isOver := func(_ string, until time.Time) bool { return now.After(until) }
	maps.DeleteFunc(e.ids, isOver)
	maps.DeleteFunc(e.own, isOver)
}
