package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"ssegw/e2e/stack"
)

// Some of versitygw's tests make users at the store under test. They run the
// command versitygw, which they expect in their directory. The gateway has no
// such users: its operator gives the store's users credentials of the gateway.
// This program does the same when it runs as the command in the directory of
// tests that go through the gateway.

const (
	adminCommand    = "versitygw"  // the command that the tests run
	adminSettings   = "admin.json" // next to the command
	credentialsFile = "credentials.json"

	// userTimeout limits the wait until the gateway has reloaded its
	// credentials.
	userTimeout = 30 * time.Second
)

// admin holds what the command needs to know.
type admin struct {
	Command     string // the real command
	Store       string // endpoint of the store
	Gateway     string // endpoint of the gateway
	Credentials string // credentials file of the gateway
}

// credentials is a gateway's credentials file.
type credentials struct {
	Credentials []credential `json:"credentials"`
}

type credential struct {
	AccessKey         string `json:"access_key"`
	SecretKey         string `json:"secret_key"`
	UpstreamAccessKey string `json:"upstream_access_key"`
	UpstreamSecretKey string `json:"upstream_secret_key"`
}

// install installs the command in a directory.
func (a admin) install(dir string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return errors.Join(writeJSON(filepath.Join(dir, adminSettings), a), os.Symlink(program, filepath.Join(dir, adminCommand)))
}

// runAdmin is the command. It runs the store's command and adds a credential
// for each new user.
func runAdmin(ctx context.Context, args []string) error {
	var a admin
	if err := readJSON(adminSettings, &a); err != nil {
		return err
	}
	args = slices.Clone(args)
	if i := slices.Index(args, "-er"); i >= 0 && i+1 < len(args) {
		args[i+1] = a.Store
	}
	cmd := exec.CommandContext(ctx, a.Command, args...) //nolint:gosec // arguments of the tests
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	i := slices.Index(args, "create-user")
	if i < 0 {
		return nil
	}
	user := args[i+1:] // -a ACCESS -s SECRET -r ROLE
	if len(user) < 4 || user[0] != "-a" || user[2] != "-s" {
		return fmt.Errorf("create-user %q: unknown arguments", user)
	}
	return a.add(ctx, user[1], user[3])
}

// add gives a user of the store a credential and waits until the gateway knows
// it.
func (a admin) add(ctx context.Context, access, secret string) error {
	lock, err := os.OpenFile(a.Credentials+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // this also unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	var all credentials
	if err := readJSON(a.Credentials, &all); err != nil {
		return err
	}
	all.Credentials = append(all.Credentials, credential{access, secret, access, secret})
	if err := writeJSON(a.Credentials+".new", all); err != nil {
		return err
	}
	if err := os.Rename(a.Credentials+".new", a.Credentials); err != nil {
		return err
	}
	_ = syscall.Flock(int(lock.Fd()), syscall.LOCK_UN)
	return a.await(ctx, access, secret)
}

// await waits until the gateway knows a credential.
func (a admin) await(ctx context.Context, access, secret string) error {
	ctx, cancel := context.WithTimeout(ctx, userTimeout)
	defer cancel()
	client := s3.New(stack.SDKOptions(a.Gateway, access, secret))
	for {
		_, err := client.ListBuckets(ctx, &s3.ListBucketsInput{})
		var refused smithy.APIError
		if err == nil || errors.As(err, &refused) && refused.ErrorCode() != "InvalidAccessKeyId" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the gateway does not know %s: %w", access, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func readJSON(path string, to any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, to)
}

func writeJSON(path string, from any) error {
	content, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}
