package proxy

import (
	"cmp"
	"context"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ssegw/kms"
	"ssegw/kms/kmstest"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// The tests of this package run a whole gateway: a client that signs as SDKs
// do, the Server over HTTP, a KES server (kmstest) and a store in memory.
//
//	g := newGateway(t, withRule("bucket", Rule{Algorithm: s3.AES256}))
//	r := g.put("/bucket/key", body)
//	stored := g.upstream.object("bucket", "key")

// Credentials and region of the gateway's clients, and its state bucket.
const (
	clientAccessKey = "client-access"
	clientSecretKey = "client-secret"
	clientRegion    = "us-east-1"
	testStateBucket = "gateway-state"
)

// testBucket is created at the store for every gateway.
const testBucket = "bucket"

// testGateway is a running gateway with its KES server, its store and its
// client.
type testGateway struct {
	*Server
	t        testing.TB
	url      string
	http     *http.Client
	upstream *memUpstream
	kes      *kmstest.Server
	network  *kmstest.Network // nil: TCP
	logs     *observer.ObservedLogs
	gathered prometheus.Gatherer
	states   state.Config
}

// gatewaySetup is what options change.
type gatewaySetup struct {
	upstream *memUpstream
	kes      *kmstest.Server
	network  *kmstest.Network // nil: TCP
	kms      kms.Config
	tls      bool
	closed   bool
	framing  upstream.Framing
	idle     time.Duration
	config   Config
	store    func(*upstream.Config)
	rules    map[string]state.Rule
	roots    time.Duration // between two looks for old roots
	like     *state.State  // that this gateway replaces
	times    func(*state.Times)
}

type gatewayOption func(*gatewaySetup)

// withConfig changes the server's configuration.
func withConfig(edit func(*Config)) gatewayOption {
	return func(s *gatewaySetup) { edit(&s.config) }
}

// withTLS lets clients speak https, as SSE-C needs.
func withTLS() gatewayOption { return func(s *gatewaySetup) { s.tls = true } }

// withFraming sets the framing of bodies to the store; the default is
// FramingTrailer.
func withFraming(f upstream.Framing) gatewayOption { return func(s *gatewaySetup) { s.framing = f } }

// withUpstreamConfig changes the client of the store.
func withUpstreamConfig(edit func(*upstream.Config)) gatewayOption {
	return func(s *gatewaySetup) { s.store = edit }
}

// onClock runs a gateway, its store, its KES and its clients on a network in
// memory, with the timeouts of production. It is for tests in a
// testing/synctest bubble, where waiting takes no real time and is exact. All
// other gateways have very long timeouts.
func onClock() gatewayOption {
	return func(s *gatewaySetup) { s.network = &kmstest.Network{} }
}

// giveUp is how long tests wait for something that must happen. Only failing
// tests wait that long, so it is generous for busy machines.
const giveUp = 2 * time.Minute

// withUpstreamIdle sets how long the store may stand still.
func withUpstreamIdle(d time.Duration) gatewayOption {
	return func(s *gatewaySetup) { s.idle = d }
}

// withUpstream and withKES add a gateway as a replica to an existing store and
// KES.
func withUpstream(u *memUpstream) gatewayOption    { return func(s *gatewaySetup) { s.upstream = u } }
func withKES(k *kmstest.Server) gatewayOption      { return func(s *gatewaySetup) { s.kes = k } }
func withKMS(edit func(*kms.Config)) gatewayOption { return func(s *gatewaySetup) { edit(&s.kms) } }

// withRule sets a bucket's rule before the first request.
func withRule(bucket string, r state.Rule) gatewayOption {
	return func(s *gatewaySetup) { s.rules[bucket] = r }
}

// withTimes changes the times of the state, which are very long.
func withTimes(edit func(*state.Times)) gatewayOption {
	return func(s *gatewaySetup) { s.times = edit }
}

// freshRoots makes the state look for old roots at each unknown root.
func freshRoots() gatewayOption { return func(s *gatewaySetup) { s.roots = 0 } }

// notOpened leaves the state closed. The test calls Run.
func notOpened() gatewayOption { return func(s *gatewaySetup) { s.closed = true } }

// newGateway starts a gateway, opens its state and stops it when the test ends.
func newGateway(t testing.TB, opts ...gatewayOption) *testGateway {
	t.Helper()
	registry := prometheus.NewRegistry()
	core, logs := observer.New(zap.DebugLevel)
	s := &gatewaySetup{framing: upstream.FramingTrailer, rules: map[string]state.Rule{}, roots: time.Hour}
	s.config = Config{
		AccessKey: clientAccessKey, SecretKey: clientSecretKey, Region: clientRegion,
		MaxRequests: 64, IdleTimeout: giveUp, Log: zap.New(core), Metrics: registry,
	}
	for _, opt := range opts {
		opt(s)
	}
	if s.upstream == nil {
		s.upstream = newMemUpstreamOn(t, s.network)
	}
	s.network = s.upstream.network
	s.upstream.makeBucket(testBucket)
	g := &testGateway{t: t, upstream: s.upstream, kes: s.kes, network: s.network, logs: logs, gathered: registry}
	if g.kes == nil {
		g.kes = kmstest.NewServer(t, kmstest.WithNetwork(&kmstest.Network{}))
	}
	store := upstream.Config{
		Endpoint: s.upstream.url, Region: upstreamRegion, Framing: s.framing, IdleTimeout: s.idle,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: upstreamAccessKey, SecretAccessKey: upstreamSecretKey}, nil
		}),
	}
	if s.network != nil {
		store.Dial = s.network.Dial
	} else {
		store.IdleTimeout, store.AnswerTimeout = cmp.Or(s.idle, giveUp), cmp.Or(s.idle, giveUp)
	}
	if s.store != nil {
		s.store(&store)
	}
	s.config.Upstream = upstream.New(store)
	// Fields of kms.Config that options set replace those for the test server.
	conf := g.kes.Config()
	if s.kms.DefaultKey != "" {
		conf.DefaultKey = s.kms.DefaultKey
	}
	if s.kms.Timeout != 0 {
		conf.Timeout = s.kms.Timeout
	}
	conf.CacheTTL = s.kms.CacheTTL
	client, err := kms.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.config.KMS = client
	states := state.Config{Bucket: testStateBucket, Upstream: s.config.Upstream, KMS: client, Log: s.config.Log, Like: s.like}
	if s.network == nil {
		states.Times = state.Times{
			Retry: 10 * time.Millisecond, Open: giveUp, Probe: giveUp, Look: giveUp, Poll: time.Hour, MaxAge: time.Hour, Stale: time.Hour, Roots: s.roots,
			Save: time.Hour, Last: giveUp,
		}
	}
	if s.times != nil {
		s.times(&states.Times)
	}
	s.config.State = state.New(states)
	g.states = states
	g.Server = New(s.config)
	if s.network == nil {
		g.patience.pause = time.Millisecond
		g.times = times{kms: giveUp, abandon: giveUp, forget: giveUp, linger: giveUp}
	}
	g.listen(s.tls)
	if !s.closed {
		g.open()
	}
	for bucket, rule := range s.rules {
		if err := setRule(t.Context(), g.State, bucket, &rule); err != nil {
			t.Fatal(err)
		}
	}
	s.upstream.forget()
	return g
}

// listen serves the gateway on a free port.
func (g *testGateway) listen(withTLS bool) {
	server := newTestServer(g.t, g.network, g.Server)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if withTLS {
		server.StartTLS()
	} else {
		server.Start()
	}
	g.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	g.url, g.http = server.URL, server.Client()
	transport := g.http.Transport.(*http.Transport)
	transport.DisableCompression = true
	transport.ExpectContinueTimeout = 5 * time.Second
	if g.network != nil {
		transport.DialContext = g.network.Dial
	}
}

// newTestServer returns a server that is not started yet, on TCP if network is
// nil.
func newTestServer(t testing.TB, network *kmstest.Network, h http.Handler) *httptest.Server {
	t.Helper()
	if network == nil {
		return httptest.NewUnstartedServer(h)
	}
	l, err := network.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	return &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ReadHeaderTimeout: giveUp}}
}

// open runs the state and waits until it is open.
func (g *testGateway) open() {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.State.Run(ctx) }()
	g.t.Cleanup(func() {
		cancel()
		<-ended //nolint:errcheck // any end will do
	})
	eventually(g.t, "the state to open", func() bool {
		select {
		case err := <-ended:
			ended <- err
			g.t.Fatalf("the state did not open: %v", err)
		default:
		}
		return g.State.Ready() == nil
	})
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(giveUp); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// counter returns the value of a counter of the gateway, summed over those of
// its labels that match all of "name=value".
func (g *testGateway) counter(name string, labels ...string) float64 {
	g.t.Helper()
	families, err := g.gathered.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			has := map[string]bool{}
			for _, l := range m.GetLabel() {
				has[l.GetName()+"="+l.GetValue()] = true
			}
			for _, want := range labels {
				if !has[want] {
					continue metrics
				}
			}
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

// pattern returns size bytes that do not compress and differ between seeds.
func pattern(size int, seed uint64) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 7})
	_, _ = r.Read(b)
	return b
}

// answerWith is a hook that answers with an S3 error.
func answerWith(status int, code string) hook {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		memFail(w, status, code, "on demand")
	}
}

// dropAnswer is a hook that carries the request out and closes the connection
// in place of the answer.
func dropAnswer(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// breakAfter is a hook that closes the connection after n bytes of the body.
func breakAfter(n int64) hook {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.CopyN(io.Discard, r.Body, n)
		panic(http.ErrAbortHandler)
	}
}

// rewriteAnswer carries a request out and replaces a text in the answer's body.
func rewriteAnswer(w http.ResponseWriter, r *http.Request, next http.Handler, from, to string) {
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	maps.Copy(w.Header(), answer.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	_, _ = io.WriteString(w, strings.ReplaceAll(answer.Body.String(), from, to))
}

// cutAnswer is a hook that closes the connection after n bytes of the answer's
// body.
func cutAnswer(n int) hook {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&cutWriter{w, n}, r)
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	c.ResponseWriter.Write(p[:min(c.left, len(p))])
	if c.left -= len(p); c.left < 0 {
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return len(p), nil
}

// isSealed reports whether a stored object carries the header of a sealed one.
func isSealed(o *memObject) bool {
	if o == nil {
		return false
	}
	encoded, err := sealer.HeaderOf(o.header)
	return err == nil && strings.HasPrefix(encoded, "A")
}

// parsedHeader is a sealed header as it is stored. It may not be authentic.
func parsedHeader(value string) (*sealer.Header, error) {
	p, err := sealer.Parse(value)
	if err != nil {
		return nil, err
	}
	return (*sealer.Header)(p.Claims()), nil
}
