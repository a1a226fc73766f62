package main

import (
	"flag"
	"io"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// What flags say that several commands have.
const (
	configHelp = `  --config FILE     the node file; else $VITALS_CONFIG, else /etc/vitals/node.toml.
                    Without any, the relay keeps what it receives and shows the nodes
`
	jsonHelp = `  --json            what a command prints, as JSON
`
)

// help is what --help prints.
func help() string {
	return `vitals-relay takes lines as InfluxDB takes them (port 8186), keeps them safely,
forwards them to InfluxDB, and shows the nodes that wrote them.

Usage:
` + usages("") + `
Flags:
` + configHelp + `  --log-level error|warn|info|debug
                    how much is logged; info without it
` + jsonHelp + `  --version         which version this is
  --help            what can be typed; after a command, how that one is

Examples:
  Make this machine the primary, and say what to do on the next one:

    sudo vitals-relay init --influx http://127.0.0.1:8086
    sudo vitals-relay invite

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

Exit codes:
  0   done, and nothing is the matter
  1   something is the matter with what was asked for, or it could not be done
  2   the command line cannot be understood

Signals:
  SIGHUP            reload
  SIGINT, SIGTERM   answer the writes under way, bring away what can be brought
                    away at once, keep the rest in the queue, end
`
}

// flags are those of the command line.
type flags struct {
	config   string
	logLevel string
	json     bool

	node, role, expires string // of a token
	target              string // of alerts
	watch, follow       bool
	state               string // of nodes
	cpus, ram           string // that a job needs

	lifetime string // of an invite
	uses     int
	tags     []string
	url      string
	setup    setupFlags
}

// parse reads the command line: a command of one or two words, its arguments,
// and flags anywhere.
func parse(args []string) (subcommand, *call, error) {
	c := new(call)
	var showVersion, showHelp bool
	set := flag.NewFlagSet("vitals-relay", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&c.config, "config", "", "")
	set.StringVar(&c.logLevel, "log-level", "info", "")
	set.BoolVar(&c.json, "json", false, "")
	set.StringVar(&c.node, "node", "", "")
	set.StringVar(&c.role, "role", "", "")
	set.StringVar(&c.expires, "expires", "", "")
	set.StringVar(&c.target, "target", "", "")
	set.BoolVar(&c.watch, "watch", false, "")
	set.BoolVar(&c.follow, "follow", false, "")
	set.StringVar(&c.state, "state", "", "")
	set.StringVar(&c.cpus, "cpus", "", "")
	set.StringVar(&c.ram, "ram", "", "")
	set.StringVar(&c.lifetime, "for", "", "")
	set.IntVar(&c.uses, "uses", 1, "")
	set.Func("tag", "", func(tag string) error { c.tags = append(c.tags, tag); return nil })
	set.StringVar(&c.url, "url", "", "")
	c.setup.define(set)
	set.BoolVar(&showVersion, "version", false, "")
	set.BoolVar(&showHelp, "help", false, "")
	set.BoolVar(&showHelp, "h", false, "")
	var words []string
	for rest := args; ; {
		if err := set.Parse(rest); err != nil {
			return subcommand{}, nil, flagError(set, err)
		}
		if set.NArg() == 0 {
			break
		}
		words, rest = append(words, set.Arg(0)), set.Args()[1:]
	}
	switch {
	case showVersion:
		words = []string{"version"}
	case showHelp:
		words = append([]string{"help"}, words...)
	}
	what, rest, err := find(words)
	if err == nil && what.words != "help" {
		err = foreign(set, what)
	}
	c.arguments = rest
	return what, c, err
}

// foreign is the mistake of a flag that belongs to another command.
func foreign(set *flag.FlagSet, to subcommand) (err error) {
	set.Visit(func(f *flag.Flag) {
		flag := "--" + f.Name
		if slices.Contains([]string{"config", "log-level", "json", "version"}, f.Name) || to.has(flag) {
			return
		}
		var owners []string
		for _, c := range commands() {
			if c.has(flag) {
				owners = append(owners, "vitals-relay "+c.words)
			}
		}
		err = usage("%s belongs to %s", flag, strings.Join(owners, ", "))
	})
	return err
}

// has reports whether a command has a flag.
func (c subcommand) has(flag string) bool { return strings.Contains(c.usage+" "+c.help+c.more, flag) }

// flagError words a mistake in a flag, and adds what was probably meant.
func flagError(set *flag.FlagSet, err error) error {
	if name, found := strings.CutPrefix(err.Error(), "flag needs an argument: -"); found {
		return usage("--%s needs a value; see vitals-relay --help", strings.TrimPrefix(name, "-"))
	}
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return usage("%v; see vitals-relay --help", err)
	}
	name = strings.TrimPrefix(name, "-")
	var known []string
	set.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if near := nodefile.Nearest(name, known); near != "" {
		return usage("there is no flag --%s; did you mean --%s? See vitals-relay --help", name, near)
	}
	return usage("there is no flag --%s; see vitals-relay --help", name)
}
