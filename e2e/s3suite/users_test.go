package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUsers checks that the command makes a user at the store, whatever
// endpoint it is given, adds a credential of the gateway, and waits for it.
func TestUsers(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	tries := 0
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries++
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=user-") || tries%2 > 0 {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("<Error><Code>InvalidAccessKeyId</Code></Error>"))
		}
	}))
	defer gateway.Close()
	command := filepath.Join(dir, "real")
	if err := os.WriteFile(command, []byte("#!/bin/sh\necho \"$@\" >> calls\n"), 0o700); err != nil { //nolint:gosec // a command
		t.Fatal(err)
	}
	a := admin{command, "http://store", gateway.URL, filepath.Join(dir, credentialsFile)}
	if err := writeJSON(a.Credentials, credentials{}); err != nil {
		t.Fatal(err)
	}
	if err := a.install(dir); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"admin -a root -s secret -er http://gateway create-user -a user-1 -s secret-1 -r user",
		"admin --allow-insecure -a root -s secret -er http://gateway create-user -a user-2 -s secret-2 -r admin",
		"admin -a root -s secret -er http://gateway list-buckets",
	} {
		if err := runAdmin(t.Context(), strings.Fields(args)); err != nil {
			t.Error(err)
		}
	}
	if tries != 4 {
		t.Errorf("the gateway was asked %d times", tries)
	}
	var got credentials
	if err := readJSON(a.Credentials, &got); err != nil || len(got.Credentials) != 2 || got.Credentials[1] != (credential{"user-2", "secret-2", "user-2", "secret-2"}) {
		t.Errorf("%+v, %v", got, err)
	}
	calls, err := os.ReadFile("calls")
	if err != nil || strings.Count(string(calls), "-er http://store ") != 3 {
		t.Errorf("%s, %v", calls, err)
	}
}
