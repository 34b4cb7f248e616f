package sealer

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func record(t testing.TB, root Root, name string, plaintext []byte) []byte {
	t.Helper()
	b, err := SealRecord(root, name, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rootRecord(t testing.TB, root Root, initialised bool, dataKey Key) []byte {
	t.Helper()
	b, err := SealRoot(root, initialised, "my-key", []byte("sealed data key"), dataKey)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// openDocumented opens AES-256-GCM under HKDF-SHA256, both as defined in
// section 2.
func openDocumented(t *testing.T, secret, salt []byte, info string, sealed, aad []byte) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, secret, salt, info, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plaintext, err := aead.Open(nil, make([]byte, 12), sealed, aad)
	if err != nil {
		t.Fatal(err)
	}
	return plaintext
}

// TestRecordAsDocumented opens a record using only section 14.
func TestRecordAsDocumented(t *testing.T) {
	t.Parallel()
	root := NewRoot()
	for _, plaintext := range []string{"", "x", `{"revision":1}`, strings.Repeat("long ", 50_000)} {
		b := record(t, root, "rules", []byte(plaintext))
		if string(b[:8]) != "SSEGWST1" || !bytes.Equal(b[8:16], root.ID[:]) || len(b) != 48+len(plaintext)+16 {
			t.Fatalf("%d bytes that start with %x", len(b), b[:48])
		}
		info := "ssegw v1 record" + string(root.ID[:]) + string(binary.BigEndian.AppendUint32(nil, 5)) + "rules"
		if got := openDocumented(t, root.Key[:], b[16:48], info, b[48:], b[:48]); string(got) != plaintext {
			t.Errorf("opens to %.40q", got)
		}
		if got, err := OpenRecord(root, "rules", b); err != nil || string(got) != plaintext {
			t.Errorf("OpenRecord: %.40q, %v", got, err)
		}
	}
}

func TestRecordsAreFresh(t *testing.T) {
	t.Parallel()
	root := NewRoot()
	a, b := record(t, root, "rules", []byte("same")), record(t, root, "rules", []byte("same"))
	if bytes.Equal(a[16:48], b[16:48]) || bytes.Equal(a[48:], b[48:]) {
		t.Error("two records of one text share a nonce or a ciphertext")
	}
}

func TestOpenRecordRefuses(t *testing.T) {
	t.Parallel()
	root := NewRoot()
	b := record(t, root, "rules", []byte("text"))
	sameID := Root{ID: root.ID, Key: NewKey()}
	tests := map[string]struct {
		root Root
		name string
		b    []byte
		want error
	}{
		"another name":          {root, "rule", b, ErrNotAuthentic},
		"another key":           {sameID, "rules", b, ErrNotAuthentic},
		"another root":          {NewRoot(), "rules", b, ErrUnknownRoot},
		"empty":                 {root, "rules", nil, ErrMalformed},
		"magic of a root":       {root, "rules", slices.Concat([]byte(rootRecordMagic), b[8:]), ErrMalformed},
		"ends in the root ID":   {root, "rules", b[:12], ErrMalformed},
		"ends in the nonce":     {root, "rules", b[:47], ErrMalformed},
		"no ciphertext":         {root, "rules", b[:48], ErrNotAuthentic},
		"cut":                   {root, "rules", b[:len(b)-1], ErrNotAuthentic},
		"one byte more":         {root, "rules", append(slices.Clone(b), 0), ErrNotAuthentic},
		"root that was not set": {Root{}, "rules", b, ErrParams},
	}
	for name, test := range tests {
		if got, err := OpenRecord(test.root, test.name, test.b); !errors.Is(err, test.want) || got != nil {
			t.Errorf("%s: %q, %v, want %v", name, got, err, test.want)
		}
	}
	if b, err := SealRecord(Root{}, "rules", nil); !errors.Is(err, ErrParams) || b != nil {
		t.Errorf("sealing under no root: %x, %v", b, err)
	}
}

// TestRecordRoot: a record names its root, if it is one.
func TestRecordRoot(t *testing.T) {
	t.Parallel()
	root := NewRoot()
	b := record(t, root, "rules", []byte("text"))
	if id, err := RecordRoot(b); err != nil || id != root.ID {
		t.Errorf("%s, %v", id, err)
	}
	for _, b := range [][]byte{nil, b[:7], b[:15], slices.Concat([]byte(rootRecordMagic), b[8:])} {
		if _, err := RecordRoot(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

// TestRecordEveryBit changes each bit of a record, which must not open.
func TestRecordEveryBit(t *testing.T) {
	t.Parallel()
	root := NewRoot()
	b := record(t, root, "rules", []byte("text"))
	for i := range len(b) * 8 {
		changed := slices.Clone(b)
		changed[i/8] ^= 1 << (i % 8)
		if _, err := OpenRecord(root, "rules", changed); err == nil {
			t.Fatalf("opens with bit %d of byte %d changed", i%8, i/8)
		}
	}
}

// TestRootRecordAsDocumented opens a root using only section 14.1.
func TestRootRecordAsDocumented(t *testing.T) {
	t.Parallel()
	root, dataKey := NewRoot(), NewKey()
	for _, initialised := range []bool{false, true} {
		b := rootRecord(t, root, initialised, dataKey)
		flag := byte(0)
		if initialised {
			flag = 1
		}
		want := slices.Concat([]byte("SSEGWRT1"), root.ID[:], []byte{flag, 6}, []byte("my-key"), []byte{0, 15}, []byte("sealed data key"))
		n := len(want)
		if diff := cmp.Diff(want, b[:n]); diff != "" || len(b) != n+32+48 {
			t.Fatalf("%d bytes; (-want +got):\n%s", len(b), diff)
		}
		got := openDocumented(t, dataKey[:], b[n:n+32], "ssegw v1 root"+string(root.ID[:]), b[n+32:], b[:n+32])
		if !bytes.Equal(got, root.Key[:]) {
			t.Error("another root key")
		}
		r, err := ParseRootRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		if r.ID != root.ID || r.Initialised != initialised || r.KeyName != "my-key" || string(r.SealedDataKey) != "sealed data key" {
			t.Errorf("parsed %+v", r)
		}
		if opened, err := r.Open(dataKey); err != nil || opened != root {
			t.Errorf("Open: %v", err)
		}
	}
}

func TestSealRootRefuses(t *testing.T) {
	t.Parallel()
	root, key := NewRoot(), NewKey()
	long := strings.Repeat("k", 81)
	tests := map[string]struct {
		root    Root
		name    string
		sealed  []byte
		dataKey Key
	}{
		"no root":               {Root{}, "my-key", []byte("s"), key},
		"no data key":           {root, "my-key", []byte("s"), Key{}},
		"no name":               {root, "", []byte("s"), key},
		"long name":             {root, long, []byte("s"), key},
		"name of a path":        {root, "../k", []byte("s"), key},
		"no sealed data key":    {root, "my-key", nil, key},
		"large sealed data key": {root, "my-key", make([]byte, 1025), key},
	}
	for name, test := range tests {
		if b, err := SealRoot(test.root, true, test.name, test.sealed, test.dataKey); !errors.Is(err, ErrParams) || b != nil {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
}

func TestParseRootRecordRefuses(t *testing.T) {
	t.Parallel()
	dataKey := NewKey()
	good := rootRecord(t, NewRoot(), true, dataKey)
	edit := func(at int, with ...byte) []byte { return slices.Concat(good[:at], with, good[at+len(with):]) }
	head, rest := good[:16], good[len(good)-80:]
	tests := map[string][]byte{
		"empty":                 nil,
		"magic of a record":     edit(0, []byte(recordMagic)...),
		"flag of two":           edit(16, 2),
		"name with a space":     edit(18, ' '),
		"empty name":            slices.Concat(head, []byte{1, 0, 0, 1, 's'}, rest),
		"long name":             slices.Concat(head, []byte{1, 81}, bytes.Repeat([]byte{'k'}, 81), []byte{0, 1, 's'}, rest),
		"empty sealed data key": slices.Concat(head, []byte{1, 1, 'k', 0, 0}, rest),
		"large sealed data key": slices.Concat(head, []byte{1, 1, 'k', 4, 1}, make([]byte, 1025), rest),
		"one byte more":         append(slices.Clone(good), 0),
	}
	for n := range good {
		if _, err := ParseRootRecord(good[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	for name, b := range tests {
		if r, err := ParseRootRecord(b); !errors.Is(err, ErrMalformed) || r != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	// The longest name and sealed data key are allowed.
	longest := slices.Concat(head, []byte{1, 80}, bytes.Repeat([]byte{'k'}, 80), []byte{4, 0}, make([]byte, 1024), rest)
	if _, err := ParseRootRecord(longest); err != nil {
		t.Error(err)
	}
}

// TestRootRecordEveryBit changes each bit of a root's record. In particular, a
// store cannot clear the flag that distinguishes a first start from a deleted
// document.
func TestRootRecordEveryBit(t *testing.T) {
	t.Parallel()
	dataKey := NewKey()
	b := rootRecord(t, NewRoot(), true, dataKey)
	for i := range len(b) * 8 {
		changed := slices.Clone(b)
		changed[i/8] ^= 1 << (i % 8)
		r, err := ParseRootRecord(changed)
		if err != nil {
			continue
		}
		if _, err := r.Open(dataKey); !errors.Is(err, ErrNotAuthentic) {
			t.Fatalf("with bit %d of byte %d changed: %v", i%8, i/8, err)
		}
	}
	r, err := ParseRootRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(NewKey()); !errors.Is(err, ErrNotAuthentic) {
		t.Errorf("another data key: %v", err)
	}
	if _, err := r.Open(Key{}); !errors.Is(err, ErrParams) {
		t.Errorf("zero data key: %v", err)
	}
}

// FuzzRootRecord checks that whatever parses encodes to the same bytes and
// opens under no other key.
func FuzzRootRecord(f *testing.F) {
	root, dataKey := NewRoot(), NewKey()
	f.Add(rootRecord(f, root, false, dataKey))
	f.Add(rootRecord(f, root, true, dataKey))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRootRecord(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if got := append([]byte(r.encode()), r.sealed...); !bytes.Equal(got, b) {
			t.Fatalf("%x encodes to %x", b, got)
		}
		if _, err := r.Open(Key{1}); !errors.Is(err, ErrNotAuthentic) {
			t.Fatalf("opens: %v", err)
		}
	})
}

// FuzzRecord checks that no input opens or makes the reader panic.
func FuzzRecord(f *testing.F) {
	root := NewRoot()
	f.Add(record(f, root, "rules", []byte("text")), "rules")
	f.Add([]byte(recordMagic), "")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		_, err := OpenRecord(Root{ID: root.ID, Key: Key{1}}, name, b)
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownRoot) && !errors.Is(err, ErrNotAuthentic) {
			t.Fatal(err)
		}
	})
}
