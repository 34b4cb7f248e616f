package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"ssegw/e2e/stack"
)

// refusalTime is how long requests are refused.
const refusalTime = 5 * time.Second

// measureRefusals prints the CPU time of a refused request beside that of one
// that is served. With twice the load that a gateway can serve, each served
// request goes with one that is refused, so the goodput depends on it. The
// gateway has one place, which a held upload takes.
func (s *side) measureRefusals(ctx context.Context) error {
	fmt.Fprintln(os.Stderr, "overload: refusals")
	g, err := s.stack.StartGateway(ctx, stack.GatewayOptions{Like: s.gateway, Env: map[string]string{"SSEGW_MAX_REQUESTS": "1"}})
	if err != nil {
		return err
	}
	c, err := newClient(g.Endpoint, g.AccessKey, g.SecretKey, g.CAFile, false)
	if err != nil {
		return err
	}
	raw, err := c.raw(ctx, request{method: http.MethodPut, bucket: sseKMS.bucket(), key: discarded + "refused", body: newContent(overloadSize)})
	if err != nil {
		return err
	}
	defer raw.close()
	cost := func(clients int) (float64, *load, error) {
		before, err := g.Usage()
		if err != nil {
			return 0, nil, err
		}
		l := newLoad(refusalTime, 1, raw.do)
		l.closed(ctx, clients)
		after, err := g.Usage()
		n := 0
		for _, count := range l.answers {
			n += count
		}
		return (after.CPU - before.CPU).Seconds() * 1000 / float64(n), l, err
	}
	served, _, err := cost(1)
	if err != nil {
		return err
	}
	held, release := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- heldUpload(ctx, c, sync.OnceFunc(func() { close(held) }), release) }()
	select {
	case <-held:
	case err := <-ended:
		return fmt.Errorf("the upload that takes the only place: %w", err)
	}
	refused, l, err := cost(8)
	close(release)
	if err := <-ended; err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\nThe gateway uses %.3f ms of CPU time to serve such a request, and %.3f ms to refuse it (%d of them were refused, %d served).\n",
		served, refused, l.answers[slowDown], len(l.served))
	return err
}
