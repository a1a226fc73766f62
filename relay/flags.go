package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
)

const help = `vitals-relay takes lines as InfluxDB takes them (port 8186), keeps them safely,
forwards them to InfluxDB, and shows the nodes that wrote them.

Usage:
  vitals-relay [--config FILE]              run until SIGINT or SIGTERM
  vitals-relay config check [--config FILE] say what is wrong with the node file
  vitals-relay status [--json]              destinations, backlog, counters; exit code 1
                                            if a required destination fails
  vitals-relay nodes [--json]               every node and its vitals
  vitals-relay nodes forget NAME            remove a node until it writes again
  vitals-relay destinations forget NAME     give up a destination that is no longer
                                            configured, with what it has not got
  vitals-relay token create --node NAME     a secret with which a node may write its lines
                                            [--role write|read|admin] [--expires 90d]
  vitals-relay token list [--json]          the tokens, and where each was last used
  vitals-relay token revoke ID              refuse a token from now on
  vitals-relay token observed [--json]      who would be refused, with mode = "observe"
  vitals-relay version

Flags:
  --config FILE   the node file; else $VITALS_CONFIG, else /etc/vitals/node.toml.
                  Without any, the relay keeps what it receives and shows the nodes
  --log-level L   error, warn, info (default) or debug
  --json          status, nodes and tokens as JSON

Examples:
  A relay that forwards to the InfluxDB beside it:

    [relay]
      listen = ":8186"

    [relay.auth]
      mode = "required"

    [[relay.destinations]]
      name = "influxdb"
      url = "http://127.0.0.1:8086"

  It creates the database node_vitals there, and touches no other. To have it
  create none:

    [relay.provision]
      enabled = false

  Write a line and look at it:

    vitals-relay token create --node pi-1
    curl -i 'http://127.0.0.1:8186/write?db=node_vitals' -H "Authorization: Token $TOKEN" \
      --data-binary 'temp,host=pi-1,sensor=cpu_thermal temp=48.3'
    vitals-relay nodes

  The page is at http://127.0.0.1:8186/, the nodes as JSON at /api/nodes.

Signals:
  SIGINT, SIGTERM   answer the writes under way, bring away what can be brought
                    away at once, keep the rest in the queue, end
`

// flags are the command line.
type flags struct {
	command  string // empty: run
	argument string
	config   string
	logLevel string
	json     bool

	node, role, expires string // of a token
}

// commands are the words that may follow the program's name.
var commands = []string{"status", "nodes", "nodes forget", "destinations forget",
	"token create", "token list", "token revoke", "token observed", "config check", "version", "help", "run"}

// parseFlags reads the command line: a command of one or two words, its
// argument, and flags anywhere.
func parseFlags(args []string) (flags, error) {
	var f flags
	var showVersion bool
	set := flag.NewFlagSet("vitals-relay", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&f.config, "config", "", "")
	set.StringVar(&f.logLevel, "log-level", "info", "")
	set.BoolVar(&f.json, "json", false, "")
	set.StringVar(&f.node, "node", "", "")
	set.StringVar(&f.role, "role", "write", "")
	set.StringVar(&f.expires, "expires", "", "")
	set.BoolVar(&showVersion, "version", false, "")
	var words []string
	for rest := args; ; {
		if err := set.Parse(rest); err != nil {
			return f, flagError(set, err)
		}
		if set.NArg() == 0 {
			break
		}
		words, rest = append(words, set.Arg(0)), set.Args()[1:]
	}
	if showVersion {
		words = []string{"version"}
	}
	return f, f.choose(words)
}

// choose finds the command that words begin with.
func (f *flags) choose(words []string) error {
	text := strings.Join(words, " ")
	switch {
	case text == "" || text == "run":
		return nil
	case slices.Contains(commands, text) && !strings.HasSuffix(text, " forget") && text != "token revoke":
		f.command = text
		return nil
	case len(words) == 3 && words[1] == "forget" && (words[0] == "nodes" || words[0] == "destinations"):
		f.command, f.argument = words[0]+" forget", words[2]
		return nil
	case len(words) == 3 && words[0] == "token" && words[1] == "revoke":
		f.command, f.argument = "token revoke", words[2]
		return nil
	case words[0] == "token":
		return fmt.Errorf("write: vitals-relay token create --node NAME, token list, token revoke ID, or token observed")
	case words[0] == "nodes":
		return fmt.Errorf("write: vitals-relay nodes [--json], or vitals-relay nodes forget NAME")
	case words[0] == "destinations":
		return fmt.Errorf("write: vitals-relay destinations forget NAME; the names are in vitals-relay status")
	}
	if near := nodefile.Nearest(text, commands); near != "" {
		return fmt.Errorf("there is no command %q; did you mean %q? See vitals-relay --help", text, near)
	}
	return fmt.Errorf("there is no command %q; see vitals-relay --help", text)
}

// flagError words a mistake in a flag, and adds what was probably meant.
func flagError(set *flag.FlagSet, err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if name, found := strings.CutPrefix(err.Error(), "flag needs an argument: -"); found {
		return fmt.Errorf("--%s needs a value; see vitals-relay --help", strings.TrimPrefix(name, "-"))
	}
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return fmt.Errorf("%w; see vitals-relay --help", err)
	}
	name = strings.TrimPrefix(name, "-")
	var known []string
	set.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if near := nodefile.Nearest(name, known); near != "" {
		return fmt.Errorf("there is no flag --%s; did you mean --%s? See vitals-relay --help", name, near)
	}
	return fmt.Errorf("there is no flag --%s; see vitals-relay --help", name)
}
