package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ssegw/proxy"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "credentials.json")
		at := time.Now().Add(-time.Hour)
		write := func(text string) {
			t.Helper()
			at = at.Add(time.Minute) // later on any file system
			temporary := path + ".new"
			if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(temporary, at, at); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(temporary, path); err != nil {
				t.Fatal(err)
			}
		}
		core, logs := observer.New(zap.InfoLevel)
		write(`{"credentials": [{"access_key": "one", "secret_key": "canary-one", "access": "read", "upstream_access_key": "up", "upstream_secret_key": "canary-up"}]}`)
		c, err := openCredentials(path, "root", zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		one, ok := c.find("one")
		if !ok || one.SecretKey != "canary-one" || one.Access != proxy.AccessRead {
			t.Fatalf("%v, %t", one, ok)
		}
		if up, err := one.Upstream.Retrieve(t.Context()); err != nil || up.AccessKeyID != "up" || up.SecretAccessKey != "canary-up" {
			t.Errorf("upstream %s, %v", up.AccessKeyID, err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { c.watch(ctx); close(ended) }()
		logged := func(message string) {
			t.Helper()
			for deadline := time.Now().Add(giveUp); logs.FilterMessage(message).Len() == 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("not logged: %s", message)
				}
			}
		}
		write(`{"credentials": [{"access_key": "two", "secret_key": "canary"}]}`)
		logged("credentials file: reload failed, the last one stays in use")
		if _, ok := c.find("one"); !ok {
			t.Error("a file with a mistake took a credential away")
		}
		write(`{"credentials": [{"access_key": "two", "secret_key": "canary-two"}]}`)
		logged("credentials file changed")
		if _, ok := c.find("one"); ok {
			t.Error("a credential that was taken away works")
		}
		if two, ok := c.find("two"); !ok || two.Upstream != nil {
			t.Errorf("%v, %t", two, ok)
		}
		cancel()
		<-ended
		for _, entry := range logs.All() {
			for _, f := range entry.Context {
				if err, ok := f.Interface.(error); ok && strings.Contains(err.Error(), "canary") {
					t.Errorf("tells a secret: %v", err)
				}
			}
		}
	})
}
