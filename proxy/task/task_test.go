package task_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/proxy/task"
)

func explode() error { panic("boom") }

// TestGroupPanic checks that a panic is the group's error, with its stack, and
// ends the context of the other functions.
func TestGroupPanic(t *testing.T) {
	t.Parallel()
	group, ctx := task.NewGroup(t.Context(), 2)
	group.Go(func() error {
		<-ctx.Done() // waits forever if the panic does not end ctx
		return context.Cause(ctx)
	})
	group.Go(explode)
	var p *task.PanicError
	if err := group.Wait(); !errors.As(err, &p) || p.Value != "boom" {
		t.Fatalf("error %v, want the panic", err)
	}
	if stack := string(p.PanicStack()); !strings.Contains(stack, "task_test.explode") {
		t.Errorf("the stack does not show where the panic happened:\n%s", stack)
	}
}

// TestGroupError checks that the first error ends the context, and that Wait
// returns it after all functions have returned.
func TestGroupError(t *testing.T) {
	t.Parallel()
	first := errors.New("first")
	group, ctx := task.NewGroup(t.Context(), 2)
	var returned atomic.Bool
	group.Go(func() error {
		<-ctx.Done()
		returned.Store(true)
		return errors.New("second")
	})
	group.Go(func() error { return first })
	if err := group.Wait(); !errors.Is(err, first) || !returned.Load() {
		t.Errorf("error %v, other function returned %v", err, returned.Load())
	}

	group, _ = task.NewGroup(t.Context(), 1)
	group.Go(func() error { return nil })
	if err := group.Wait(); err != nil {
		t.Errorf("without an error: %v", err)
	}
}

// TestGroupLimit checks that no more than limit functions run at a time.
func TestGroupLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit, all = 3, 5
		group, _ := task.NewGroup(t.Context(), limit)
		release := make(chan struct{})
		var running atomic.Int32
		go func() {
			for range all {
				group.Go(func() error {
					running.Add(1)
					<-release
					return nil
				})
			}
		}()
		synctest.Wait() // until nothing can run
		if n := running.Load(); n != limit {
			t.Errorf("%d functions run at a time, want %d", n, limit)
		}
		close(release)
		synctest.Wait()
		if n := running.Load(); n != all {
			t.Errorf("%d functions ran, want %d", n, all)
		}
	})
}

// TestGuard checks that errors pass and panics become errors.
func TestGuard(t *testing.T) {
	t.Parallel()
	failure := errors.New("failure")
	if err := task.Guard(func() error { return failure }); err != failure {
		t.Errorf("error %v, want the function's", err)
	}
	if err := task.Guard(func() error { return nil }); err != nil {
		t.Errorf("error %v, want none", err)
	}
	var p *task.PanicError
	if err := task.Guard(func() error { panic(failure) }); !errors.As(err, &p) || p.Value != failure {
		t.Errorf("error %v, want the panic", err)
	}
}

// enter takes a place, which must be free.
func enter(t *testing.T, p *task.Places, strange bool) *task.Place {
	t.Helper()
	place, err := p.Enter(t.Context(), strange)
	if err != nil {
		t.Fatalf("stranger %v: %v", strange, err)
	}
	return place
}

// wantFull fails the test if there is a free place.
func wantFull(t *testing.T, p *task.Places, strange bool) {
	t.Helper()
	if place, err := p.Enter(t.Context(), strange); place != nil || !errors.Is(err, task.ErrFull) {
		t.Fatalf("stranger %v: %v, %v, want ErrFull", strange, place, err)
	}
}

// TestPlacesForStrangers checks that strangers get half of the places, and
// requests with a credential all of them.
func TestPlacesForStrangers(t *testing.T) {
	t.Parallel()
	for n, half := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 64: 32} {
		p := task.NewPlaces(n, 0)
		for range half {
			enter(t, p, true)
		}
		wantFull(t, p, true)
		for range n - half {
			enter(t, p, false)
		}
		wantFull(t, p, false)

		p = task.NewPlaces(n, 0)
		for range n {
			enter(t, p, false)
		}
		wantFull(t, p, false)
		wantFull(t, p, true)
	}
}

// TestPlacesAreGivenBack checks that Leave frees a place, Known frees a
// stranger's part of it, and a refused stranger takes nothing.
func TestPlacesAreGivenBack(t *testing.T) {
	t.Parallel()
	p := task.NewPlaces(4, 0)
	first, second := enter(t, p, true), enter(t, p, true)
	first.Known()
	first.Known() // has no effect the second time
	third := enter(t, p, true)
	wantFull(t, p, true) // second and third are strangers
	fourth := enter(t, p, false)
	second.Leave() // all places were taken
	enter(t, p, true)
	wantFull(t, p, false)
	first.Leave() // frees a place, but not a stranger's
	wantFull(t, p, true)
	first = enter(t, p, false)

	third.Leave()
	enter(t, p, false)
	for range 3 {
		wantFull(t, p, true) // one stranger may enter, but there is no place
	}
	fourth.Leave()
	enter(t, p, true)
	first.Leave()
	wantFull(t, p, true)
	enter(t, p, false)
	if all, strangers := p.Taken(); all != 4 || strangers != 2 {
		t.Errorf("%d places taken, %d by strangers", all, strangers)
	}
}

// waiting begins to enter and returns once that waits or has ended.
func waiting(ctx context.Context, p *task.Places, strange bool, ended func(*task.Place, error)) {
	go func() { ended(p.Enter(ctx, strange)) }()
	synctest.Wait()
}

// TestPlacesAreWaitedFor checks that a place is given to those who wait: first
// to those with a credential, each in the order in which they came.
func TestPlacesAreWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := task.NewPlaces(4, time.Second)
		var places []*task.Place
		for range 4 {
			places = append(places, enter(t, p, len(places) < 2))
		}
		order := ""
		for _, who := range []struct {
			name    string
			strange bool
		}{{"a", true}, {"B", false}, {"c", true}, {"D", false}, {"E", false}} {
			waiting(t.Context(), p, who.strange, func(place *task.Place, err error) {
				if err != nil {
					t.Error(err)
				}
				order += who.name
				places = append(places, place)
			})
		}
		for _, step := range []struct {
			do   func()
			want string
		}{
			{places[3].Leave, "B"},
			{places[0].Known, "B"}, // one more stranger may enter, but there is no place
			{places[2].Leave, "BD"},
			{places[1].Leave, "BDE"}, // two more strangers may enter
			{places[0].Leave, "BDEa"},
			{func() { places[4].Leave() }, "BDEac"}, // B leaves
		} {
			step.do()
			synctest.Wait()
			if order != step.want {
				t.Fatalf("entered in the order %s, want %s", order, step.want)
			}
		}
		if all, strangers := p.Taken(); all != 4 || strangers != 2 {
			t.Errorf("%d places taken, %d by strangers", all, strangers)
		}
	})
}

// TestFull: Places are full when even a request with a credential would be
// refused at once, and not before.
func TestFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := task.NewPlaces(2, time.Second)
		full := func(want bool, when string) {
			t.Helper()
			if p.Full() != want {
				t.Errorf("full: %t, %s", !want, when)
			}
		}
		full(false, "with free places")
		first := enter(t, p, false)
		enter(t, p, false)
		full(false, "with nobody in the queue")
		for _, strange := range []bool{true, false} {
			waiting(t.Context(), p, strange, func(*task.Place, error) {})
		}
		full(false, "with room in the queue of requests with a credential")
		waiting(t.Context(), p, false, func(*task.Place, error) {})
		full(true, "with a full queue")
		first.Leave()
		synctest.Wait()
		full(false, "after a request of the queue has entered")
	})
}

// TestWaitingEnds checks that requests wait for a bounded time, no longer than
// their context, and that only as many wait as there are places. Those who
// leave take no place.
func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := task.NewPlaces(2, time.Second)
		place, stranger := enter(t, p, false), enter(t, p, true)
		left := errors.New("client left")
		ctx, leave := context.WithCancelCause(t.Context())
		results := map[string]error{}
		var mu sync.Mutex
		wait := func(ctx context.Context, name string, strange bool) {
			began := time.Now()
			waiting(ctx, p, strange, func(_ *task.Place, err error) {
				mu.Lock()
				defer mu.Unlock()
				results[fmt.Sprintf("%s after %s", name, time.Since(began))] = err
			})
		}
		wait(ctx, "leaves", false)
		wait(t.Context(), "waits", false)
		wait(t.Context(), "one too many", false)
		wait(t.Context(), "stranger", true)
		wait(t.Context(), "stranger too many", true)
		time.Sleep(100 * time.Millisecond)
		leave(left)
		synctest.Wait()
		wait(t.Context(), "comes later", false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want := map[string]error{
			"leaves after 100ms": left, "waits after 1s": task.ErrFull, "one too many after 0s": task.ErrFull,
			"stranger after 1s": task.ErrFull, "stranger too many after 0s": task.ErrFull, "comes later after 1s": task.ErrFull,
		}
		if !maps.Equal(results, want) {
			t.Errorf("%v\nwant %v", results, want)
		}
		place.Leave()
		stranger.Leave()
		if all, strangers := p.Taken(); all != 0 || strangers != 0 {
			t.Errorf("%d places taken, %d by strangers", all, strangers)
		}
	})
}

// TestShare checks that strangers and requests with a credential do not share a
// bound.
func TestShare(t *testing.T) {
	t.Parallel()
	s := task.NewShare(2, 1)
	if !s.Of(true).TryAcquire(1) || s.Of(true).TryAcquire(1) {
		t.Error("the bound for strangers is not 1")
	}
	if !s.Of(false).TryAcquire(2) || s.Of(false).TryAcquire(1) {
		t.Error("the bound for requests with a credential is not 2")
	}
}

// TestPause checks how long Pause waits, by the clock of a synctest bubble.
func TestPause(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ends   time.Duration // of the context; 0: never
		waited time.Duration
		lives  bool
	}{
		"context without end":     {0, time.Hour, true},
		"context that ends later": {2 * time.Hour, time.Hour, true},
		"context that ends first": {time.Minute, time.Minute, false},
		"context that has ended":  {-1, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.ends != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.ends)
					defer cancel()
				}
				began := time.Now()
				if lives := task.Pause(ctx, time.Hour); lives != tt.lives {
					t.Errorf("returned %v, want %v", lives, tt.lives)
				}
				if waited := time.Since(began); waited != tt.waited {
					t.Errorf("waited %s, want %s", waited, tt.waited)
				}
			})
		})
	}
}
