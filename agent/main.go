// Vitals-agent asks collectors for the vital signs of this machine and writes
// them to an InfluxDB-compatible endpoint. It reads Telegraf's configuration.
//
// Its parts: config reads the node file, collect runs the collectors' programs
// and asks them on a clock, output buffers lines and sends them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/builtin"
)

// version is set by the linker.
var version = "dev"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "exec-plugin" {
		fmt.Fprintln(os.Stderr, "vitals-agent:", program.Exec(os.Args[2:])) // it returns only if it fails
		os.Exit(126)
	}
	if len(os.Args) == 2 && os.Args[1] == "plugin" {
		plugins.Serve(builtin.All()...) // the process of the built-in collectors
		return
	}
	keepDescriptors()
	thrift()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		if text := err.Error(); text != "" {
			fmt.Fprintln(os.Stderr, "vitals-agent:", shownLines(text))
		}
		os.Exit(exitCode(err))
	}
}

// exitCode is what scripts go by.
func exitCode(err error) int {
	if _, mistyped := errors.AsType[usageError](err); mistyped {
		return 2
	}
	return 1
}

// usageError is a command line that cannot be understood: exit code 2.
type usageError struct{ error }

// errQuiet ends the program with exit code 1 when all is said already.
var errQuiet = errors.New("")

// run does what args ask for and returns when it is done or ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f, err := parseFlags(args)
	if err != nil {
		return usageError{err}
	}
	if f.help {
		text, err := helpFor(f.args)
		if err != nil {
			return usageError{err}
		}
		_, err = io.WriteString(stdout, text)
		return err
	}
	f.fetcher().ctx = ctx
	c, _, err := find(strings.Fields(f.command))
	if err != nil {
		return err
	}
	return c.run(ctx, f, stdout, stderr)
}
