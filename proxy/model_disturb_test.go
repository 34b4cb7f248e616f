package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ssegw/kms/kmstest"
	"ssegw/proxy/jobs"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// What happens to the gateways of a concurrent history, and what clients do
// besides reading and writing.

// start starts a gateway at a place. It replaces the one there if that is old,
// as a restart in place does.
func (h *history) start(at int, old *testGateway) {
	h.starting.Store(true)
	defer h.starting.Store(false)
	l := newLife(h.t)
	g := newGateway(l, withUpstream(h.store), withKES(h.kes), withUpstreamConfig(l.connect), withTimes(func(times *state.Times) {
		times.MaxAge, times.Stale = 0, 0 // rules are as fresh as objects
	}), func(s *gatewaySetup) {
		if old != nil {
			s.like = old.State
		}
	}).withSmallParts()
	if old != nil {
		g.State.TakeOver()
	}
	p := &h.places[at]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.g, p.l = g, l
}

// disturb kills gateways, restarts them, runs jobs and makes KES fail, until
// stop is closed.
func (h *history) disturb(r *rand.Rand, stop <-chan struct{}) {
	for begun := h.clock.Load(); ; {
		select {
		case <-stop:
			return
		default:
		}
		if h.clock.Load() < begun+10 { // operations and not time pace it
			time.Sleep(time.Millisecond)
			continue
		}
		begun = h.clock.Load()
		at := r.IntN(2)
		p := &h.places[at]
		switch r.IntN(7) {
		case 0:
			p.l.kill()
			p.l.end()
			h.start(at, nil)
		case 1:
			old := p.l
			h.start(at, p.g)
			old.end()
		case 2, 3:
			job := &jobs.Job{Kind: jobs.Encrypt, Bucket: testBucket}
			if r.IntN(2) == 0 {
				job.Kind, job.Settings.Key = jobs.Rekey, []string{kmstest.DefaultKey, otherModelKey}[r.IntN(2)]
			}
			h.job(p.g, job)
		default:
			h.kes.SetFault([]kmstest.Fault{
				{Drop: true, Times: 1}, {DropAnswer: true, Times: 1}, {Delay: 5 * time.Millisecond, Times: 3}, {Status: http.StatusServiceUnavailable, Times: 2},
			}[r.IntN(4)])
		}
	}
}

// job runs a job as far as it goes. Another process may have begun it, which
// counts as lost at once.
func (h *history) job(g *testGateway, j *jobs.Job) {
	e := g.engine()
	e.Times.Lapse = 10 * time.Millisecond
	ctx, cancel := context.WithTimeout(g.t.Context(), 5*time.Second)
	defer cancel()
	created, err := e.Create(ctx, j)
	if err == nil {
		created, err = e.Run(ctx, created.ID, jobs.Waiting, nil)
	}
	if err == nil && created.Status == jobs.Failed {
		h.t.Logf("%s: %s", created.ID, created.Error)
	} else if err != nil && !errors.Is(err, jobs.ErrBusy) {
		h.t.Logf("%s: %v", j.Kind, err)
	}
}

// copy copies an object onto the other one, if it has a content that the client
// has seen.
func (h *history) copy(client int, g *testGateway, key string, r *rand.Rand) {
	content, tag := h.seen()
	if tag == "" {
		return
	}
	from := concurrentKeys[0]
	if from == key {
		from = concurrentKeys[1]
	}
	pairs := []string{s3.HeaderCopySource, testBucket + "/" + from, s3.HeaderCopySourceIfMatch, tag}
	call := h.clock.Add(1)
	e := event{what: "copy", content: content, match: matchAny, free: true}
	a := h.writeFree(client, key, e, func() clientAnswer { return g.put("/"+testBucket+"/"+key, nil, pairs...) })
	if outcomeOf(a) == wasDone {
		h.record(client, from, call, event{what: "read", content: content})
	}
}

// seen returns one of the latest contents, and its ETag.
func (h *history) seen() (content int, tag string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	latest := int(h.next.Load())
	for content := latest; content > max(latest-4, 0); content-- {
		if tag := h.tags[content]; tag != "" {
			return content, tag
		}
	}
	return 0, ""
}

// changeRule sets or removes the rule.
func (h *history) changeRule(client int, g *testGateway, r *rand.Rand) {
	to := r.IntN(len(concurrentRules))
	h.writeFree(client, ruledBucket, event{what: "rule", content: to, match: matchAny}, func() clientAnswer {
		if to == 0 {
			return g.clearEncryption(ruledBucket)
		}
		return g.setEncryption(ruledBucket, concurrentRules[to])
	})
}

// readRule reads the rule.
func (h *history) readRule(client int, g *testGateway) {
	call := h.clock.Add(1)
	a := g.encryption(ruledBucket)
	switch {
	case a.err == nil && a.status == 404:
		h.record(client, ruledBucket, call, event{what: "read"})
	case a.err == nil && a.status == 200:
		e, err := s3.ParseEncryption(a.body)
		if err != nil {
			h.t.Error(err)
		} else {
			h.record(client, ruledBucket, call, event{what: "read", content: ruleIndex(e.Algorithm, e.KeyID)})
		}
	}
}

// writeRuled writes an object as the rule says. Its answer shows the rule.
func (h *history) writeRuled(client int, g *testGateway, r *rand.Rand) {
	call := h.clock.Add(1)
	body := pattern(100+70_000*r.IntN(2), r.Uint64())
	a := g.put(fmt.Sprintf("/%s/%d", ruledBucket, client), body)
	if outcomeOf(a) == wasDone {
		h.record(client, ruledBucket, call, event{what: "read", content: ruleIndex(a.header.Get(s3.HeaderSSE), strings.TrimPrefix(a.header.Get(s3.HeaderSSEKeyID), "arn:aws:kms:"))})
	}
}

// ruleIndex returns which of the rules that is.
func ruleIndex(algorithm, key string) int {
	switch {
	case algorithm == "":
		return 0
	case algorithm == s3.AES256:
		return 1
	case key == kmstest.DefaultKey:
		return 2
	}
	return 3
}

// conclude looks for objects in plaintext and for remains.
func (h *history) conclude() {
	g := h.places[0].gateway()
	for _, key := range concurrentKeys {
		o := h.store.look(testBucket, key)
		if o != nil && !isSealed(o) && !h.isFirst(o.body) {
			h.t.Errorf("%s is in plaintext", key)
		}
	}
	for _, bucket := range []string{testBucket, ruledBucket} {
		for _, u := range h.store.uploadsOf(bucket) {
			q := url.Values{"uploadId": {u.id}}
			a := g.do(clientRequest{method: http.MethodDelete, path: "/" + bucket + "/" + u.key, query: q})
			if a.status != 204 {
				h.t.Errorf("an upload is not aborted: %d %s", a.status, a.code)
			}
		}
	}
	eventually(h.t, "the records of uploads to go", func() bool {
		if _, err := g.sweepAfter(8 * sweepDay); err != nil {
			h.t.Error(err)
		}
		return len(g.records()) == 0
	})
}

// isFirst reports whether a body was there before the rule.
func (h *history) isFirst(body []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc([]int{1, 2}, func(content int) bool { return slices.Equal(h.bodies[content], body) })
}

// uploadsOf returns the uploads of a bucket.
func (u *memUpstream) uploadsOf(bucket string) (all []*memUpload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, up := range u.uploads {
		if up.bucket == bucket {
			all = append(all, up)
		}
	}
	return all
}
