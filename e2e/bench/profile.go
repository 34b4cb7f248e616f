package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// profileTime is how long a CPU profile of the gateway lasts.
const profileTime = 6 * time.Second

// profile writes CPU profiles of the gateway under uploads and downloads of
// small and large objects to a folder.
func (s *side) profile(ctx context.Context, dir string) error {
	for _, size := range []int64{64 * mib, 4 * kib} {
		for _, op := range []operation{opPut, opGet} {
			w := workload{op: op, size: size}
			w.complete(false)
			name := strings.ReplaceAll(strings.ToLower(w.name()), " ", "-") + ".pprof"
			fmt.Fprintln(os.Stderr, "profiling:", name)
			if err := s.profileUnder(ctx, w, filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("profiling %s: %w", w.name(), err)
			}
		}
	}
	return nil
}

// profileUnder fetches a profile while batches of the workload run.
func (s *side) profileUnder(ctx context.Context, w workload, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	g.Go(func() error {
		defer close(done)
		return s.fetchProfile(ctx, path)
	})
	g.Go(func() error {
		for {
			select {
			case <-done:
				return nil
			default:
			}
			if _, err := s.through().run(ctx, w, 0, profileTime/10); err != nil {
				return err
			}
		}
	})
	return g.Wait()
}

// fetchProfile writes a CPU profile of the gateway to a file.
func (s *side) fetchProfile(ctx context.Context, path string) (err error) {
	return s.fetchPprof(ctx, fmt.Sprintf("profile?seconds=%d", int(profileTime.Seconds())), path)
}

// fetchPprof writes what the gateway answers below /debug/pprof/ to a file.
func (s *side) fetchPprof(ctx context.Context, what, path string) error {
	url := s.gateway.AdminEndpoint + "/debug/pprof/" + what
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.ReadFrom(resp.Body); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
