package kms_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"ssegw/kms"
)

func TestSecretDoesNotPrint(t *testing.T) {
	t.Parallel()
	var s kms.Secret
	copy(s[:], "0123456789abcdef0123456789abcdef")
	dk := kms.DataKey{KeyName: "k", Plaintext: s, Sealed: []byte("sealed")}
	var texts []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%T %v"} {
		for _, v := range []any{s, &s, dk, &dk, []kms.Secret{s}, map[string]kms.Secret{"k": s}} {
			if strings.HasPrefix(verb, "%T") {
				texts = append(texts, fmt.Sprintf(verb, v, v))
			} else {
				texts = append(texts, fmt.Sprintf(verb, v))
			}
		}
	}
	texts = append(texts, s.String(), s.GoString(), fmt.Sprint(s), fmt.Sprintln(dk))
	for _, v := range []any{s, dk} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
		entry, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{}).EncodeEntry(zapcore.Entry{}, []zap.Field{zap.Any("v", v)})
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, entry.String())
	}
	for _, text := range texts {
		for _, leak := range []string{"0123456789", "48 49 50", "0x30", hex.EncodeToString(s[:4]), "MDEyMzQ1"} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(leak)) {
				t.Errorf("a secret shows: %s", text)
			}
		}
		if !strings.Contains(text, "[secret]") {
			t.Errorf("no [secret] in %s", text)
		}
	}
}

func TestSecretWipe(t *testing.T) {
	t.Parallel()
	var s kms.Secret
	copy(s[:], "0123456789abcdef0123456789abcdef")
	s.Wipe()
	if s != (kms.Secret{}) {
		t.Error("not wiped")
	}
}

func TestConfigDoesNotPrintSecrets(t *testing.T) {
	t.Parallel()
	c := kms.Config{Endpoints: []string{"https://kes:7373"}, APIKey: "kes:v1:hunter2", KeyPassword: "hunter2"}
	var texts []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c), fmt.Sprintf(verb, struct{ C kms.Config }{c}))
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	texts = slices.Concat(texts, []string{string(b), c.String(), c.GoString()})
	for _, text := range texts {
		if strings.Contains(text, "hunter2") || strings.Contains(text, hex.EncodeToString([]byte("hunter2"))) {
			t.Errorf("a secret shows: %s", text)
		}
		if !strings.Contains(text, "https://kes:7373") {
			t.Errorf("no endpoint in %s", text)
		}
	}
}
