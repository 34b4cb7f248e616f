// Command bench measures what the gateway costs. It starts KES, a store, the
// gateway and bare reverse proxies as separate processes. In one run it puts,
// gets and lists objects in turns: directly, through the bare proxies, one of
// which encrypts with sio, and through the gateway. It prints tables of throughput, latency and the CPU time that the
// process in the middle used. Then it uploads and downloads eight large objects
// in parallel and prints the gateway's peak of resident memory.
//
// Usage:
//
//	bench [-store discard|versitygw|minio] [-rounds N] [-encryption sse-kms|bucket-keys|sse-s3]
//	      [-tls] [-quick] [-memory=false] [-keys=false] [-profile DIR]
//	bench -jobs -store minio|versitygw [-rounds N]
//	bench -console -store minio|versitygw [-rounds N]
//
// The store "discard" is part of this program. It keeps only what the reads
// need, so that the cost of a real store does not hide the gateway's. Client
// and store are cheap but not free: with few cores they compete with the
// gateway, so the CPU columns mean more than the throughput.
//
// Last come data keys per second: the gateway's KES client next to bare clients
// with HTTP/1.1 and HTTP/2, on the same server.
//
// With -jobs, bench measures encrypt, rekey, verify and inventory instead, next
// to what they are compared with.
//
// With -profile, bench writes CPU profiles of the gateway under large PUTs and
// GETs to DIR. The exit code is 1 if something failed, an object came back
// changed, or the memory exceeded its limit.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// options are the command-line options.
type options struct {
	store      string
	what       string
	encryption string
	rounds     int
	memory     bool
	keys       bool
	tls        bool // https on both sides
	quick      bool
	jobs       bool
	console    bool
	profile    string // folder for CPU profiles; "" for none
}

func main() {
	var o options
	flag.StringVar(&o.store, "store", storeDiscard, "the store: discard, versitygw or minio")
	flag.StringVar(&o.what, "what", "all", "what")
	flag.StringVar(&o.encryption, "encryption", "sse-kms", "how the gateway seals: sse-kms, bucket-keys (SSE-KMS with them) or sse-s3")
	flag.IntVar(&o.rounds, "rounds", 5, "measured rounds of direct, bare, gateway")
	flag.BoolVar(&o.memory, "memory", true, "measure memory under 8 x 1 GiB up and down")
	flag.BoolVar(&o.keys, "keys", true, "measure data keys per second")
	flag.BoolVar(&o.tls, "tls", false, "https from clients and to the store, and HTTP/2 to the gateway beside HTTP/1.1")
	flag.BoolVar(&o.quick, "quick", false, "two short rounds, without memory and data keys: less than two minutes")
	flag.BoolVar(&o.console, "console", false, "measure what viewers of the console cost, and nothing else")
	flag.BoolVar(&o.jobs, "jobs", false, "measure jobs on whole buckets, and nothing else")
	flag.StringVar(&o.profile, "profile", "", "write CPU profiles of the gateway to this folder")
	var bare bareOptions // how the program starts itself
	flag.StringVar(&bare.target, "bare", "", "be the bare proxy to this URL")
	flag.BoolVar(&bare.seal, "bare-seal", false, "encrypt and decrypt bodies with sio")
	flag.StringVar(&bare.cert, "bare-cert", "", "file with a certificate to serve https with")
	flag.StringVar(&bare.key, "bare-key", "", "file with its key")
	flag.StringVar(&bare.ca, "bare-ca", "", "file with the certificates to trust the store by")
	flag.Parse()
	if o.quick {
		o.rounds, o.memory, o.keys = 2, false, false
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if bare.target != "" {
		err = serveBare(bare, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run measures in a temporary directory and removes it afterwards.
func run(ctx context.Context, o options) (err error) {
	if o.rounds < 1 {
		return errors.New("-rounds must be at least 1")
	}
	if o.tls && (o.jobs || o.console) {
		return errors.New("-tls does not go with -jobs and -console")
	}
	dir, err := os.MkdirTemp("", "ssegw-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rig, err := newRig(ctx, dir, o)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			fmt.Fprint(os.Stderr, rig.stack.Logs(4<<10))
		}
		err = errors.Join(err, rig.Close())
	}()

	printHead(o)
	for _, what := range strings.Split(o.what, ",") {
		if err := rig.measureWhat(ctx, what); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) measureWhat(ctx context.Context, what string) error {
	if what == "burst" {
		return r.measureBursts(ctx)
	}
	if what == "held" {
		return r.measureHeld(ctx)
	}
	s, err := r.side(ctx, r.options.tls)
	if err != nil {
		return err
	}
	switch what {
	case "overload":
		return s.measureOverload(ctx)
	}
	return errors.New("-what: unknown")
}
