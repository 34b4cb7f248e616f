package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// inspection inspects an object of testBucket with a gateway that is not open, and
// sees that nothing was written and no secret told.
func (g *testGateway) inspection(key string) *Inspection {
	g.t.Helper()
	other := g.replica(notOpened())
	i, err := other.Inspect(g.t.Context(), testBucket, key, "")
	if err != nil {
		g.t.Fatal(err)
	}
	for _, r := range g.upstream.requests("/") {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			g.t.Errorf("%s %s", r.Method, r.Path)
		}
	}
	doc, err := json.Marshal(i)
	if err != nil {
		g.t.Fatal(err)
	}
	value := g.upstream.object(testBucket, key).header.Get(sealer.MetadataKey)
	if strings.Contains(string(doc), upstreamSecretKey) || len(value) > 100 && strings.Contains(string(doc), value[40:80]) {
		g.t.Errorf("tells secrets or sealed keys: %s", doc)
	}
	return i
}

// statuses are what the findings say, by name.
func (i *Inspection) statuses() map[string]Status {
	all := map[string]Status{}
	for _, f := range i.Findings {
		all[f.Name] = f.Status
	}
	return all
}

func TestInspect(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withTLS())
	body := pattern(100_000, 1)
	g.put("/bucket/plain", body).want(t, 200, "")
	if i := g.inspection("plain"); i.Sealed || i.Header != nil || len(i.Findings) > 0 || i.StoredSize != 100_000 || i.NotAuthentic() {
		t.Errorf("%+v", i)
	}
	for _, scheme := range testSchemes() {
		g.put("/bucket/k", body, append([]string{"x-amz-checksum-sha256", sumText("SHA256", body)}, scheme.write...)...).want(t, 200, "")
		i := g.inspection("k")
		stored := g.upstream.object(testBucket, "k")
		h, err := sealer.ParseHeader(stored.header.Get(sealer.MetadataKey))
		if err != nil {
			t.Fatal(err)
		}
		want := &InspectedHeader{
			Scheme: h.Scheme.String(), KESKey: h.KeyName, SealedDataKey: len(h.SealedDataKey), SharedDataKey: h.Shared, Context: h.Context,
			Cipher: h.Cipher.String(), ObjectID: h.ObjectID.String(), RootID: g.State.Root().ID.String(),
			Size: 100_000, ExpectedSize: int64(len(stored.body)),
		}
		if diff := cmp.Diff(want, i.Header); diff != "" {
			t.Errorf("%s: header (-want +got):\n%s", scheme.name, diff)
		}
		if !i.Sealed || i.StoredSize != want.ExpectedSize || i.ETag != `"`+stored.etag+`"` || i.Modified == "" || i.NotAuthentic() {
			t.Errorf("%s: %+v", scheme.name, i)
		}
		if !slices.Contains(i.Checksums, InspectedChecksum{"SHA256", fullObject, sumText("SHA256", body)}) {
			t.Errorf("%s: checksums %v", scheme.name, i.Checksums)
		}
		dataKey := StatusOK
		if h.Scheme == sealer.SSEC {
			dataKey = StatusNotTried
		}
		statuses := map[string]Status{"facts": StatusOK, "stored size": StatusOK, "content headers": StatusOK, "data key": dataKey}
		if diff := cmp.Diff(statuses, i.statuses()); diff != "" {
			t.Errorf("%s: findings (-want +got):\n%s", scheme.name, diff)
		}
	}
}

func TestInspectTrailer(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	body := pattern(2<<20, 1)
	g.do(clientRequest{method: http.MethodPut, path: "/bucket/k", body: body, mode: modeTrailer, algorithm: "CRC32C", header: headers(s3.HeaderSSE, s3.AES256)}).want(t, 200, "")
	i := g.inspection("k")
	if !i.Header.Trailer || i.Header.Multipart || i.NotAuthentic() || i.statuses()["trailer"] != StatusOK {
		t.Errorf("%+v", i)
	}
	if !slices.Contains(i.Checksums, InspectedChecksum{"CRC32C", fullObject, sumText("CRC32C", body)}) {
		t.Errorf("checksums %v", i.Checksums)
	}
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body[len(o.body)-60] ^= 1 })
	if i := g.inspection("k"); i.statuses()["trailer"] != StatusFailed || i.statuses()["stored size"] != StatusOK || len(i.Checksums) > 0 && i.Checksums[0].Algorithm == "CRC32C" {
		t.Errorf("trailer changed: %+v", i)
	}
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = o.body[:len(o.body)-1] })
	if i := g.inspection("k"); i.statuses()["trailer"] != StatusNotTried || i.statuses()["stored size"] != StatusFailed {
		t.Errorf("cut: %+v", i)
	}
}

func TestInspectMultipart(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	sizes := []int{minPart, minPart, 1234}
	u := g.begin("/bucket/k", s3.HeaderSSE, s3.AES256)
	for n, size := range sizes {
		u.part(n+1, pattern(size, uint64(n)))
	}
	u.complete()
	i := g.inspection("k")
	want := []InspectedPart{{1, minPart}, {2, minPart}, {3, 1234}}
	if diff := cmp.Diff(want, i.Parts); diff != "" || i.Header.Size != 2*minPart+1234 || i.Header.ExpectedSize != i.StoredSize || i.NotAuthentic() {
		t.Errorf("%+v\nparts (-want +got):\n%s", i, diff)
	}
	whole := g.upstream.object(testBucket, "k")
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = o.body[100:] })
	if i := g.inspection("k"); i.statuses()["stored size"] != StatusFailed || i.statuses()["trailer"] != StatusOK {
		t.Errorf("body cut at its start: %+v", i)
	}
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = whole.body[:len(whole.body)-1] })
	if i := g.inspection("k"); i.statuses()["stored size"] != StatusNotTried || i.statuses()["trailer"] != StatusFailed || i.Header.Size != -1 || i.Parts != nil {
		t.Errorf("cut at its end: %+v", i)
	}
}

// TestInspectTampered names what a store did to an object.
func TestInspectTampered(t *testing.T) {
	t.Parallel()
	header := func(edit func(h *sealer.Header)) func(*testGateway) {
		return func(g *testGateway) {
			g.upstream.edit(testBucket, "k", func(o *memObject) {
				h, err := sealer.ParseHeader(o.header.Get(sealer.MetadataKey))
				if err != nil {
					g.t.Fatal(err)
				}
				edit(h)
				o.header.Set(sealer.MetadataKey, h.Encode())
			})
		}
	}
	tests := map[string]struct {
		tamper func(g *testGateway)
		failed []string // findings
		says   string
	}{
		"cut": {func(g *testGateway) { g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = o.body[:50] }) }, []string{"stored size"}, "has 50 bytes of 1032"},
		"header unreadable": {func(g *testGateway) {
			g.upstream.edit(testBucket, "k", func(o *memObject) { o.header.Set(sealer.MetadataKey, "x!") })
		}, []string{"header"}, "cannot be read"},
		"another name": {func(g *testGateway) {
			g.put("/bucket/other", pattern(1000, 2), s3.HeaderSSE, s3.AWSKMS).want(g.t, 200, "")
			g.upstream.store(testBucket, "k", g.upstream.object(testBucket, "other"))
			g.upstream.forget()
		}, []string{"data key", "facts"}, "another name"},
		"metadata added": {func(g *testGateway) {
			g.upstream.edit(testBucket, "k", func(o *memObject) { o.header.Set("X-Amz-Meta-New", "x") })
		}, []string{"content headers"}, "user metadata"},
		"type changed": {func(g *testGateway) {
			g.upstream.edit(testBucket, "k", func(o *memObject) { o.header.Set("Content-Type", "text/evil") })
		}, []string{"content headers"}, "changed"},
		"another root": {header(func(h *sealer.Header) { h.RootID[0]++ }), []string{"facts"}, "sealed under root"},
		"another size": {header(func(h *sealer.Header) { h.Size++ }), []string{"data key", "facts"}, "header was changed"},
		"data key":     {header(func(h *sealer.Header) { h.SealedDataKey[40] ^= 1 }), []string{"data key", "facts"}, "KES does not open it"},
		"object key":   {header(func(h *sealer.Header) { h.SealedObjectKey[0] ^= 1 }), []string{"data key", "facts"}, "not the one of this header"},
		"key deleted":  {func(g *testGateway) { g.kes.DeleteKey("tenant") }, []string{"data key"}, "KES has no key"},
		"key denied":   {func(g *testGateway) { g.kes.Deny("tenant") }, []string{"data key"}, "/v1/key/decrypt/tenant"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, withKES(kmstest.NewServer(t, kmstest.WithKeys("tenant"))))
			g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AWSKMS, s3.HeaderSSEKeyID, "tenant").want(t, 200, "")
			g.upstream.forget()
			test.tamper(g)
			i := g.inspection("k")
			var failed []string
			for name, status := range i.statuses() {
				if status == StatusFailed {
					failed = append(failed, name)
				}
			}
			slices.Sort(failed)
			if diff := cmp.Diff(test.failed, failed); diff != "" || !i.NotAuthentic() {
				t.Errorf("failed (-want +got):\n%s", diff)
			}
			if text := fmt.Sprint(i.Findings); !strings.Contains(text, test.says) {
				t.Errorf("%s does not say %q", text, test.says)
			}
		})
	}
}

// TestInspectWithout sees what is shown without KES, without the root, and for an
// object that is not there.
func TestInspectWithout(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	g.upstream.forget()
	notTried := map[string]Status{"facts": StatusNotTried, "stored size": StatusNotTried, "content headers": StatusNotTried, "data key": StatusNotTried}

	g.kes.Stop()
	i := g.inspection("k")
	if diff := cmp.Diff(notTried, i.statuses()); diff != "" || i.Header.KESKey != kmstest.DefaultKey || i.NotAuthentic() {
		t.Errorf("without KES: %+v\n(-want +got):\n%s", i, diff)
	}
	g.kes.Start()

	g.upstream.store(testStateBucket, rootObject, nil)
	i = g.inspection("k")
	notTried["data key"] = StatusOK
	if diff := cmp.Diff(notTried, i.statuses()); diff != "" || !strings.Contains(fmt.Sprint(i.Findings), "there is none in bucket "+testStateBucket) {
		t.Errorf("without a root: %+v\n(-want +got):\n%s", i, diff)
	}

	if _, err := g.Inspect(t.Context(), testBucket, "absent", ""); statusOf(err) != 404 || !strings.Contains(err.Error(), "NoSuchKey") {
		t.Errorf("absent: %v", err)
	}
	if _, err := g.Inspect(t.Context(), testBucket, "k", "no-such-version"); statusOf(err) != 404 {
		t.Errorf("absent version: %v", err)
	}
}

// TestInspectContext: a context that nobody has authenticated yet may be no JSON.
func TestInspectContext(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", `{"a":"b"}`: `{"a":"b"}`, "\x1b{": `"\u001b{"`} {
		if got := string(contextJSON([]byte(text))); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// TestInspectHeaderWarning: where changed headers are a warning to clients, they are
// one here.
func TestInspectHeaderWarning(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withConfig(func(c *Config) { c.WarnHeaderDigest = true }))
	g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.header.Set("Content-Type", "text/evil") })
	i, err := g.Inspect(t.Context(), testBucket, "k", "")
	if err != nil || i.NotAuthentic() || i.statuses()["content headers"] != StatusWarning {
		t.Errorf("%+v, %v", i, err)
	}
}
