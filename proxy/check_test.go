package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssegw/proxy/check"
	"ssegw/proxy/probe"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"ssegw/kms"
	"ssegw/kms/kmstest"
	"ssegw/sealer"
)

// findings does all checks, and fails the test if one left something in the store
// or told a secret.
func (g *testGateway) findings() []check.Finding {
	g.t.Helper()
	before := g.upstream.keys(testStateBucket)
	var all []check.Finding
	g.checks().Run(g.t.Context(), func(f check.Finding) { all = append(all, f) })
	if diff := cmp.Diff(before, g.upstream.keys(testStateBucket)); diff != "" {
		g.t.Errorf("state bucket (-before +after):\n%s", diff)
	}
	g.upstream.mu.Lock()
	defer g.upstream.mu.Unlock()
	if len(g.upstream.uploads) > 0 {
		g.t.Errorf("%d uploads are left", len(g.upstream.uploads))
	}
	for _, f := range all {
		text := fmt.Sprint(f)
		if strings.Contains(text, upstreamSecretKey) || strings.Contains(text, g.kes.APIKey()) || strings.Contains(text, "\n") {
			g.t.Errorf("a secret, or more than one line: %q", text)
		}
		if f.Detail == "" || (f.Remedy == "") != (f.Status == check.StatusOK || f.Status == check.StatusNotTried) {
			g.t.Errorf("detail or remedy: %+v", f)
		}
	}
	return all
}

// finding returns the one whose name begins with name.
func finding(t *testing.T, all []check.Finding, name string) check.Finding {
	t.Helper()
	i := slices.IndexFunc(all, func(f check.Finding) bool { return strings.HasPrefix(f.Name, name) })
	if i < 0 {
		t.Fatalf("no check %q in %v", name, all)
	}
	return all[i]
}

func TestCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock(), withFraming(upstream.FramingAuto), withRule(testBucket, state.Rule{Algorithm: "AES256"}))
		var names []string
		for _, f := range g.findings() {
			if f.Status != check.StatusOK {
				t.Errorf("%+v", f)
			}
			names = append(names, f.Name)
		}
		want := []string{
			"KES " + g.kes.Endpoint(), "KES key " + kmstest.DefaultKey, "store " + g.upstream.url.String(), "clock",
			"store credential", "state bucket " + testStateBucket, "root", "rules",
			"conditional writes", "body framing", "broken uploads", "content headers", "user metadata", "ranges",
			"server-side copy", "multipart", "copy by parts",
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("checks (-want +got):\n%s", diff)
		}
	})
}

// checkFault is a fault of KES or the store, and the expected finding of one check.
type checkFault struct {
	options []gatewayOption
	fault   func(g *testGateway)
	name    string // of the check
	status  check.Status
	says    []string // in detail or remedy
}

func runCheckFaults(t *testing.T, tests map[string]checkFault) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, append(test.options, onClock())...)
				if test.fault != nil {
					test.fault(g)
				}
				f := finding(t, g.findings(), test.name)
				if f.Status != test.status {
					t.Errorf("%+v, want %q", f, test.status)
				}
				for _, word := range test.says {
					if !strings.Contains(f.Detail+" | "+f.Remedy, word) {
						t.Errorf("%+v does not say %q", f, word)
					}
				}
			})
		})
	}
}

// onProbes installs h for a method's requests for probe objects.
func onProbes(method string, h hook) func(*testGateway) {
	return func(g *testGateway) { g.upstream.on(method, "/"+testStateBucket+"/"+probe.Prefix, h) }
}

// onAllProbes installs h for the requests that store probe objects, uploads
// included.
func onAllProbes(h hook) func(*testGateway) {
	return func(g *testGateway) {
		onProbes(http.MethodPut, h)(g)
		onProbes(http.MethodPost, h)(g)
	}
}

// onState installs h for a method's requests for the state bucket.
func onState(method string, h hook) func(*testGateway) {
	return func(g *testGateway) { g.upstream.on(method, "/"+testStateBucket, h) }
}

// forgetting is a hook that does not see some headers of a request.
func forgetting(names ...string) hook {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		for _, name := range names {
			r.Header.Del(name)
		}
		next.ServeHTTP(w, r)
	}
}

// refusing is a hook that refuses requests with an S3 error if they are such.
func refusing(such func(*http.Request) bool, status int, code string) hook {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if such(r) {
			memFail(w, status, code, "on demand")
			return
		}
		next.ServeHTTP(w, r)
	}
}

func clockOf(g *testGateway, by time.Duration) {
	g.upstream.on(http.MethodHead, "/"+testStateBucket, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
		next.ServeHTTP(w, r)
	})
}

func TestCheckKES(t *testing.T) {
	t.Parallel()
	key, down := kmstest.DefaultKey, func(g *testGateway) { g.kes.Stop() }
	denied := func(op kmstest.Op) func(*testGateway) {
		return func(g *testGateway) {
			g.kes.SetFault(kmstest.Fault{Status: 403, Message: "not authorized: insufficient permissions", Ops: []kmstest.Op{op}})
		}
	}
	runCheckFaults(t, map[string]checkFault{
		"down":        {nil, down, "KES https", check.StatusFailed, []string{"connection refused", "MINIO_KMS_KES_ENDPOINT"}},
		"down, key":   {nil, down, "KES key", check.StatusNotTried, []string{"KES does not answer"}},
		"down, root":  {nil, down, "root", check.StatusNotTried, []string{"KES does not answer", key}},
		"down, rules": {nil, down, "rules", check.StatusNotTried, []string{"KES does not answer"}},
		"down, store": {nil, down, "multipart", check.StatusOK, nil},
		"fails": {nil, func(g *testGateway) {
			g.kes.SetFault(kmstest.Fault{Status: 500, Message: "boom", Ops: []kmstest.Op{kmstest.OpGenerate}})
		}, "KES key", check.StatusFailed, []string{"500", "log of KES"}},
		"generate denied": {nil, denied(kmstest.OpGenerate), "KES key", check.StatusFailed, []string{"policy", "/v1/key/generate/" + key, "identity "}},
		"decrypt denied":  {nil, denied(kmstest.OpDecrypt), "KES key", check.StatusFailed, []string{"policy", "allow /v1/key/decrypt/" + key}},
		"root denied":     {nil, denied(kmstest.OpDecrypt), "root", check.StatusFailed, []string{"policy", "allow /v1/key/decrypt/" + key}},
		"key not there":   {nil, func(g *testGateway) { g.kes.DeleteKey(key) }, "KES key", check.StatusOK, []string{"the start creates it", "/v1/key/create/" + key}},
		"root's key lost": {nil, func(g *testGateway) { g.kes.DeleteKey(key) }, "root", check.StatusFailed, []string{"restore the key", key}},
		"key changes": {nil, func(g *testGateway) {
			conf := g.kes.Config()
			conf.DefaultKey = "next-key"
			g.KMS = newKMS(g.t, conf)
		}, "root", check.StatusOK, []string{key, "next-key"}},
		"one of two down": {nil, func(g *testGateway) {
			other := kmstest.NewServer(g.t, kmstest.WithStore(g.kes))
			g.KMS = newKMS(g.t, other.Config(g.kes))
			other.Stop()
		}, "KES https", check.StatusWarning, []string{"connection refused"}},
	})
}

func newKMS(t testing.TB, conf kms.Config) *kms.Client {
	client, err := kms.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestCheckStore(t *testing.T) {
	t.Parallel()
	broken := func(g *testGateway) { g.upstream.on("", "/", breakAfter(0)) }
	isGet := func(code string, status int) func(*testGateway) {
		return onState(http.MethodGet, answerWith(status, code))
	}
	runCheckFaults(t, map[string]checkFault{
		"breaks":             {nil, broken, "store http", check.StatusFailed, []string{"EOF", "SSEGW_UPSTREAM_ENDPOINT"}},
		"breaks, credential": {nil, broken, "store credential", check.StatusNotTried, []string{"the store does not answer"}},
		"breaks, bucket":     {nil, broken, "state bucket", check.StatusNotTried, []string{"the store does not answer"}},
		"breaks, root":       {nil, broken, "root", check.StatusNotTried, []string{"the store does not answer"}},
		"breaks, probes":     {nil, broken, "ranges", check.StatusNotTried, []string{"the store does not answer"}},
		"breaks, KES":        {nil, broken, "KES key", check.StatusOK, nil},
		"fails":              {nil, onState("", answerWith(503, "SlowDown")), "store http", check.StatusFailed, []string{"503", "log of the store"}},
		"unknown access key": {nil, isGet("InvalidAccessKeyId", 403), "store credential", check.StatusFailed, []string{"SSEGW_UPSTREAM_ACCESS_KEY"}},
		"other secret key":   {nil, isGet("SignatureDoesNotMatch", 403), "store credential", check.StatusFailed, []string{"SSEGW_UPSTREAM_SECRET_KEY"}},
		"other region":       {nil, isGet("AuthorizationHeaderMalformed", 400), "store credential", check.StatusFailed, []string{"SSEGW_UPSTREAM_REGION"}},
		"redirect":           {nil, isGet("PermanentRedirect", 301), "store credential", check.StatusFailed, []string{"SSEGW_UPSTREAM_REGION"}},
		"other time":         {nil, isGet("RequestTimeTooSkewed", 403), "store credential", check.StatusFailed, []string{"clocks"}},
		"no permission":      {nil, isGet("AccessDenied", 403), "store credential", check.StatusFailed, []string{"allow the credential", testStateBucket}},
		"credential fails":   {nil, isGet("InternalError", 500), "store credential", check.StatusFailed, []string{"log of the store"}},
		"listing fails":      {nil, isGet("InternalError", 500), "state bucket", check.StatusNotTried, []string{"cannot list the state bucket"}},
		"no credential, rest": {nil, isGet("AccessDenied", 403), "state bucket", check.StatusNotTried,
			[]string{"refuses the gateway's credential"}},
		"not S3, not found": {nil, isGet("", 404), "store credential", check.StatusFailed, []string{"name an S3 store"}},
		"not S3": {nil, onState(http.MethodGet, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			_, _ = io.WriteString(w, "<html>welcome")
		}), "store credential", check.StatusFailed, []string{"name an S3 store"}},
		"no credential": {[]gatewayOption{notOpened(), withUpstreamConfig(func(c *upstream.Config) {
			c.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{}, errors.New("the chain is empty")
			})
		})}, func(*testGateway) {}, "store credential", check.StatusFailed, []string{"the chain is empty", "SSEGW_UPSTREAM_ACCESS_KEY"}},
		"clock a bit off": {nil, func(g *testGateway) { clockOf(g, 5*time.Minute) }, "clock", check.StatusWarning,
			[]string{"5m", "ahead", "the clock of the store"}},
		"clock off": {nil, func(g *testGateway) { clockOf(g, -time.Hour) }, "clock", check.StatusFailed,
			[]string{"1h0m", "behind", "the clock of the store"}},
		"own clock off": {nil, func(g *testGateway) { clockOf(g, time.Hour); g.kes.Stop() }, "clock", check.StatusFailed, []string{"the clock of this machine"}},
		"no clock":      {nil, func(g *testGateway) { broken(g); g.kes.Stop() }, "clock", check.StatusNotTried, []string{"neither"}},
	})
}

func TestCheckState(t *testing.T) {
	t.Parallel()
	emptyBucket := []gatewayOption{notOpened()}
	empty := func(g *testGateway) { g.upstream.makeBucket(testStateBucket) }
	remove := func(name string) func(*testGateway) {
		return func(g *testGateway) { g.upstream.store(testStateBucket, name, nil) }
	}
	damage := func(name string) func(*testGateway) {
		return func(g *testGateway) {
			g.upstream.edit(testStateBucket, name, func(o *memObject) { o.body[len(o.body)-1] ^= 1 })
		}
	}
	runCheckFaults(t, map[string]checkFault{
		"no bucket":           {emptyBucket, nil, "state bucket", check.StatusWarning, []string{"start the gateway once"}},
		"no bucket, root":     {emptyBucket, nil, "root", check.StatusNotTried, []string{"no state bucket"}},
		"no bucket, rules":    {emptyBucket, nil, "rules", check.StatusNotTried, []string{"no state bucket"}},
		"no bucket, probes":   {emptyBucket, nil, "multipart", check.StatusNotTried, []string{"no state bucket"}},
		"empty bucket, root":  {emptyBucket, empty, "root", check.StatusOK, []string{"the start creates it"}},
		"empty bucket, rules": {emptyBucket, empty, "rules", check.StatusNotTried, []string{"the start creates them"}},
		"empty bucket, probe": {emptyBucket, empty, "multipart", check.StatusOK, nil},
		"root deleted":        {nil, remove(state.RootObject), "root", check.StatusFailed, []string{state.RulesObject, "restore", "SSEGW_STATE"}},
		"root damaged":        {nil, damage(state.RootObject), "root", check.StatusFailed, []string{"not authentic", "restore"}},
		"root damaged, rules": {nil, damage(state.RootObject), "rules", check.StatusNotTried, []string{"no root"}},
		"root not readable": {nil, func(g *testGateway) {
			g.upstream.on(http.MethodGet, "/"+testStateBucket+"/root", answerWith(500, "InternalError"))
		}, "root", check.StatusFailed, []string{"500"}},
		"rules deleted": {nil, remove(state.RulesObject), "rules", check.StatusFailed, []string{"deleted", "restore"}},
		"rules damaged": {nil, damage(state.RulesObject), "rules", check.StatusFailed, []string{"not authentic", "restore"}},
		"rules not readable": {nil, func(g *testGateway) {
			g.upstream.on(http.MethodGet, "/"+testStateBucket+"/rules", answerWith(500, "InternalError"))
		}, "rules", check.StatusFailed, []string{"500"}},
	})
}

// TestCheckMakesNothing checks that the checks before a first start create no
// bucket and no key.
func TestCheckMakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock(), notOpened())
		g.kes.DeleteKey(kmstest.DefaultKey)
		g.findings()
		for _, r := range g.upstream.requests("/") {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				t.Errorf("%s %s", r.Method, r.Path)
			}
		}
		if n := g.kes.Requests(kmstest.OpCreate); n > 0 || g.kes.HasKey(kmstest.DefaultKey) {
			t.Error("the default key was made")
		}
	})
}

func TestCheckProbes(t *testing.T) {
	t.Parallel()
	framed := func(r *http.Request) bool {
		return strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-")
	}
	copies := func(r *http.Request) bool { return r.Header.Get("X-Amz-Copy-Source") != "" }
	partCopies := func(r *http.Request) bool { return copies(r) && r.URL.Query().Has("partNumber") }
	creates := func(r *http.Request) bool { return r.URL.Query().Has("uploads") }
	warn := []gatewayOption{withConfig(func(c *Config) { c.WarnHeaderDigest = true })}
	auto, plain := []gatewayOption{withFraming(upstream.FramingAuto)}, []gatewayOption{withFraming(upstream.FramingPlain)}
	limited := func(n int) func(*testGateway) {
		return onProbes(http.MethodPut, refusing(func(r *http.Request) bool { return s3.UserMetadataSize(r.Header) > n }, 400, "MetadataTooLarge"))
	}
	noFraming := onProbes(http.MethodPut, refusing(framed, 501, "NotImplemented"))
	runCheckFaults(t, map[string]checkFault{
		"no conditions":      {nil, onProbes(http.MethodPut, forgetting("If-None-Match", "If-Match")), "conditional writes", check.StatusWarning, []string{"If-None-Match", "first replica alone"}},
		"half of conditions": {nil, onProbes(http.MethodPut, forgetting("If-Match")), "conditional writes", check.StatusWarning, []string{"If-Match"}},

		"framing found":     {auto, nil, "body framing", check.StatusOK, []string{"trailer"}},
		"framing refused":   {nil, noFraming, "body framing", check.StatusFailed, []string{"trailer", "SSEGW_UPSTREAM_BODY=auto"}},
		"no framing":        {auto, noFraming, "body framing", check.StatusWarning, []string{"no framing"}},
		"plain for nothing": {plain, nil, "body framing", check.StatusWarning, []string{"SSEGW_UPSTREAM_BODY=auto", "accepts trailer"}},
		"only plain":        {plain, noFraming, "body framing", check.StatusWarning, []string{"no framing"}},
		"framing fails":     {auto, onProbes(http.MethodPut, answerWith(200, "")), "body framing", check.StatusFailed, []string{"log of the store"}},

		"headers dropped":        {nil, onProbes(http.MethodPut, forgetting("Cache-Control", "X-Amz-Meta-Probe-Text")), "content headers", check.StatusFailed, []string{"cache-control, x-amz-meta-probe-text", "SSEGW_HEADER_DIGEST=warn"}},
		"headers dropped, known": {warn, onProbes(http.MethodPut, forgetting("Cache-Control")), "content headers", check.StatusWarning, []string{"cache-control"}},
		"headers added": {nil, onProbes(http.MethodPut, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Set("X-Amz-Meta-Vendor", "here")
			next.ServeHTTP(w, r)
		}), "content headers", check.StatusFailed, []string{"x-amz-meta-vendor"}},

		"names changed":    {nil, onProbes(http.MethodPut, altering("names dropped")), "content headers", check.StatusWarning, []string{"names of metadata with _", "refused"}},
		"hyphens":          {nil, onAllProbes(altering("underscores")), "content headers", check.StatusOK, []string{"hyphens for _"}},
		"hyphens, one way": {nil, onProbes(http.MethodPut, altering("underscores")), "content headers", check.StatusWarning, []string{"names of metadata with _", "refused"}},
		"dates alone":      {nil, onProbes(http.MethodPut, altering("dates")), "content headers", check.StatusOK, []string{"Expires", "refused"}},
		"ASCII alone":      {nil, onProbes(http.MethodPut, altering("ASCII")), "content headers", check.StatusWarning, []string{"ASCII"}},

		"little metadata":   {nil, limited(1400), "user metadata", check.StatusWarning, []string{"sealed header", "tell clients"}},
		"no metadata":       {nil, limited(200), "user metadata", check.StatusFailed, []string{"another store"}},
		"metadata dropped":  {nil, onProbes(http.MethodPut, forgetting(sealer.MetadataKey)), "user metadata", check.StatusFailed, []string{"another store"}},
		"as much as Amazon": {nil, limited(s3.MaxUserMetadata), "user metadata", check.StatusOK, []string{"for clients"}},
		"metadata fails":    {nil, onProbes(http.MethodPut, answerWith(500, "InternalError")), "user metadata", check.StatusFailed, []string{"log of the store"}},

		"no ranges":              {nil, onProbes(http.MethodGet, forgetting("Range")), "ranges", check.StatusFailed, []string{"other bytes"}},
		"ranges refused":         {nil, onProbes(http.MethodGet, answerWith(501, "NotImplemented")), "ranges", check.StatusFailed, []string{"refuses", "NotImplemented"}},
		"no conditions on reads": {nil, onProbes(http.MethodGet, forgetting("If-Match")), "ranges", check.StatusWarning, []string{"If-Match"}},

		"no copies":             {nil, onProbes(http.MethodPut, refusing(copies, 501, "NotImplemented")), "server-side copy", check.StatusOK, []string{"refuses", "by parts"}},
		"copies keep metadata":  {nil, onProbes(http.MethodPut, forgetting("X-Amz-Metadata-Directive")), "server-side copy", check.StatusOK, []string{"does not replace", "by parts"}},
		"copies ignore":         {nil, onProbes(http.MethodPut, forgetting("X-Amz-Copy-Source-If-Match")), "server-side copy", check.StatusOK, []string{"x-amz-copy-source-if-match", "more steps"}},
		"no multipart":          {nil, onProbes(http.MethodPost, refusing(creates, 501, "NotImplemented")), "multipart", check.StatusFailed, []string{"refuses", "in parts"}},
		"multipart fails":       {nil, onProbes(http.MethodPost, answerWith(500, "InternalError")), "multipart", check.StatusFailed, []string{"log of the store"}},
		"multipart's metadata":  {nil, onProbes(http.MethodPost, forgetting(sealer.MetadataKey)), "multipart", check.StatusFailed, []string{"metadata"}},
		"Complete fails":        {nil, onProbes(http.MethodPost, refusing(func(r *http.Request) bool { return !creates(r) }, 400, "InvalidPart")), "multipart", check.StatusFailed, []string{"InvalidPart"}},
		"no UploadPartCopy":     {nil, onProbes(http.MethodPut, refusing(partCopies, 501, "NotImplemented")), "copy by parts", check.StatusWarning, []string{"over 5 GiB"}},
		"UploadPartCopy is off": {nil, onProbes(http.MethodPut, refusing(partCopies, 500, "InternalError")), "copy by parts", check.StatusFailed, []string{"log of the store"}},
	})
}

// TestCheckBrokenUploads tests stores that keep the part of a plain body that
// arrived, and stores that do not.
func TestCheckBrokenUploads(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		framing upstream.Framing
		keeps   bool
		status  check.Status
		says    []string
	}{
		"kept, in use":     {upstream.FramingPlain, true, check.StatusFailed, []string{"plain", "SSEGW_UPSTREAM_BODY=auto", "versioning"}},
		"kept, not in use": {upstream.FramingTrailer, true, check.StatusOK, []string{"trailer", "anonymous"}},
		"not kept, plain":  {upstream.FramingPlain, false, check.StatusOK, []string{"in plain framing"}},
		"not kept, signed": {upstream.FramingSigned, false, check.StatusOK, []string{"in signed or plain framing"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, onClock(), withFraming(test.framing))
				if test.keeps {
					keepBroken(g)
				}
				f := finding(t, g.findings(), "broken uploads")
				if f.Status != test.status {
					t.Errorf("%+v, want %q", f, test.status)
				}
				for _, word := range test.says {
					if !strings.Contains(f.Detail+" | "+f.Remedy, word) {
						t.Errorf("%+v does not say %q", f, word)
					}
				}
			})
		})
	}
}

// keepBroken makes the store keep what arrived of a plain body whose connection
// broke.
func keepBroken(g *testGateway) {
	onProbes(http.MethodPut, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		b, err := io.ReadAll(r.Body)
		if err != nil && r.Header.Get("X-Amz-Content-Sha256") == modeUnsigned {
			g.upstream.store(testStateBucket, strings.TrimPrefix(r.URL.Path, "/"+testStateBucket+"/"), &memObject{body: b, header: http.Header{}, etag: memTag(b)})
			return
		}
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(b), &failAfter{err}))
		next.ServeHTTP(w, r)
	})(g)
}

// failAfter ends a body with an error, or cleanly if err is nil.
type failAfter struct{ err error }

func (f *failAfter) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// TestCheckCannotRemove checks that a store that refuses to delete is a warning.
// Only then do probes stay.
func TestCheckCannotRemove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		onProbes(http.MethodDelete, answerWith(403, "AccessDenied"))(g)
		found := map[string]check.Finding{}
		g.checks().Run(t.Context(), func(f check.Finding) { found[f.Name] = f })
		if f := found["ranges"]; f.Status != check.StatusWarning || !strings.Contains(f.Remedy, "delete") || !strings.Contains(f.Detail, "AccessDenied") {
			t.Errorf("%+v", f)
		}
		if !slices.ContainsFunc(g.upstream.keys(testStateBucket), func(k string) bool { return strings.HasPrefix(k, probe.Prefix) }) {
			t.Error("no probe stayed")
		}
	})
}

// TestCheckIsBounded lets the store fall silent in the middle of the checks.
func TestCheckIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, onClock())
		onProbes(http.MethodPut, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})(g)
		short := check.Limits{All: time.Second, Each: 300 * time.Millisecond, Settle: check.DefaultLimits.Settle}
		var found []check.Finding
		start := time.Now()
		checks := g.checks()
		checks.Limits = short
		checks.Run(t.Context(), func(f check.Finding) { found = append(found, f) })
		if took := time.Since(start); took > short.All+300*time.Millisecond {
			t.Errorf("took %s", took)
		}
		if f := finding(t, found, "conditional writes"); f.Status != check.StatusFailed || !strings.Contains(f.Detail, "in time") {
			t.Errorf("%+v", f)
		}
		if f := finding(t, found, "copy by parts"); f.Status != check.StatusNotTried || !strings.Contains(f.Detail, "too long") {
			t.Errorf("%+v", f)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		found = nil
		g.checks().Run(ctx, func(f check.Finding) { found = append(found, f) })
		if f := finding(t, found, "multipart"); f.Status != check.StatusNotTried {
			t.Errorf("interrupted: %+v", f)
		}
	})
}

// checks are those of ssegw check and ssegw inspect.
func (g *testGateway) checks() check.Config {
	return check.Config{
		Upstream: g.Upstream, State: g.State, KMS: g.KMS, KMSTimeout: g.times.kms, WarnHeaderDigest: g.WarnHeaderDigest, Log: g.Log,
	}
}
