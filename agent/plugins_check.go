package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/conformance"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/internal/nodefile"
)

const checkHelp = `Starts FILE, the program of a collector in any language, and drives it through the
contract of plugins/proto: handshake, options right and wrong, readings, instances
beside each other, calls given up, shutdown, the end of its agent. One line for each
item; for what fails, what the contract asks for. Exit code 1 if anything fails.

  --config FILE    try the [[inputs.*]] tables of this file, instead of its samples
  --json           the same for programs
  --force          as root, run a file that the agent would not run; its limits stay

  vitals-agent plugins check ./vitals-plugin-load
  vitals-agent plugins check cpu
`

// checkPlugin drives a program through the contract and prints what fails.
func checkPlugin(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	c, err := findCollector(f, f.args[0])
	if err != nil {
		return err
	}
	c.warn(stderr)
	tables, err := inputTables(f.sources)
	if err != nil {
		return err
	}
	dir, remove, err := socketDirectory()
	if err != nil {
		return err
	}
	defer remove()
	results := report{out: stdout, quiet: f.json}
	results.good = conformance.Run(ctx, conformance.Config{
		Argv: c.argv(), ByHand: c.byHand(), Env: collect.BareEnvironment(os.Environ()), Sockets: dir, Only: c.builtin, Tables: tables,
		BuiltIn: func(name string) bool { _, ok := builtinCollector(name); return ok },
		AsAgent: func(ctx context.Context) (func(), error) {
			p, err := c.start(ctx, dir, slog.New(slog.DiscardHandler))
			if err != nil {
				return nil, err
			}
			return func() { p.End(program.EndTimeout) }, nil
		},
	}, results.add)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return results.end(f.json)
}

// inputTables reads the [[inputs.*]] tables of the files; none if none is named.
func inputTables(from config.Sources) ([]*nodefile.Section, error) {
	files, err := nodefile.LoadAll(nil, from.Paths()...)
	if err != nil {
		return nil, err
	}
	return files.Plugins("inputs")
}

// report prints results as they come, or keeps them to print as JSON.
type report struct {
	out    io.Writer
	quiet  bool
	all    []conformance.Result
	good   bool
	counts [3]int // ok, warnings, failures
}

func (r *report) add(result conformance.Result) {
	r.all = append(r.all, result)
	i := map[conformance.Status]int{conformance.OK: 0, conformance.Warn: 1, conformance.Fail: 2}[result.Status]
	r.counts[i]++
	if r.quiet {
		return
	}
	line := func(status conformance.Status, text string) {
		fmt.Fprintln(r.out, shownLines(strings.TrimRight(fmt.Sprintf("%-4s  %-22s%s", status, result.Item, text), " ")))
	}
	for _, text := range result.Fails {
		line(conformance.Fail, text)
	}
	for _, text := range result.Warnings {
		line(conformance.Warn, text)
	}
	switch {
	case result.Status == conformance.Fail && result.Contract != "":
		fmt.Fprintf(r.out, "      the contract: %s\n", result.Contract)
	case result.Status == conformance.OK:
		line(conformance.OK, result.Note)
	}
}

// end prints the summary, and fails if an item has.
func (r *report) end(asJSON bool) error {
	if asJSON {
		if err := writeJSON(r.out, r.all); err != nil {
			return err
		}
	} else {
		// What cannot be printed now could not before.
		_, err := fmt.Fprintf(r.out, "\n%d ok, %s, %d failed\n", r.counts[0], count(r.counts[1], "warning"), r.counts[2])
		if err != nil {
			return err
		}
	}
	if !r.good {
		return errQuiet
	}
	return nil
}
