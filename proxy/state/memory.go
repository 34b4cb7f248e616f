package state

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// What a replica has learned for listings outlives it in the state bucket
// (docs/FORMAT.md, section 14.3). It is a cache: nothing depends on it, so any
// failure is only logged, and replicas may overwrite each other's.
const (
	MemoryObject = "listed"
	maxMemory    = 6 << 20 // bytes
)

// Memory is a cache that outlives the process. It must be safe for concurrent
// use.
type Memory interface {
	// Due reports whether enough was learned to write the cache since Due last
	// returned true. If last is true, anything is enough.
	Due(last bool) bool
	// Encode returns all that is known, as a document of less than 6 MiB.
	Encode() []byte
	// Merge learns the result of an Encode, maybe of another version.
	Merge(document []byte) error
}

// keeper keeps a Memory in the state bucket.
type keeper struct {
	state  *State
	memory Memory // nil: nothing is kept
}

// recall fills the memory with what the predecessor knows, and with what the
// state bucket has. It takes at most Times.Look.
func (k *keeper) recall(ctx context.Context, root sealer.Root) {
	if k.memory == nil {
		return
	}
	if like := k.state.cfg.Like; like != nil && like.keeper.memory != nil {
		if err := k.memory.Merge(like.keeper.memory.Encode()); err != nil {
			k.state.cfg.Log.Warn("known sizes not taken over", zap.Error(err))
		}
	}
	k.read(ctx, root)
}

// read merges the stored document into the memory.
func (k *keeper) read(ctx context.Context, root sealer.Root) {
	ctx, cancel := context.WithTimeout(ctx, k.state.times.Look)
	defer cancel()
	b, _, err := k.state.store.Get(ctx, k.state.cfg.Bucket, MemoryObject, maxMemory)
	if upstream.StatusOf(err) == http.StatusNotFound {
		return
	}
	if err == nil {
		if b, err = k.state.openRecord(ctx, root, MemoryObject, b); err == nil {
			err = k.memory.Merge(b)
		}
	}
	if err != nil {
		k.state.cfg.Log.Warn("known sizes not read: listings look objects up again", zap.String("name", MemoryObject), zap.Error(err))
	}
}

// run writes the memory from time to time until ctx ends, and then once more if
// anything is new.
func (k *keeper) run(ctx context.Context) {
	if k.memory == nil {
		return
	}
	const doing = "saving known sizes"
	for task.Pause(ctx, k.state.times.Save) {
		k.state.guard(doing, func() { k.save(ctx, false, k.state.times.Look) })
	}
	k.state.guard(doing, func() { k.save(context.WithoutCancel(ctx), true, k.state.times.Last) })
}

// save writes the memory if that is due.
func (k *keeper) save(ctx context.Context, last bool, timeout time.Duration) {
	if !k.memory.Due(last) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := k.write(ctx); err != nil {
		k.state.cfg.Log.Warn("known sizes not saved", zap.String("name", MemoryObject), zap.Error(err))
	}
}

// write stores the memory together with what other replicas have stored. It
// stores nothing in a bucket whose root is gone or that of another
// installation: there, the object would keep a new installation from starting.
func (k *keeper) write(ctx context.Context) error {
	k.state.FollowRoot(ctx)
	record, _, err := k.state.ReadRoot(ctx)
	if err != nil {
		return err
	}
	root := k.state.Root()
	if record.ID != root.ID {
		return fmt.Errorf("%w: the bucket has another root", ErrRefused)
	}
	k.read(ctx, root)
	return k.state.save(ctx, MemoryObject, k.memory.Encode())
}
