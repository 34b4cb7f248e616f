package kms_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssegw/kms"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   kms.Context
		want string
	}{
		{"nil", nil, `{}`},
		{"empty", kms.Context{}, `{}`},
		{"sorted", kms.Context{"b": "2", "a": "1", "B": "3"}, `{"B":"3","a":"1","b":"2"}`},
		{"escaped as MinIO does", kms.Context{"a<b": "x", "bkt1": "bkt1/ctx/a b+c/ü.txt", "dept": "hr&me>"},
			`{"a\u003cb":"x","bkt1":"bkt1/ctx/a b+c/ü.txt","dept":"hr\u0026me\u003e"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.in.Canonical()); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestObjectContext(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, bucket, key string
		client            kms.Context
		want              string
		err               error
	}{
		{"no client context", "b", "k", nil, `{"b":"b/k"}`, nil},
		{"client context", "b", "k", kms.Context{"dept": "hr"}, `{"b":"b/k","dept":"hr"}`, nil},
		{"key is not cleaned", "b", "a//b/../c/", nil, `{"b":"b/a//b/../c/"}`, nil},
		{"client overrides", "b", "k", kms.Context{"b": "evil"}, "", kms.ErrContextConflict},
		{"client sends the same entry", "b", "k", kms.Context{"b": "b/k"}, "", kms.ErrContextConflict},
		{"key not UTF-8", "b", "k\xff", nil, "", kms.ErrInvalidContext},
		{"bucket not UTF-8", "b\xff", "k", nil, "", kms.ErrInvalidContext},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := kms.ObjectContext(tt.bucket, tt.key, tt.client)
			if !errors.Is(err, tt.err) {
				t.Fatalf("got error %v, want %v", err, tt.err)
			}
			if err == nil && string(got.Canonical()) != tt.want {
				t.Errorf("got %s, want %s", got.Canonical(), tt.want)
			}
		})
	}
}

func TestObjectContextLeavesTheClientsAlone(t *testing.T) {
	t.Parallel()
	client := kms.Context{"dept": "hr"}
	if _, err := kms.ObjectContext("b", "k", client); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kms.Context{"dept": "hr"}, client); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseContext(t *testing.T) {
	t.Parallel()
	b64 := base64.StdEncoding.EncodeToString
	long := `{"k":"` + strings.Repeat("v", kms.MaxContextLen-8) + `"}`
	tests := []struct {
		name, in, want string // if want is "", the error is ErrInvalidContext
	}{
		{"object", b64([]byte(`{"b":"2", "a":"<1>"}`)), `{"a":"\u003c1\u003e","b":"2"}`},
		{"empty object", b64([]byte(` {} `)), `{}`},
		{"longest", b64([]byte(long)), long},
		{"too long", b64([]byte(long + " ")), ""},
		{"too long when escaped", b64([]byte(`{"k":"` + strings.Repeat("<", 500) + `"}`)), ""},
		{"nothing", "", ""},
		{"not base64", "{}", ""},
		{"URL base64", base64.URLEncoding.EncodeToString([]byte(`{"k":"??>>~~"}`)), ""},
		{"no padding", base64.RawStdEncoding.EncodeToString([]byte(`{"k":"vv"}`)), ""},
		{"padding bits", "e31=", ""},
		{"line break in base64", "e3\n0=", ""},
		{"array", b64([]byte(`["a"]`)), ""},
		{"string", b64([]byte(`"a"`)), ""},
		{"null", b64([]byte(`null`)), ""},
		{"null value", b64([]byte(`{"k":null}`)), ""},
		{"number value", b64([]byte(`{"k":1}`)), ""},
		{"object value", b64([]byte(`{"k":{"a":"b"}}`)), ""},
		{"array value", b64([]byte(`{"k":["a"]}`)), ""},
		{"name twice", b64([]byte(`{"k":"a","k":"b"}`)), ""},
		{"name twice, escaped", b64([]byte(`{"k":"a","\u006b":"b"}`)), ""},
		{"trailing data", b64([]byte(`{"k":"v"}{}`)), ""},
		{"trailing brace", b64([]byte(`{"k":"v"}}`)), ""},
		{"trailing comma", b64([]byte(`{"k":"v",}`)), ""},
		{"truncated", b64([]byte(`{"k":"v"`)), ""},
		{"not UTF-8", b64([]byte("{\"k\":\"\xff\"}")), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, canonical, err := kms.ParseContext(tt.in)
			if tt.want == "" {
				if !errors.Is(err, kms.ErrInvalidContext) {
					t.Fatalf("got %v %s and error %v, want ErrInvalidContext", c, canonical, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(canonical) != tt.want || string(c.Canonical()) != tt.want {
				t.Errorf("got %s and %s, want %s", canonical, c.Canonical(), tt.want)
			}
		})
	}
}

func FuzzParseContext(f *testing.F) {
	f.Add([]byte(`{"a":"b","c":"<d>"}`))
	f.Add([]byte(`{"a":"b","a":"\ud800"}`))
	f.Add([]byte(`{"a":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, canonical, err := kms.ParseContext(base64.StdEncoding.EncodeToString(raw))
		if err != nil {
			if !errors.Is(err, kms.ErrInvalidContext) {
				t.Fatalf("error is not ErrInvalidContext: %v", err)
			}
			return
		}
		var std map[string]string
		if err := json.Unmarshal(raw, &std); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", raw, err)
		}
		if diff := cmp.Diff(kms.Context(std), c); diff != "" {
			t.Errorf("-encoding/json +ours:\n%s", diff)
		}
		_, again, err := kms.ParseContext(base64.StdEncoding.EncodeToString(canonical))
		if err != nil || string(again) != string(canonical) {
			t.Errorf("canonical form %q is not stable: %q, %v", canonical, again, err)
		}
	})
}
