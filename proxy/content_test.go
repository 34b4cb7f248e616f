package proxy

import (
	"math/rand/v2"
	"mime"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// shownContent returns the content header lines that a client gets.
func shownContent(h http.Header) http.Header {
	shown := http.Header{}
	for name, values := range h {
		if s3.IsStored(name) {
			shown[name] = values
		}
	}
	return shown
}

// TestContentShownInOneForm: a store may return the same headers in several
// forms. Clients see one of them, or an error.
func TestContentShownInOneForm(t *testing.T) {
	t.Parallel()
	sent := headers("X-Amz-Meta-Role", "user", "X-Amz-Meta-Roles", "role=user,role=admin", "X-Amz-Meta-Name", "Grüße, 世界",
		"X-Amz-Meta-Literal", "=?utf-8?q?user?=", "X-Amz-Meta-Long", strings.Repeat("ö", 100),
		"Content-Disposition", `attachment; filename="Grüße.txt"`, "Content-Type", "text/plain", "Content-Language", "de,en", "Cache-Control", "no-cache, no-store")
	want := http.Header{
		"X-Amz-Meta-Role": {"user"}, "X-Amz-Meta-Roles": {"role=user,role=admin"}, "X-Amz-Meta-Name": {mime.BEncoding.Encode("UTF-8", "Grüße, 世界")},
		"X-Amz-Meta-Literal": {"=?utf-8?q?user?="}, "X-Amz-Meta-Long": {mime.BEncoding.Encode("UTF-8", strings.Repeat("ö", 100))},
		"Content-Disposition": {`attachment; filename="Grüße.txt"`}, "Content-Type": {"text/plain"}, "Content-Language": {"de,en"}, "Cache-Control": {"no-cache, no-store"},
	}
	latin1 := "=?iso-8859-1?q?attachment=3B_filename=3D=22Gr=FC=DFe=2Etxt=22?="
	edits := map[string]struct {
		name    string
		values  []string
		refused bool
	}{
		"nothing":             {},
		"encoded":             {"X-Amz-Meta-Name", []string{mime.QEncoding.Encode("utf-8", "Grüße, 世界")}, false},
		"encoded otherwise":   {"Content-Disposition", []string{latin1}, false},
		"two lines":           {"X-Amz-Meta-Roles", []string{"role=user", "role=admin"}, false},
		"lines of a list":     {"Content-Language", []string{"de", "en"}, false},
		"lines, a space less": {"Cache-Control", []string{"no-cache", "no-store"}, true},
		"encoded ASCII":       {"X-Amz-Meta-Role", []string{"=?utf-8?q?user?="}, true},
		"encoded, as base64":  {"X-Amz-Meta-Role", []string{"=?utf-8?b?dXNlcg==?="}, true},
		"encoded in part":     {"X-Amz-Meta-Role", []string{"=?utf-8?q?us?=er"}, true},
		"decoded ASCII":       {"X-Amz-Meta-Literal", []string{"user"}, true},
		"an encoded type":     {"Content-Type", []string{"=?utf-8?q?text/plain?="}, true},
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			h := sent.Clone()
			h.Set(s3.HeaderSSE, s3.AES256)
			g.do(clientRequest{method: http.MethodPut, path: "/bucket/k", body: []byte("data"), header: h}).want(t, 200, "")
			if edit.name != "" {
				g.upstream.edit(testBucket, "k", func(o *memObject) { o.header[edit.name] = edit.values })
			}
			if edit.refused {
				refused(t, g, "/bucket/k", 500, notAuthentic)
				return
			}
			for _, r := range []clientAnswer{g.get("/bucket/k"), g.head("/bucket/k")} {
				r.want(t, 200, "")
				if diff := cmp.Diff(want, shownContent(r.header)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			// A copy has the authenticated value, not the store's form of it.
			g.copy("bucket/k", "/bucket/copy").want(t, 200, "")
			if diff := cmp.Diff(want, shownContent(g.head("/bucket/copy").header)); diff != "" {
				t.Errorf("copy (-want +got):\n%s", diff)
			}
		})
	}
}

// TestContentOfOlderGateways: older gateways computed the digest over decoded
// values. It still verifies, and clients see the decoded values.
func TestContentOfOlderGateways(t *testing.T) {
	t.Parallel()
	stored := headers("X-Amz-Meta-Role", "=?utf-8?q?user?=", "X-Amz-Meta-Roles", "a", "X-Amz-Meta-Roles", "b")
	earlier := sealer.Content{"x-amz-meta-role": "user", "x-amz-meta-roles": "a,b"}
	found, err := sealer.OpenContent(stored, "k", 1, earlier.Digest())
	if err != nil || !cmp.Equal(found, earlier) {
		t.Errorf("%v %v, want %v", found, err, earlier)
	}
	written := sealer.Content{"x-amz-meta-role": "=?utf-8?q?user?=", "x-amz-meta-roles": "a,b"}
	found, err = sealer.OpenContent(stored, "k", 1, written.Digest())
	if err != nil || !cmp.Equal(found, written) {
		t.Errorf("%v %v, want %v", found, err, written)
	}
}

// TestContentTravels: the value sent to the store has the digest of the
// original value, and cannot start another header line.
func TestContentTravels(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "B", " ", "  ", "=?", "?=", "=?utf-8?q?user?=", "=?utf-8?q?=C3=B6?=", "ö", "世", "\"", ",", "=", "_", "?", "\xff", "\r\n", "\x00"}
	forms := []func(name, value string) string{
		func(_, value string) string { return strings.Trim(value, " \t") },
		sealer.RewrittenValue,
		func(_, value string) string { return s3.DecodeWords(strings.TrimSpace(value)) },
	}
	for range 20_000 {
		var b strings.Builder
		for range rnd.IntN(8) {
			b.WriteString(alphabet[rnd.IntN(len(alphabet))])
		}
		for _, form := range forms {
			for _, name := range []string{"x-amz-meta-a", "content-disposition"} {
				value := form(name, b.String())
				wire := s3.WireValue(name, value)
				if strings.ContainsAny(wire, "\r\n\x00") {
					t.Fatalf("%q travels as %q", value, wire)
				}
				if !s3.IsASCII(value) && utf8.ValidString(value) && sealer.RewrittenValue(name, wire) != sealer.RewrittenValue(name, value) {
					t.Fatalf("%s: %q travels as %q, which is %q", name, value, wire, sealer.RewrittenValue(name, wire))
				}
			}
		}
	}
}
