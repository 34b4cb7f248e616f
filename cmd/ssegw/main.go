// Command ssegw is an encryption gateway for S3: a streaming reverse proxy that
// seals objects on their way to the store behind it, with data keys from KES.
//
// Usage:
//
//	ssegw                      serve; environment variables configure it
//	ssegw health               exit 0 if the gateway of this environment is alive
//	ssegw check                test everything the gateway needs from KES and the store
//	ssegw inspect BUCKET/KEY   show how an object is sealed, and whether it is authentic
//	ssegw open BUCKET/KEY      open an object in an emergency, without a gateway
//	ssegw encrypt BUCKET       seal objects that are stored in plaintext
//	ssegw rekey BUCKET         seal data keys under another KES key
//	ssegw inventory            count objects by KES key, and tell what needs a key
//	ssegw verify BUCKET        authenticate stored objects
//	ssegw jobs                 list and control the jobs of these commands
//	ssegw rekey --root         make another root, under which new objects and records are sealed
//	ssegw console              print a link that signs in to the console
//	ssegw version              print the version
//
// docs/CONFIGURATION.md lists the environment variables.
//
// Exit status 1 means that the gateway or a check failed, or that an object is
// not authentic. Exit status 2 means that arguments or settings are missing or
// wrong; standard error has one line for each. On SIGTERM and SIGINT the
// gateway finishes requests in flight before it exits.
//
// docs/ARCHITECTURE.md is the map.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit statuses.
const (
	exitFailed = 1 // the gateway or a check failed
	exitUsage  = 2 // wrong arguments or settings
)

// commands lists the sub-commands. Each has its own file.
type commands struct {
	Serve     serveCommand     `cmd:"" default:"1" help:"Run the gateway (the default)."`
	Health    healthCommand    `cmd:"" help:"Ask the gateway of this environment whether it is alive."`
	Check     checkCommand     `cmd:"" help:"Test everything the gateway needs from KES and the store."`
	Inspect   inspectCommand   `cmd:"" help:"Show how an object is sealed, and whether it is authentic."`
	Open      openCommand      `cmd:"" help:"Open an object in an emergency, without a gateway and its state."`
	Encrypt   encryptCommand   `cmd:"" help:"Seal the objects that are stored in plaintext."`
	Rekey     rekeyCommand     `cmd:"" help:"Seal data keys under another KES key."`
	Inventory inventoryCommand `cmd:"" help:"Count objects by KES key, and tell what needs a key."`
	Verify    verifyCommand    `cmd:"" help:"Authenticate stored objects, every byte."`
	Jobs      jobsCommand      `cmd:"" help:"List, show, pause, resume and cancel the jobs of these commands."`
	Console   consoleCommand   `cmd:"" help:"Print a link that signs in to the console."`
	Version   versionCommand   `cmd:"" help:"Print the version."`
}

const description = `An encryption gateway for S3.

Settings come from environment variables, or from a file of them named by
MINIO_CONFIG_ENV_FILE. docs/CONFIGURATION.md lists them.

Exit status 1: the gateway or a check failed, or an object is not authentic.
Exit status 2: arguments or settings are missing or wrong.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ssegw: "+err.Error())
		stop()
		if errors.Is(err, errUsage) {
			os.Exit(exitUsage)
		}
		os.Exit(exitFailed)
	}
}

// run parses the arguments and runs the command they name.
func run(ctx context.Context, args []string, out io.Writer) error {
	parser, err := kong.New(&commands{}, kong.Name("ssegw"), kong.Description(description), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(out, (*io.Writer)(nil)))
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		var names []string
		for _, c := range parser.Model.Children {
			names = append(names, c.Name)
		}
		return fmt.Errorf("%w: %w: ssegw [%s]; see ssegw --help", errUsage, err, strings.Join(names, " | "))
	}
	return parsed.Run()
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, version())
	return err
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return "ssegw " + info.Main.Version
	}
	return "ssegw (devel)"
}
