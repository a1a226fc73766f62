// Vitals-relay takes lines as InfluxDB takes them, keeps them safely, brings
// them to every InfluxDB that it is told of, and shows the nodes that wrote
// them.
//
// Its parts: config reads the node file, ingest is the door, auth says who may
// come in, queue keeps what came in, deliver brings it away, provision makes
// databases (influxql is their language), fleet knows the nodes, alert tells of
// those in trouble, web shows them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		if text := err.Error(); text != "" {
			fmt.Fprintln(os.Stderr, "vitals-relay:", text)
		}
		os.Exit(exitCode(err))
	}
}

// exitCode is what scripts go by.
func exitCode(err error) int {
	var u usageError
	if errors.As(err, &u) {
		return 2
	}
	return 1
}

// errQuiet ends the program with exit code 1 when all is said already.
var errQuiet = errors.New("")

// run does what args ask for and returns when it is done or ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	what, c, err := parse(args)
	if err != nil {
		return err
	}
	c.stdout, c.stderr = stdout, stderr
	return what.run(ctx, c)
}
