package sealer

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stored returns metadata as a store returns it.
func stored(values map[string]string) map[string][]string {
	headers := map[string][]string{"Etag": {"e"}, "X-Amz-Meta-Ssegw-17": {"mine"}}
	for name, v := range values {
		headers[strings.ToUpper(name[:1])+name[1:]] = []string{v, "a second line"}
	}
	return headers
}

// TestHeaderValues splits headers of all lengths around each limit, joins them,
// and compares the number of values with section 3.2.
func TestHeaderValues(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 6, 40, 64, 220, 221, 256, 2048} {
		for n := 1; n <= maxEncoded; n++ {
			encoded := strings.Repeat("ABCDEFG", n/7+1)[:n]
			values, err := HeaderValues(encoded, limit)
			want := 1
			if limit > 0 && n > limit {
				want = (n + limit - 6) / (limit - 5)
			}
			if want > maxHeaderValues {
				if !errors.Is(err, ErrTooLarge) || values != nil {
					t.Fatalf("%d characters, limit %d: %v, %v", n, limit, err, values)
				}
				continue
			}
			if err != nil || len(values) != want {
				t.Fatalf("%d characters, limit %d: %v, %d values, want %d", n, limit, err, len(values), want)
			}
			for name, v := range values {
				if limit > 0 && len(v) > limit {
					t.Fatalf("%d characters, limit %d: %s has %d", n, limit, name, len(v))
				}
			}
			headers := stored(values)
			if got, err := HeaderOf(headers); got != encoded || err != nil {
				t.Fatalf("%d characters, limit %d: joined to %q, %v", n, limit, got, err)
			}
			if !HasHeader(headers, encoded) || HasHeader(headers, encoded+"A") {
				t.Fatalf("%d characters, limit %d: HasHeader", n, limit)
			}
			names := slices.Sorted(slices.Values(HeaderNames(headers)))
			if diff := cmp.Diff(slices.Sorted(maps.Keys(values)), names); diff != "" {
				t.Fatalf("%d characters, limit %d: names (-want +got):\n%s", n, limit, diff)
			}
		}
	}
	for _, limit := range []int{-1, 1, 5} {
		if _, err := HeaderValues(strings.Repeat("A", 500), limit); !errors.Is(err, ErrTooLarge) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// maxEncoded is the length of the longest header (section 9).
const maxEncoded = 3443

// TestHeaderValuesHoldEveryHeader checks the smallest limit that the decision
// names (docs/adr/0015-split-headers.md).
func TestHeaderValuesHoldEveryHeader(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("A", maxEncoded)
	if _, err := HeaderValues(longest, 221); err != nil {
		t.Error(err)
	}
	if _, err := HeaderValues(longest, 220); err == nil {
		t.Error("220 bytes are enough")
	}
}

func TestIsPieceName(t *testing.T) {
	t.Parallel()
	var pieces []string
	for _, suffix := range []string{"", "-", "-0", "-1", "-02", "-+2", "-2a", "-17", "-99999999999999999999", "2", "-2-2"} {
		if IsPieceName(MetadataKey + suffix) {
			t.Errorf("%q", suffix)
		}
	}
	for i := -1; i <= 20; i++ {
		if name := MetadataKey + "-" + strconv.Itoa(i); IsPieceName(name) {
			pieces = append(pieces, name)
		}
	}
	if len(pieces) != 15 || pieces[0] != "x-amz-meta-ssegw-2" || pieces[14] != "x-amz-meta-ssegw-16" {
		t.Errorf("%v", pieces)
	}
}

// TestAttackedSplit: what a store can do with the pieces of an object either
// changes nothing, or the header or the headers digest does not open.
func TestAttackedSplit(t *testing.T) {
	t.Parallel()
	o := seal(t, params(0), AES256GCM)
	encoded := o.header.Encode()
	values, err := HeaderValues(encoded, 200)
	if err != nil {
		t.Fatal(err)
	}
	content := NewContent(map[string][]string{"X-Amz-Meta-A": {"1"}}, "k", 1)
	with := func(metadata map[string]string) map[string][]string {
		headers := map[string][]string{"X-Amz-Meta-A": {"1"}}
		for name, v := range metadata {
			headers[name] = []string{v}
		}
		return headers
	}
	other, _ := HeaderValues(encoded, 180)
	for name, harmless := range map[string]map[string]string{
		"as written": values, "made whole": {MetadataKey: encoded}, "cut at other places": other,
	} {
		got, err := OpenContent(with(harmless), "k", 1, content.Digest())
		if !HasHeader(with(harmless), encoded) || err != nil || !cmp.Equal(got, content) {
			t.Errorf("%s: %v, %v", name, err, got)
		}
	}
	left := maps.Clone(values)
	left[MetadataKey] = encoded
	more := maps.Clone(values)
	more[HeaderName(len(values)+1)] = "AAAA"
	for name, harmful := range map[string]map[string]string{"pieces left over": left, "one piece more": more} {
		if _, err := OpenContent(with(harmful), "k", 1, content.Digest()); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mine := NewContent(with(map[string]string{MetadataKey: encoded, HeaderName(2): "mine"}), "k", 1)
	if mine[HeaderName(2)] != "mine" {
		t.Errorf("%v", mine)
	}
	if _, err := OpenContent(with(values), "k", 1, mine.Digest()); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("the client's metadata became a piece: %v", err)
	}
}

// FuzzHeaderOf checks that whatever joins splits into the same values again,
// and that any header survives a split and a join.
func FuzzHeaderOf(f *testing.F) {
	f.Add("2.3.AB\nCD\nE", 8)
	f.Add("2.16.A"+strings.Repeat("\nB", 15), 6)
	f.Add("2.2.A\n", 0)
	f.Add("AQIB", 3)
	vectorHeaders(f, func(value string) { f.Add(value, 256) })
	f.Fuzz(func(t *testing.T, text string, limit int) {
		headers, lines := map[string][]string{}, strings.Split(text, "\n")
		for i, line := range lines {
			headers[HeaderName(i+1)] = []string{line}
		}
		joined, err := HeaderOf(headers)
		names := HeaderNames(headers)
		switch {
		case err != nil && !errors.Is(err, ErrMalformed), err != nil && joined != "":
			t.Fatal(joined, err)
		case err == nil && len(names) == 1 && joined != lines[0]:
			t.Fatalf("a whole header became %q", joined)
		case err == nil && len(names) > 1:
			_, piece := splitInto(lines[0])
			again, err := HeaderValues(joined, len(piece)+5)
			if len(joined) <= len(piece)+5 { // such a header needs no split
				break
			}
			if err != nil || len(again) != len(names) {
				t.Fatalf("%q splits into %d values: %v", joined, len(again), err)
			}
			for i := range names {
				if again[HeaderName(i+1)] != lines[i] {
					t.Fatalf("%q splits into %q", joined, again)
				}
			}
		}
		if strings.ContainsAny(text, ".\n") {
			return
		}
		if values, err := HeaderValues(text, limit); err == nil && !HasHeader(stored(values), text) {
			t.Fatalf("%q, limit %d: %q", text, limit, values)
		}
	})
}
