// Command ssegw is an encryption gateway for S3: a streaming reverse proxy that
// seals objects on their way to the store behind it, with data keys from KES.
//
// Usage:
//
//	ssegw            serve, as the environment says (README.md lists the variables)
//	ssegw health     exit 0 if the gateway of this environment is alive
//	ssegw version    print the version
//
// A setting that is missing or wrong stops the start with a line on standard
// error and exit status 2. SIGTERM and SIGINT let requests in flight finish.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"ssegw/config"
)

// Exit statuses.
const (
	exitFailed = 1 // the gateway or a check failed
	exitUsage  = 2 // wrong arguments or settings
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ssegw: "+err.Error())
		stop()
		if errors.Is(err, errUsage) {
			os.Exit(exitUsage)
		}
		os.Exit(exitFailed)
	}
}

var errUsage = errors.New("usage")

func run(ctx context.Context, args []string) error {
	command := "serve"
	if len(args) > 0 {
		command = args[0]
	}
	if len(args) > 1 {
		return fmt.Errorf("%w: ssegw [serve | health | version]", errUsage)
	}
	switch command {
	case "serve", "health":
		cfg, err := config.Load(os.Environ())
		if err != nil {
			return fmt.Errorf("%w: %w", errSettings, err)
		}
		if command == "health" {
			return health(ctx, cfg)
		}
		return serve(ctx, cfg)
	case "version":
		fmt.Println(version())
		return nil
	}
	return fmt.Errorf("%w: unknown command %q: ssegw [serve | health | version]", errUsage, command)
}

// errSettings prefixes what config finds.
var errSettings = fmt.Errorf("settings%w", silent{errUsage})

// silent matches an error without printing it.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return "ssegw " + info.Main.Version
	}
	return "ssegw (devel)"
}
