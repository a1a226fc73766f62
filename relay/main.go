// Vitals-relay takes lines as InfluxDB takes them, keeps them safely, brings
// them to every InfluxDB that it is told of, and shows the nodes that wrote
// them.
//
// Its parts: config reads the node file, ingest is the door, auth says who may
// come in, queue keeps what
// came in, deliver brings it away, provision makes databases (influxql is
// their language), fleet knows the nodes, web shows them.
package main

import (
	"context"
	"errors"
	"flag"
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
		os.Exit(1)
	}
}

// errQuiet ends the program with exit code 1 when all is said already.
var errQuiet = errors.New("")

// run does what args ask for and returns when it is done or ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f, err := parseFlags(args)
	switch {
	case errors.Is(err, flag.ErrHelp), err == nil && f.command == "help":
		_, err := io.WriteString(stdout, help)
		return err
	case err != nil:
		return err
	}
	switch f.command {
	case "version":
		_, err := fmt.Fprintf(stdout, "vitals-relay %s\n", version)
		return err
	case "status":
		return showStatus(ctx, stdout, f.json)
	case "nodes":
		return showNodes(ctx, stdout, f.json)
	case "nodes forget":
		return forget(ctx, stdout, "nodes", f.argument)
	case "destinations forget":
		return forget(ctx, stdout, "destinations", f.argument)
	case "token create":
		return createToken(ctx, stdout, f)
	case "token list":
		return listTokens(ctx, stdout, f.json)
	case "token observed":
		return listObserved(ctx, stdout, f.json)
	case "token revoke":
		return revokeToken(ctx, stdout, f.argument)
	case "config check":
		return checkConfig(f, stdout)
	}
	return serve(ctx, f, stderr)
}
