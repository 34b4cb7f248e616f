package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"ssegw/e2e/stack"
)

// Viewers of the console look at its first page, as browsers do.
const (
	viewers        = 50
	viewEvery      = 5 * time.Second
	plotEvery      = 10 * time.Second
	consolePhase   = 20 * time.Second
	consoleWorkers = 8
	consoleObjects = 100
	consoleSize    = 4 << 10
	consoleBucket  = "console"
)

// measureConsole reads small objects with and without viewers of the console,
// in turn, and shows the CPU time of a gateway that is idle.
func (s *side) measureConsole(ctx context.Context) error {
	client := s.sdk(s.through().client)
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(consoleBucket)}); err != nil {
		return err
	}
	for i := range consoleObjects {
		if _, err := client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: aws.String(consoleBucket), Key: aws.String(fmt.Sprint(i)), Body: bytes.NewReader(make([]byte, consoleSize)), ServerSideEncryption: "AES256",
		}); err != nil {
			return err
		}
	}
	if err := s.idle(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n### Console: GET of 4 KiB, %d in flight, with %d viewers\n\n| round | viewers | requests/s | p50 ms | p99 ms | gateway CPU s |\n|--:|--:|--:|--:|--:|--:|\n", consoleWorkers, viewers)
	for round := range s.options.rounds {
		order := []int{0, viewers}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, n := range order {
			if err := s.readWatched(ctx, client, round+1, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// idle shows the CPU time of the gateway while nobody uses it.
func (s *side) idle(ctx context.Context) error {
	before, err := s.gateway.Usage()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(consolePhase):
	}
	after, err := s.gateway.Usage()
	fmt.Fprintf(s.out, "\nAn idle gateway used %d ms of CPU time in %v.\n", (after.CPU - before.CPU).Milliseconds(), consolePhase)
	return err
}

// readWatched reads for one phase, watched by n viewers, and prints a row.
func (s *side) readWatched(ctx context.Context, client *s3.Client, round, n int) error {
	phase, cancel := context.WithTimeout(ctx, consolePhase)
	defer cancel()
	watching, watched := errgroup.WithContext(phase)
	for i := range n {
		watching.Go(func() error { return watch(watched, s.gateway, i) })
	}
	before, err := s.gateway.Usage()
	if err != nil {
		return err
	}
	took := make([][]time.Duration, consoleWorkers)
	reading, reads := errgroup.WithContext(ctx)
	for worker := range consoleWorkers {
		reading.Go(func() error {
			for i := worker; phase.Err() == nil; i++ {
				begin := time.Now()
				got, err := client.GetObject(reads, &s3.GetObjectInput{Bucket: aws.String(consoleBucket), Key: aws.String(fmt.Sprint(i % consoleObjects))})
				if err != nil {
					return err
				}
				_, err = io.Copy(io.Discard, got.Body)
				_ = got.Body.Close()
				if err != nil {
					return err
				}
				took[worker] = append(took[worker], time.Since(begin))
			}
			return nil
		})
	}
	if err := reading.Wait(); err != nil {
		return err
	}
	if err := watching.Wait(); err != nil {
		return err
	}
	after, err := s.gateway.Usage()
	if err != nil {
		return err
	}
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	at := func(p int) float64 { return float64(all[len(all)*p/100].Microseconds()) / 1000 }
	fmt.Fprintf(s.out, "| %d | %d | %.0f | %.2f | %.2f | %.2f |\n", round, n, float64(len(all))/consolePhase.Seconds(), at(50), at(99), (after.CPU - before.CPU).Seconds())
	return nil
}

// watch looks at the first page as a browser does, until ctx ends. Viewers do
// not all look at the same time.
func watch(ctx context.Context, g *stack.Gateway, number int) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar}
	defer client.CloseIdleConnections()
	base := g.AdminEndpoint + "/console/"
	ask := func(method, path string, form url.Values) error {
		r, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewBufferString(form.Encode()))
		if err != nil {
			return err
		}
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		} else {
			r.Header.Set("Hx-Request", "true")
		}
		resp, err := client.Do(r)
		if ctx.Err() != nil {
			return nil // the phase is over
		}
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("the console answers %s", resp.Status)
		}
		return nil
	}
	if err := ask(http.MethodPost, "sign-in", url.Values{"access-key": {g.AccessKey}, "secret-key": {g.SecretKey}}); err != nil {
		return err
	}
	next := time.NewTimer(viewEvery * time.Duration(number) / viewers)
	defer next.Stop()
	for look := 0; ; look++ {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		next.Reset(viewEvery)
		if err := ask(http.MethodGet, "", nil); err != nil {
			return err
		}
		if look%int(plotEvery/viewEvery) == 0 {
			if err := ask(http.MethodGet, "history.json", nil); err != nil {
				return err
			}
		}
	}
}
