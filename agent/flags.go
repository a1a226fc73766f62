package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
)

const help = `vitals-agent reads the vital signs of this machine on a clock and writes them
to InfluxDB, or to a vitals-relay, as Telegraf would.

Usage:
  vitals-agent [--config FILE]                  run
  vitals-agent --test [--input-filter cpu:ram]  gather once, print the lines, send nothing
  vitals-agent --once                           gather once, send, end
  vitals-agent config check [--config FILE]     say what is wrong with the node file; starts
                                                drop-in collectors to check their options
  vitals-agent status [--json]                  how the running agent is doing
  vitals-agent version

What to run:
  --config FILE          the node file; without it $VITALS_CONFIG, else /etc/vitals/node.toml
  --input-filter  A:B    only the inputs of these names
  --output-filter A:B    only the outputs of these names

How:
  --test                 exit code 1 if a collector fails
  --once                 exit code 1 if a collector fails or lines could not be sent; those are lost,
                         for the buffer on disk belongs to the agent that runs
  --debug                log more
  --quiet                log errors only
  --version, --help      a flag may be written with one dash, as Telegraf's

Examples:
  vitals-agent --config node.toml --test --input-filter temperature
  vitals-agent --config node.toml --debug
  vitals-agent status

Signals:
  SIGTERM, SIGINT        send what is gathered, keep the rest in the buffer, end
`

// flags are the command line.
type flags struct {
	command       string // empty: run; "status", "version", "config check", "help"
	config        string
	inputFilter   []string
	outputFilter  []string
	test, once    bool
	debug, quiet  bool
	json, version bool
}

// commands are the words that may stand beside the flags.
var commands = []string{"status", "version", "config check", "help", "run"}

// parseFlags reads flags and words in any order.
func parseFlags(args []string) (*flags, error) {
	var f flags
	var inputs, outputs string
	set := flag.NewFlagSet("vitals-agent", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&f.config, "config", "", "")
	set.StringVar(&inputs, "input-filter", "", "")
	set.StringVar(&outputs, "output-filter", "", "")
	set.BoolVar(&f.test, "test", false, "")
	set.BoolVar(&f.once, "once", false, "")
	set.BoolVar(&f.debug, "debug", false, "")
	set.BoolVar(&f.quiet, "quiet", false, "")
	set.BoolVar(&f.json, "json", false, "")
	set.BoolVar(&f.version, "version", false, "")
	var words []string
	for len(args) > 0 {
		if err := set.Parse(args); err != nil {
			return nil, flagError(set, err)
		}
		if args = set.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	f.inputFilter, f.outputFilter = filter(inputs), filter(outputs)
	f.command = strings.Join(words, " ")
	return &f, f.settle()
}

// settle checks what was asked for together.
func (f *flags) settle() error {
	switch {
	case f.command != "" && !slices.Contains(commands, f.command):
		if near := nodefile.Nearest(f.command, commands); near != "" {
			return fmt.Errorf("there is no command %q; did you mean %q? See vitals-agent --help", f.command, near)
		}
		return fmt.Errorf("there is no command %q; see vitals-agent --help", f.command)
	case f.test && f.once:
		return fmt.Errorf("--test and --once exclude each other: one sends nothing, the other does")
	case f.version:
		f.command = "version"
	case f.command == "run":
		f.command = ""
	}
	return nil
}

// filter splits Telegraf's a:b:c.
func filter(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ':' })
}

// flagError adds to an unknown flag what was probably meant.
func flagError(set *flag.FlagSet, err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return err
	}
	name = strings.TrimPrefix(name, "-")
	if reason := telegrafFlags[name]; reason != "" {
		return fmt.Errorf("--%s: %s", name, reason)
	}
	var known []string
	set.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if near := nodefile.Nearest(name, known); near != "" {
		return fmt.Errorf("there is no flag --%s; did you mean --%s? See vitals-agent --help", name, near)
	}
	return fmt.Errorf("there is no flag --%s; see vitals-agent --help", name)
}

// telegrafFlags are flags of Telegraf's that are not there, and what to do.
var telegrafFlags = map[string]string{
	"config-directory": "this version reads one node file; put everything into that",
	"watch-config":     "this version does not watch its node file; restart it after a change",
	"test-wait":        "--test gathers once and ends; it needs no time to wait",
	"pidfile":          "vitals-agent writes no pid file; its service manager knows its process",
	"select":           "this version knows no labels; use --input-filter",
	"sample-config":    "see config.example.toml, and the README of each collector",
	"usage":            "see the README of each collector",
	"plugin-directory": "set plugin_directory in the [agent] table",
}
