package sealer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/google/go-cmp/cmp"
)

const (
	document     = "../docs/FORMAT.md"
	exampleBegin = "<!-- example: begin (written by `go test ./sealer -run TestDocument -update`) -->\n```\n"
	exampleEnd   = "```\n<!-- example: end -->\n"
)

// exampleFields are the names in the worked example, in order.
var exampleFields = []string{
	"bucket", "key", "plaintext", "scheme", "key name", "sealed data key", "data key", "root ID", "root key",
	"object ID", "nonce", "sealing key", "commitment", "object key", "sealed object key",
	"facts nonce", "facts key", "facts", "sealed facts", "body key", "trailer key", "trailer",
	"header", "sealed body", "sealed trailer", "footer", "stored",
}

// TestDocument follows the worked example of docs/FORMAT.md like an
// implementer: each value is derived from those before it.
func TestDocument(t *testing.T) {
	if !*update { // which sets the random numbers of the whole process
		t.Parallel()
	}
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), exampleBegin)
	block, after, ok2 := strings.Cut(rest, exampleEnd)
	if !ok || !ok2 {
		t.Fatal("no example in the document")
	}
	if *update {
		block = writeExample(t)
		if err := os.WriteFile(document, []byte(before+exampleBegin+block+exampleEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	example, err := parseExample(block)
	if err != nil {
		t.Fatal(err)
	}
	checkExample(t, example)
	checkExampleReads(t, example)
}

// parseExample reads lines of "name = value". A line that starts with white
// space continues the previous value.
func parseExample(block string) (map[string]string, error) {
	example := make(map[string]string)
	var names []string
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, " ") && len(names) > 0 {
			example[names[len(names)-1]] += strings.TrimSpace(line)
			continue
		}
		name, value, ok := strings.Cut(line, " =")
		if !ok || example[name] != "" {
			return nil, fmt.Errorf("line %q", line)
		}
		names = append(names, name)
		example[name] = strings.TrimPrefix(value, " ")
	}
	if diff := cmp.Diff(exampleFields, names); diff != "" {
		return nil, fmt.Errorf("fields (-want +got):\n%s", diff)
	}
	for name, value := range example {
		if text, ok := strings.CutPrefix(value, `"`); ok {
			example[name] = strings.TrimSuffix(text, `"`)
		} else if name != "header" {
			b, err := hex.DecodeString(value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			example[name] = string(b)
		}
	}
	return example, nil
}

func exampleParams(e map[string]string) (Binding, Key, Root) {
	return Binding{Bucket: e["bucket"], Key: e["key"]}, Key([]byte(e["data key"])),
		Root{ID: RootID([]byte(e["root ID"])), Key: Key([]byte(e["root key"]))}
}

// checkExample derives each value and compares it with the one in the document.
func checkExample(t *testing.T, e map[string]string) {
	t.Helper()
	b, dataKey, root := exampleParams(e)
	h, err := decodeHeader(e["header"])
	if err != nil {
		t.Fatal(err)
	}
	k, err := h.open(b, dataKey)
	if err != nil {
		t.Fatal(err)
	}
	got := derivedExample(t, h, k, b, dataKey, root)
	for name, value := range got {
		if e[name] != value {
			t.Errorf("%s: document has %x, got %x", name, e[name], value)
		}
	}
	stored := e["sealed body"] + e["sealed trailer"] + e["footer"]
	if e["stored"] != stored {
		t.Error("stored is not body, trailer and footer")
	}
	if len(got)+len(exampleInputs) != len(exampleFields) {
		t.Errorf("%d values derived, %d given, %d in the document", len(got), len(exampleInputs), len(exampleFields))
	}
}

// exampleInputs are the fields that are not derived.
var exampleInputs = []string{"bucket", "key", "plaintext", "data key", "root key", "trailer", "sealed body", "sealed trailer", "footer", "stored"}

// derivedExample holds the values derived from header and keys.
func derivedExample(t *testing.T, h *Header, k *ObjectKey, b Binding, dataKey Key, root Root) map[string]string {
	t.Helper()
	secrets := deriveObjectSecrets(&dataKey, h.Nonce, h.Scheme, b)
	fk, bk, tk := factsKey(&root, h.ObjectID, h.FactsNonce), k.bodyKey(), k.TrailerKey()
	facts, err := openOnce(&fk, h.SealedFacts, h.factsAAD(b))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"scheme": h.Scheme.String(), "key name": h.KeyName, "sealed data key": string(h.SealedDataKey),
		"root ID": string(h.RootID[:]), "object ID": string(h.ObjectID[:]), "nonce": string(h.Nonce[:]),
		"sealing key": string(secrets.sealing[:]), "commitment": string(secrets.commitment[:]),
		"object key": string(k.key()[:]), "sealed object key": string(h.SealedObjectKey[:]),
		"facts nonce": string(h.FactsNonce[:]), "facts key": string(fk[:]), "facts": string(facts),
		"sealed facts": string(h.SealedFacts), "body key": string(bk[:]), "trailer key": string(tk[:]),
		"header": h.Encode(),
	}
}

// checkExampleReads reads the object of the example with the exported
// functions.
func checkExampleReads(t *testing.T, e map[string]string) {
	t.Helper()
	b, dataKey, root := exampleParams(e)
	h, err := decodeHeader(e["header"])
	if err != nil {
		t.Fatal(err)
	}
	facts, err := h.openFacts(b, root)
	if err != nil {
		t.Fatal(err)
	}
	sealed := e["sealed trailer"] + e["footer"]
	trailer, err := facts.OpenTrailer(h, []byte(sealed))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(e["plaintext"]))
	want := &Trailer{
		Size:      int64(len(e["plaintext"])),
		Checksums: []Checksum{{Algorithm: ChecksumSHA256, Digest: sum[:]}},
		Stored:    SingleTrailerSize,
	}
	if diff := cmp.Diff(want, trailer); diff != "" {
		t.Errorf("trailer (-want +got):\n%s", diff)
	}
	if parsed, err := parseTrailer([]byte(e["trailer"]), false); err != nil || !cmp.Equal(parsed.Checksums, trailer.Checksums) {
		t.Errorf("trailer of the document: %+v, %v", parsed, err)
	}
	if got := h.StoredSize(trailer); got != int64(len(e["stored"])) {
		t.Errorf("stored size %d, document has %d", got, len(e["stored"]))
	}
	k, err := h.open(b, dataKey)
	if err != nil {
		t.Fatal(err)
	}
	extent, err := Locate(h.Size, 0, h.Size)
	if err != nil {
		t.Fatal(err)
	}
	r, err := k.OpenBody(strings.NewReader(e["stored"]), extent)
	if err != nil {
		t.Fatal(err)
	}
	if plaintext, err := io.ReadAll(r); err != nil || string(plaintext) != e["plaintext"] {
		t.Errorf("plaintext %q, %v", plaintext, err)
	}
}

// writeExample creates the example, with deterministic randomness.
func writeExample(t *testing.T) string {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 2)
	const plaintext = "Hello, World"
	p := params(int64(len(plaintext)))
	p.Trailer, p.Facts.Announced = true, Announcement{Algorithm: ChecksumSHA256}
	h, k, err := sealWith(p, AES256GCM)
	if err != nil {
		t.Fatal(err)
	}
	r, err := k.SealBody(strings.NewReader(plaintext), p.Size)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(plaintext))
	sealed, err := k.SealTrailer([]Checksum{{Algorithm: ChecksumSHA256, Digest: sum[:]}}, p.Size)
	if err != nil {
		t.Fatal(err)
	}
	trailerKey := k.TrailerKey()
	trailer, err := gcm(&trailerKey).Open(nil, sealed[:gcmNonceSize], sealed[gcmNonceSize:len(sealed)-FooterSize], trailerAAD(k.flags(), k.id))
	if err != nil {
		t.Fatal(err)
	}
	values := derivedExample(t, h, k, p.Binding, p.DataKey, p.Root)
	values["bucket"], values["key"], values["plaintext"] = p.Binding.Bucket, p.Binding.Key, plaintext
	values["data key"], values["root key"] = string(p.DataKey[:]), string(p.Root.Key[:])
	values["trailer"], values["sealed body"] = string(trailer), string(body)
	values["sealed trailer"], values["footer"] = string(sealed[:len(sealed)-FooterSize]), string(sealed[len(sealed)-FooterSize:])
	values["stored"] = string(body) + string(sealed)
	return formatExample(values)
}

func formatExample(values map[string]string) string {
	quoted := map[string]bool{"bucket": true, "key": true, "plaintext": true, "scheme": true, "key name": true}
	var out bytes.Buffer
	for _, name := range exampleFields {
		value := values[name]
		switch {
		case quoted[name]:
			value = `"` + value + `"`
		case name != "header":
			value = hex.EncodeToString([]byte(value))
		}
		fmt.Fprintf(&out, "%s =", name)
		if len(value) <= 96 {
			fmt.Fprintf(&out, " %s\n", value)
			continue
		}
		for line := range slices.Chunk([]byte(value), 96) {
			fmt.Fprintf(&out, "\n  %s", line)
		}
		out.WriteByte('\n')
	}
	return out.String()
}
