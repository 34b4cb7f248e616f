package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"credentials": [
		{"access_key": "app", "secret_key": "app-secret", "buckets": ["logs", "app-*"], "access": "read", "kms_keys": ["app-*"]},
		{"access_key": "all", "secret_key": "all-secret", "upstream_access_key": "up", "upstream_secret_key": "up-secret"}
	]}`)
	want := []Credential{
		{AccessKey: "app", SecretKey: NewSecret("app-secret"), Buckets: []string{"logs", "app-*"}, Access: AccessRead, KMSKeys: []string{"app-*"}},
		{AccessKey: "all", SecretKey: NewSecret("all-secret"), UpstreamAccessKey: "up", UpstreamSecretKey: NewSecret("up-secret"), Access: AccessReadWrite},
	}
	got, err := ReadCredentials(path, "root")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	for text, says := range map[string]string{
		``:                       "not a JSON object",
		`hush`:                   "not JSON at byte 1",
		`[]`:                     "it must not be of type array",
		`{"credentials": []} {}`: "text follows",
		`{"credential": []}`:     `unknown field "credential"`,
		`{"credentials": [{"access_key": "app", "secret_key": "hush-hush", "bucket": "x"}]}`:                                    `unknown field "bucket"`,
		`{"credentials": [{"access_key": "app", "secret_key": 7}]}`:                                                             "must not be of type number",
		`{"credentials": [{"access_key": "ap", "secret_key": "hush-hush"}]}`:                                                    "credential 1: access_key must have at least 3",
		`{"credentials": [{"access_key": "a/b", "secret_key": "hush-hush"}]}`:                                                   "letters, digits and signs",
		`{"credentials": [{"access_key": "app", "secret_key": "hush"}]}`:                                                        "at least 8",
		`{"credentials": [{"access_key": "app"}]}`:                                                                              "at least 8",
		`{"credentials": [{"access_key": "minioadmin", "secret_key": "minioadmin"}]}`:                                           "not be the same",
		`{"credentials": [{"access_key": "app", "secret_key": "minioadmin"}]}`:                                                  "well-known",
		`{"credentials": [{"access_key": "app", "secret_key": "hush-hush\n"}]}`:                                                 "line breaks",
		`{"credentials": [{"access_key": "app", "secret_key": "hush-hush", "access": "all"}]}`:                                  "access must be",
		`{"credentials": [{"access_key": "app", "secret_key": "hush-hush", "buckets": []}]}`:                                    "buckets must not be empty",
		`{"credentials": [{"access_key": "app", "secret_key": "hush-hush", "buckets": ["a*b"]}]}`:                               "buckets must be names",
		`{"credentials": [{"access_key": "app", "secret_key": "hush-hush", "kms_keys": ["my.key"]}]}`:                           "kms_keys must be names",
		`{"credentials": [{"access_key": "app", "secret_key": "hush-hush", "upstream_access_key": "up"}]}`:                      "go together",
		`{"credentials": [{"access_key": "root", "secret_key": "hush-hush"}]}`:                                                  "another credential",
		`{"credentials": [{"access_key": "app", "secret_key": "hush-hush"}, {"access_key": "app", "secret_key": "hush-hash"}]}`: "credential 2: access_key is already used",
	} {
		write(text)
		_, err := ReadCredentials(path, "root")
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: tells the secret: %v", text, err)
		}
		if _, err := Load(with("SSEGW_CREDENTIALS_FILE="+path, "SSEGW_ACCESS_KEY=root")); err == nil || !strings.Contains(err.Error(), "SSEGW_CREDENTIALS_FILE: "+path) {
			t.Errorf("%s: Load: %v", text, err)
		}
	}
	if _, err := ReadCredentials(path+".none", "root"); err == nil {
		t.Error("reads a file that is not there")
	}
}
