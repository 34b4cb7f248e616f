// Command bench measures what the gateway costs, and what becomes of it under
// overload. It starts KES, a store, the gateway and bare reverse proxies as
// separate processes, for http and for https. In one run it sends requests in
// turns: directly to the store, through the bare proxies, one of which encrypts
// with sio, and through the gateway. It prints tables in Markdown.
//
// Usage:
//
//	bench [-what LIST] [-store discard|versitygw|minio] [-rounds N] [-quick]
//	      [-update] [-profile DIR] [-set NAME=VALUE ...]
//	      [-gateway URL [-gateway-ca FILE] [-gateway-pid PID]]
//	bench -what jobs|console -store minio|versitygw [-rounds N]
//
// -what lists what is measured; see [measurements]. All of it, except jobs and
// console, is the default and takes about 20 minutes. -quick measures only the
// base points of cost, in less than two minutes.
//
// The store "discard" is part of this program. It keeps only what the reads
// need, so that the cost of a real store does not hide the gateway's. Client
// and store are cheap but not free: with few cores they compete with the
// gateway, so the CPU columns mean more than the throughput.
//
// With -gateway, a second gateway is measured beside ours. It has its own store.
// Its credentials are in BENCH_GATEWAY_ACCESS_KEY and BENCH_GATEWAY_SECRET_KEY.
// The benchmark makes buckets there and leaves them behind. CPU time and memory
// are known only if its process is given.
//
// With -update, the tables and plots replace those in docs/PERFORMANCE.md. With
// -profile, profiles of the gateway are written to DIR. The exit code is 1 if
// something failed, an object came back changed, or a limit was exceeded.
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
	what     string
	store    string
	rounds   int
	quick    bool
	update   bool
	profile  string            // folder for profiles; "" for none
	settings map[string]string // further settings of the gateway
	other    login             // of the second gateway; no endpoint: there is none
	otherPID int               // its process; 0: not known
}

// measurements are what -what can list, in the order of a full run.
var measurements = []struct {
	name    string
	alone   bool // only if it is listed
	measure func(ctx context.Context, r *rig) error
}{
	{"cost", false, func(ctx context.Context, r *rig) error { return r.measureCost(ctx) }},
	{"memory", false, overHTTP((*side).measureMemory)},
	{"burst", false, func(ctx context.Context, r *rig) error { return r.measureBursts(ctx) }},
	{"overload", false, overHTTP((*side).measureOverload)},
	{"held", false, func(ctx context.Context, r *rig) error { return r.measureHeld(ctx) }},
	{"keys", false, func(ctx context.Context, r *rig) error { return r.measureKeys(ctx) }},
	{"jobs", true, overHTTP((*side).measureJobs)},
	{"console", true, overHTTP((*side).measureConsole)},
}

// overHTTP returns a measurement on the side of http.
func overHTTP(measure func(*side, context.Context) error) func(context.Context, *rig) error {
	return func(ctx context.Context, r *rig) error {
		s, err := r.side(ctx, false)
		if err != nil {
			return err
		}
		return measure(s, ctx)
	}
}

func main() {
	var o options
	flag.StringVar(&o.what, "what", "", "comma-separated measurements: "+names()+"; all but the last two if empty")
	flag.StringVar(&o.store, "store", storeDiscard, "the store: discard, versitygw or minio")
	flag.IntVar(&o.rounds, "rounds", 5, "measured rounds")
	flag.BoolVar(&o.quick, "quick", false, "only the base points of cost, two short rounds: less than two minutes")
	flag.BoolVar(&o.update, "update", false, "write the tables and plots into docs/PERFORMANCE.md")
	flag.StringVar(&o.profile, "profile", "", "write profiles of the gateway to this folder")
	flag.Func("set", "a setting of the gateway, NAME=VALUE; may be repeated", o.set)
	flag.StringVar(&o.other.endpoint, "gateway", "", "URL of a second gateway to measure beside ours")
	flag.StringVar(&o.other.caFile, "gateway-ca", "", "file with the certificates to trust it by")
	flag.IntVar(&o.otherPID, "gateway-pid", 0, "its process on this machine, for CPU time and memory")
	o.other.accessKey, o.other.secretKey = os.Getenv("BENCH_GATEWAY_ACCESS_KEY"), os.Getenv("BENCH_GATEWAY_SECRET_KEY")
	var bare bareOptions // how the program starts itself
	flag.StringVar(&bare.target, "bare", "", "be the bare proxy to this URL")
	flag.BoolVar(&bare.seal, "bare-seal", false, "encrypt and decrypt bodies with sio")
	flag.StringVar(&bare.cert, "bare-cert", "", "file with a certificate to serve https with")
	flag.StringVar(&bare.key, "bare-key", "", "file with its key")
	flag.StringVar(&bare.ca, "bare-ca", "", "file with the certificates to trust the store by")
	flag.Parse()

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

// set adds a setting of the gateway.
func (o *options) set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("%w: a setting is NAME=VALUE", errOptions)
	}
	if o.settings == nil {
		o.settings = make(map[string]string)
	}
	o.settings[name] = value
	return nil
}

// names lists the measurements.
func names() string {
	var out []string
	for _, m := range measurements {
		out = append(out, m.name)
	}
	return strings.Join(out, ", ")
}

var errOptions = errors.New("options")

// check completes the options.
func (o *options) check() error {
	if o.quick {
		o.rounds = 2
		if o.what == "" {
			o.what = "cost"
		}
	}
	known := "," + strings.ReplaceAll(names(), " ", "") + ","
	for _, name := range strings.Split(o.what, ",") {
		if name != "" && !strings.Contains(known, ","+name+",") {
			return fmt.Errorf("%w: -what %s: there are %s", errOptions, name, names())
		}
	}
	switch {
	case o.rounds < 1:
		return fmt.Errorf("%w: -rounds must be at least 1", errOptions)
	case o.update && o.quick:
		return fmt.Errorf("%w: -quick is too short for -update", errOptions)
	case o.other.endpoint != "" && o.other.accessKey == "":
		return fmt.Errorf("%w: -gateway needs BENCH_GATEWAY_ACCESS_KEY and BENCH_GATEWAY_SECRET_KEY", errOptions)
	}
	return nil
}

// wants reports whether -what lists a measurement.
func (o options) wants(name string, alone bool) bool {
	if o.what == "" {
		return !alone
	}
	return strings.Contains(","+o.what+",", ","+name+",")
}

// run measures in a temporary directory and removes it afterwards. A
// measurement that fails does not end the run.
func run(ctx context.Context, o options) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ssegw-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o750); err != nil {
			return err
		}
	}
	rig, err := newRig(ctx, dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rig.Close()) }()

	book := newBook(os.Stdout)
	rig.out = book
	var missed []error
	for _, m := range measurements {
		if !o.wants(m.name, m.alone) {
			continue
		}
		book.open(m.name)
		printHead(book, o)
		err := m.measure(ctx, rig)
		if err == nil {
			continue
		}
		missed = append(missed, fmt.Errorf("%s: %w", m.name, err))
		if !errors.Is(err, errLimit) {
			fmt.Fprintf(os.Stderr, "%s%s failed: %v\n", rig.stack.Logs(4<<10), m.name, err)
			book.drop(m.name)
		}
		if ctx.Err() != nil {
			return errors.Join(missed...)
		}
	}
	if o.update {
		if err := book.update(rig.stack.Tools().Root(), rig.results); err != nil {
			return err
		}
	}
	return errors.Join(missed...)
}

// errLimit means that a measured figure exceeds its limit.
var errLimit = errors.New("limit exceeded")
