package sigv4

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	r, _ := framed(t, modeSigned, 0)
	auth, err := testVerifier().Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := auth.Body(nil)
	if err != nil {
		t.Fatal(err)
	}
	key := auth.chunks.key
	raw := refMAC([]byte("AWS4"+testSecret), "20261123", testRegion, "s3", "aws4_request")
	if key.sign("x") != hex.EncodeToString(refMAC(raw, "x")) {
		t.Fatal("the test does not know the key")
	}
	canaries := []string{testSecret, string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		strings.Trim(fmt.Sprintf("%d", raw[:4]), "[]")}
	values := []any{key, &key, auth, *auth, body, auth.chunks, *auth.chunks, testVerifier(), *testVerifier(), []any{key}}
	for _, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			printed := fmt.Sprintf(verb, value)
			for _, canary := range canaries {
				if strings.Contains(printed, canary) {
					t.Errorf("%s of %T prints a secret: %s", verb, value, printed)
				}
			}
		}
	}
	for _, marshal := range []func() ([]byte, error){key.MarshalText, key.MarshalJSON, func() ([]byte, error) { return json.Marshal(key) }} {
		if text, err := marshal(); err != nil || strings.Trim(string(text), `"`) != redacted {
			t.Errorf("marshalled %s, %v", text, err)
		}
	}
	if key.String() != redacted || key.GoString() != redacted {
		t.Error("String or GoString prints something else")
	}
}
