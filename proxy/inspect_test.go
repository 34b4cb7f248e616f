package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ssegw/proxy/check"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms/kmstest"
	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// inspection inspects an object of testBucket with a gateway that is not open. It
// checks that nothing was written and that the result holds no secret.
func (g *testGateway) inspection(key string) *check.Inspection {
	g.t.Helper()
	other := g.replica(notOpened())
	i, err := other.checks().Inspect(g.t.Context(), testBucket, key, "")
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

// statusesOf returns the statuses of the findings by name.
func statusesOf(i *check.Inspection) map[string]check.Status {
	all := map[string]check.Status{}
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
		h, err := parsedHeader(stored.header.Get(sealer.MetadataKey))
		if err != nil {
			t.Fatal(err)
		}
		want := &check.InspectedHeader{
			Scheme: h.Scheme.String(), KESKey: h.KeyName, SealedDataKey: len(h.SealedDataKey), SharedDataKey: h.Shared, Context: h.Context,
			Cipher: h.Cipher.String(), ObjectID: h.ObjectID.String(), RootID: g.State.Root().ID.String(), Root: check.RootPresent,
			Size: 100_000, ExpectedSize: int64(len(stored.body)),
		}
		if diff := cmp.Diff(want, i.Header); diff != "" {
			t.Errorf("%s: header (-want +got):\n%s", scheme.name, diff)
		}
		if !i.Sealed || i.StoredSize != want.ExpectedSize || i.ETag != `"`+stored.etag+`"` || i.Modified == "" || i.NotAuthentic() {
			t.Errorf("%s: %+v", scheme.name, i)
		}
		if !slices.Contains(i.Checksums, check.InspectedChecksum{Algorithm: "SHA256", Type: s3.FullObject, Value: sumText("SHA256", body)}) {
			t.Errorf("%s: checksums %v", scheme.name, i.Checksums)
		}
		dataKey := check.StatusOK
		if h.Scheme == sealer.SSEC {
			dataKey = check.StatusNotTried
		}
		statuses := map[string]check.Status{"facts": check.StatusOK, "stored size": check.StatusOK, "content headers": check.StatusOK, "data key": dataKey}
		if diff := cmp.Diff(statuses, statusesOf(i)); diff != "" {
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
	if !i.Header.Trailer || i.Header.Multipart || i.NotAuthentic() || statusesOf(i)["trailer"] != check.StatusOK {
		t.Errorf("%+v", i)
	}
	if !slices.Contains(i.Checksums, check.InspectedChecksum{Algorithm: "CRC32C", Type: s3.FullObject, Value: sumText("CRC32C", body)}) {
		t.Errorf("checksums %v", i.Checksums)
	}
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body[len(o.body)-60] ^= 1 })
	if i := g.inspection("k"); statusesOf(i)["trailer"] != check.StatusFailed || statusesOf(i)["stored size"] != check.StatusOK || len(i.Checksums) > 0 && i.Checksums[0].Algorithm == "CRC32C" {
		t.Errorf("trailer changed: %+v", i)
	}
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = o.body[:len(o.body)-1] })
	if i := g.inspection("k"); statusesOf(i)["trailer"] != check.StatusNotTried || statusesOf(i)["stored size"] != check.StatusFailed {
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
	want := []check.InspectedPart{{Number: 1, Size: minPart}, {Number: 2, Size: minPart}, {Number: 3, Size: 1234}}
	if diff := cmp.Diff(want, i.Parts); diff != "" || i.Header.Size != 2*minPart+1234 || i.Header.ExpectedSize != i.StoredSize || i.NotAuthentic() {
		t.Errorf("%+v\nparts (-want +got):\n%s", i, diff)
	}
	whole := g.upstream.object(testBucket, "k")
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = o.body[100:] })
	if i := g.inspection("k"); statusesOf(i)["stored size"] != check.StatusFailed || statusesOf(i)["trailer"] != check.StatusOK {
		t.Errorf("body cut at its start: %+v", i)
	}
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = whole.body[:len(whole.body)-1] })
	if i := g.inspection("k"); statusesOf(i)["stored size"] != check.StatusNotTried || statusesOf(i)["trailer"] != check.StatusFailed || i.Header.Size != -1 || i.Parts != nil {
		t.Errorf("cut at its end: %+v", i)
	}
}

// TestInspectTampered checks that the findings name what a store changed.
func TestInspectTampered(t *testing.T) {
	t.Parallel()
	header := func(edit func(h *sealer.Header)) func(*testGateway) {
		return func(g *testGateway) {
			g.upstream.edit(testBucket, "k", func(o *memObject) {
				h, err := parsedHeader(o.header.Get(sealer.MetadataKey))
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
		"cut": {func(g *testGateway) { g.upstream.edit(testBucket, "k", func(o *memObject) { o.body = o.body[:50] }) }, []string{"stored size"}, "has 50 bytes instead of 1032"},
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
		"object key":   {header(func(h *sealer.Header) { h.SealedObjectKey[0] ^= 1 }), []string{"data key", "facts"}, "not the key of this header"},
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
			for name, status := range statusesOf(i) {
				if status == check.StatusFailed {
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

// TestInspectWithout inspects without KES, without the root, and an object that
// does not exist.
func TestInspectWithout(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	g.upstream.forget()
	notTried := map[string]check.Status{"facts": check.StatusNotTried, "stored size": check.StatusNotTried, "content headers": check.StatusNotTried, "data key": check.StatusNotTried}

	g.kes.Stop()
	i := g.inspection("k")
	if diff := cmp.Diff(notTried, statusesOf(i)); diff != "" || i.Header.KESKey != kmstest.DefaultKey || i.NotAuthentic() {
		t.Errorf("without KES: %+v\n(-want +got):\n%s", i, diff)
	}
	g.kes.Start()

	g.upstream.store(testStateBucket, state.RootObject, nil)
	i = g.inspection("k")
	notTried["data key"] = check.StatusOK
	if diff := cmp.Diff(notTried, statusesOf(i)); diff != "" || !strings.Contains(fmt.Sprint(i.Findings), "bucket "+testStateBucket+" has no root") {
		t.Errorf("without a root: %+v\n(-want +got):\n%s", i, diff)
	}

	if _, err := g.checks().Inspect(t.Context(), testBucket, "absent", ""); upstream.StatusOf(err) != 404 || !strings.Contains(err.Error(), "NoSuchKey") {
		t.Errorf("absent: %v", err)
	}
	if _, err := g.checks().Inspect(t.Context(), testBucket, "k", "no-such-version"); upstream.StatusOf(err) != 404 {
		t.Errorf("absent version: %v", err)
	}
}

// TestInspectHeaderWarning checks that changed headers are only a warning if
// clients get a warning for them.
func TestInspectHeaderWarning(t *testing.T) {
	t.Parallel()
	g := newGateway(t, withConfig(func(c *Config) { c.WarnHeaderDigest = true }))
	g.put("/bucket/k", pattern(1000, 1), s3.HeaderSSE, s3.AWSKMS).want(t, 200, "")
	g.upstream.edit(testBucket, "k", func(o *memObject) { o.header.Set("Content-Type", "text/evil") })
	i, err := g.checks().Inspect(t.Context(), testBucket, "k", "")
	if err != nil || i.NotAuthentic() || statusesOf(i)["content headers"] != check.StatusWarning {
		t.Errorf("%+v, %v", i, err)
	}
}
