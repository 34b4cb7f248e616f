package sealer

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	p := params(10)
	p.Trailer = true
	o := seal(t, p, AES256GCM)
	key := Key([]byte("canary: this is a secret of ours"))
	o.key.key, o.params.DataKey, o.params.Root.Key = keep(key), key, key
	facts := &Facts{trailerKey: keep(key)}
	leaks := []string{"canary", fmt.Sprintf("%x", "canary"), fmt.Sprintf("%X", "canary"), "99 97 110", "0x63, 0x61", `"Y2FuYXJ5`}

	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{
		o.key, *o.key, key, &key, o.params, &o.params, o.params.Root, facts, *facts,
		[]Key{key}, map[string]Key{"k": key}, map[Key]int{key: 1}, struct{ K *ObjectKey }{o.key},
		struct{ k *ObjectKey }{o.key}, struct{ k ObjectKey }{*o.key}, struct{ f *Facts }{facts}, struct{ f Facts }{*facts},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o"} {
			fmt.Fprintf(&out, verb, v)
		}
		fmt.Fprint(&out, errors.New(fmt.Sprint(v)))
		log.Info("value", "v", v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
		out.Write(b)
	}
	for _, leak := range leaks {
		if i := strings.Index(out.String(), leak); i >= 0 {
			t.Errorf("%q printed in %q", leak, out.String()[max(0, i-60):i+40])
		}
	}
	if got := fmt.Sprint(key, o.key); got != redacted+" "+redacted {
		t.Errorf("printed %q", got)
	}
	for _, v := range []any{o.key, key} {
		if b, err := json.Marshal(v); err != nil || string(b) != `"`+redacted+`"` {
			t.Errorf("%T as JSON: %s, %v", v, b, err)
		}
	}
}

// TestDerivedKeysDiffer checks that each input of a derivation changes the key.
func TestDerivedKeysDiffer(t *testing.T) {
	t.Parallel()
	secret, id := NewKey(), ID(random(16))
	k := &ObjectKey{key: keep(secret), id: id}
	chacha := &ObjectKey{key: keep(secret), id: id, cipher: ChaCha20Poly1305}
	other := &ObjectKey{key: keep(secret), id: ID(random(16))}
	nonce, nonce2 := NewPartNonce(), NewPartNonce()
	salt := [32]byte(random(32))
	object := func(s Scheme, bucket, key string) Key {
		return deriveObjectSecrets(&secret, salt, s, Binding{bucket, key}).sealing
	}
	keys := map[string]Key{
		"secret": secret, "body": k.bodyKey(), "body, cipher": chacha.bodyKey(), "body, ID": other.bodyKey(),
		"part": k.partKey(1, nonce), "part, number": k.partKey(2, nonce), "part, nonce": k.partKey(1, nonce2),
		"part, cipher": chacha.partKey(1, nonce), "part, ID": other.partKey(1, nonce),
		"trailer": k.TrailerKey(), "trailer, ID": other.TrailerKey(),
		"facts":        factsKey(&Root{RootID{1}, secret}, id, nonce),
		"facts, nonce": factsKey(&Root{RootID{1}, secret}, id, nonce2),
		"facts, root":  factsKey(&Root{RootID{2}, secret}, id, nonce),
		"facts, ID":    factsKey(&Root{RootID{1}, secret}, other.id, nonce),
		"object":       object(SSES3, "a", "b/c"), "object, scheme": object(SSEKMS, "a", "b/c"),
		"object, bucket": object(SSES3, "a/b", "c"), "object, key": object(SSES3, "a", "b//c"),
	}
	seen := make(map[Key]string)
	for name, key := range keys {
		if first, ok := seen[key]; ok {
			t.Errorf("%s and %s are one key", first, name)
		}
		seen[key] = name
	}
}

func TestWipedKeyIsRefused(t *testing.T) {
	t.Parallel()
	p := params(10)
	p.Trailer = true
	single, parts := seal(t, p, AES256GCM), sealParts(t, 10)
	single.key.Wipe()
	parts.key.Wipe()
	e, err := Locate(10, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	src := strings.NewReader("0123456789")
	calls := map[string]func() error{
		"SealBody":      func() error { _, err := single.key.SealBody(src, 10); return err },
		"OpenBody":      func() error { _, err := single.key.OpenBody(src, e); return err },
		"SealTrailer":   func() error { _, err := single.key.SealTrailer(nil, 10); return err },
		"SealPart":      func() error { _, err := parts.key.SealPart(1, NewPartNonce(), src, 10); return err },
		"OpenPart":      func() error { _, err := parts.key.OpenPart(1, NewPartNonce(), src, 10, e); return err },
		"SealPartTable": func() error { _, err := sealPartTable(parts.key, nil, parts.table); return err },
		"Reseal":        func() error { _, err := single.header.Reseal(single.key, p); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, ErrParams) {
			t.Errorf("%s: %v, want %v", name, err, ErrParams)
		}
	}
}

func TestFactsWipe(t *testing.T) {
	t.Parallel()
	p := params(10)
	p.Trailer = true
	o := seal(t, p, AES256GCM)
	facts, err := o.header.openFacts(p.Binding, p.Root)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := facts.TrailerKey(); !ok || key != o.key.TrailerKey() {
		t.Error("facts do not hold the trailer key")
	}
	inside := facts.trailerKey()
	facts.Wipe()
	if _, ok := facts.TrailerKey(); ok || !inside.isZero() {
		t.Error("trailer key is still there")
	}
}
