// Command demo shows the gateway at work on this machine. It builds and starts
// KES, versitygw (the S3 store) and ssegw on loopback with fresh keys. It
// stores one object through the gateway, prints what the client and the store
// see of it, and runs until it is interrupted.
//
// Usage:
//
//	demo [-once]
//
// With -once it exits after the round trip. The exit code is 0 only if the
// object came back whole and the store holds no plaintext of it.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"ssegw/e2e/stack"
)

func main() {
	once := flag.Bool("once", false, "end after the round trip")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *once); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

// run runs the demo in a temporary directory and removes it afterwards.
func run(ctx context.Context, once bool) (err error) {
	dir, err := os.MkdirTemp("", "ssegw-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := stack.New(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	d, err := start(ctx, s)
	if err != nil {
		return err
	}
	if err := d.show(ctx); err != nil {
		return err
	}
	if err := d.printTry(ctx); err != nil {
		return err
	}
	if once {
		return nil
	}
	fmt.Println("\nEverything runs until you press Ctrl-C; then it is deleted.")
	<-ctx.Done()
	fmt.Println("\nStopped.")
	return nil
}

// demo holds the running programs.
type demo struct {
	kes     *stack.KES
	store   *stack.Store
	gateway *stack.Gateway
	program string // path of ssegw
}

// start builds and starts the programs and prints how long that took.
func start(ctx context.Context, s *stack.Stack) (*demo, error) {
	begin := time.Now()
	fmt.Println("Building KES, versitygw and ssegw (minutes the first time, seconds later) ...")
	if err := s.Tools().Build(ctx, stack.ToolVersitygw, stack.ToolKES, stack.ToolGateway); err != nil {
		return nil, err
	}
	var d demo
	var err error
	if d.kes, err = s.StartKES(ctx, stack.KESOptions{}); err != nil {
		return nil, err
	}
	if d.store, err = s.StartVersitygw(ctx); err != nil {
		return nil, err
	}
	d.gateway, err = s.StartGateway(ctx, stack.GatewayOptions{
		KES: []*stack.KES{d.kes}, Upstream: d.store, KeyName: keyName,
	})
	if err != nil {
		return nil, err
	}
	fmt.Printf("Up and healthy after %.1f s:\n\n", time.Since(begin).Seconds())
	fmt.Printf("  you  ->  ssegw %s  ->  versitygw %s\n", d.gateway.Endpoint, d.store.Endpoint)
	fmt.Printf("             |\n             +-- keys from KES %s\n", d.kes.Endpoint)
	d.program = s.Tools().Path(stack.ToolGateway)
	return &d, nil
}

// printTry prints commands for trying the gateway by hand, and a link to the
// console.
func (d *demo) printTry(ctx context.Context) error {
	g := d.gateway
	link := exec.CommandContext(ctx, d.program, "console")
	for name, value := range g.Env {
		link.Env = append(link.Env, name+"="+value)
	}
	url, err := link.Output()
	if err != nil {
		return fmt.Errorf("a link to the console: %w", err)
	}
	fmt.Printf("\nTry it:\n\n")
	fmt.Printf("  endpoint    %s   (store, ciphertext only: %s)\n", g.Endpoint, d.store.Endpoint)
	fmt.Printf("  access key  %s\n  secret key  %s\n  region      %s\n\n", g.AccessKey, g.SecretKey, stack.Region)
	fmt.Printf("  export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s AWS_REGION=%s\n",
		g.AccessKey, g.SecretKey, stack.Region)
	fmt.Printf("  aws --endpoint-url %s s3 cp README.md s3://%s/\n\n", g.Endpoint, bucket)
	fmt.Printf("  mc alias set demo %s %s %s && mc stat demo/%s/%s\n\n",
		g.Endpoint, g.AccessKey, g.SecretKey, bucket, object)
	fmt.Printf("  curl --aws-sigv4 aws:amz:%s:s3 --user %s:%s -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' %s/%s/%s\n",
		stack.Region, g.AccessKey, g.SecretKey, g.Endpoint, bucket, object)
	fmt.Printf("\nThe console, with a link that signs in once:\n\n  %s\n", bytes.TrimSpace(url))
	return nil
}
