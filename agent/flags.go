package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/nodefile"
)

const help = `vitals-agent reads the vital signs of this machine on a clock and writes them
to InfluxDB, or to a vitals-relay, as Telegraf would.

Usage:
  vitals-agent [--config FILE]                  run
  vitals-agent --test [--input-filter cpu:ram]  gather once, print the lines, send nothing
  vitals-agent --once                           gather once, send, end
  vitals-agent COMMAND [--help]                 one of the commands below
`

const helpEnd = `
What to run:
  --config FILE          the node file; several --config are read as one. Without it $VITALS_CONFIG
                         is read, else $TELEGRAF_CONFIG_PATH, else /etc/vitals/node.toml and
                         what is in /etc/vitals/node.d.
                         A URL is fetched; a copy is kept for when that cannot be
  --config-directory DIR every file in it and below whose name ends in .conf; may be repeated
  --input-filter  A:B    only the inputs of these names
  --output-filter A:B    only the outputs of these names
  --select "a=b;c=d*"    only tables with these labels, and those without any; several: either
  --skip-unknown-plugins leave out tables of plugins that there are not, instead of not starting

How:
  --test                 exit code 1 if a collector fails
  --once                 exit code 1 if a collector fails, or lines were refused or not sent; those
                         are lost, for the buffer on disk belongs to the agent that runs
  --watch-config notify|poll
                         reload the node file when it changes: "notify" is told of changes, "poll"
                         looks every 2 s (for network file systems)
  --config-url-watch-interval D
                         how often a file that is given by its URL is looked at; 0: never
  --watch-interval D     how often "poll" looks
  --test-wait N          as --test, and N seconds more on schedule, for inputs that send events
  --pidfile FILE         write the process number there while running
  --debug                log more
  --quiet                log errors only
  --version              which version this is
  --help                 what can be typed; a flag may be written with one dash, as Telegraf's

Examples:
  vitals-agent --config node.toml --test --input-filter temperature
  vitals-agent --config node.toml --debug
  vitals-agent status

Exit codes:
  0                      done, and nothing is the matter
  1                      something is the matter with what was asked for, or it could not be done
  2                      the command line cannot be understood

Signals:
  SIGTERM, SIGINT        send what is gathered, keep the rest in the buffer, end
  SIGHUP                 read the node file again; only what has changed in it is touched
  SIGUSR1                send everything now
`

// flags are the command line.
type flags struct {
	command string   // its name
	args    []string // what follows it
	help    bool     // show what can be typed, of args if there are any

	sources      config.Sources
	selectors    []config.Selector
	skipUnknown  bool
	inputFilter  []string
	outputFilter []string
	test, once   bool
	debug, quiet bool
	json         bool
	limit        string // of lines that are shown
	rejected     bool   // lines that were refused for good
	to           string // the output that shall send
	remove       bool
	force        bool // do what would be refused

	pin, name, codeFile string // of join
	check, rollback     bool   // of upgrade

	dir, module, vitals string // of plugins new
	watchConfig         string // empty, "notify" or "poll"
	watchInterval       time.Duration
	testWait            int // seconds
	pidFile             string
	sections            []string // of config create

	urlEvery    time.Duration // how often files are looked at that are given by a URL; 0: never
	urlAttempts int
	remote      *remote // nil before fetcher
}

// parseFlags reads flags and words in any order.
func parseFlags(args []string) (*flags, error) {
	var f flags
	var inputs, outputs, sections string
	var showVersion bool
	set := flag.NewFlagSet("vitals-agent", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Func("config", "", appendTo(&f.sources.Files))
	set.Func("config-directory", "", appendTo(&f.sources.Directories))
	set.Func("select", "", func(text string) error {
		selector, err := config.ParseSelector(text)
		f.selectors = append(f.selectors, selector)
		return err
	})
	set.BoolVar(&f.skipUnknown, "skip-unknown-plugins", false, "")
	set.StringVar(&inputs, "input-filter", "", "")
	set.StringVar(&outputs, "output-filter", "", "")
	set.StringVar(&sections, "section-filter", "", "")
	set.StringVar(&f.watchConfig, "watch-config", "", "")
	set.DurationVar(&f.watchInterval, "watch-interval", 0, "")
	set.DurationVar(&f.urlEvery, "config-url-watch-interval", 0, "")
	set.IntVar(&f.urlAttempts, "config-url-retry-attempts", 3, "")
	set.IntVar(&f.testWait, "test-wait", 0, "")
	set.StringVar(&f.pidFile, "pidfile", "", "")
	addIgnored(set)
	set.BoolVar(&f.test, "test", false, "")
	set.BoolVar(&f.once, "once", false, "")
	set.BoolVar(&f.debug, "debug", false, "")
	set.BoolVar(&f.quiet, "quiet", false, "")
	set.BoolVar(&f.json, "json", false, "")
	set.StringVar(&f.dir, "dir", "", "")
	set.StringVar(&f.module, "module", "", "")
	set.StringVar(&f.vitals, "vitals", "", "")
	set.StringVar(&f.limit, "limit", "", "")
	set.BoolVar(&f.rejected, "rejected", false, "")
	set.StringVar(&f.to, "to", "", "")
	set.BoolVar(&f.remove, "remove", false, "")
	set.BoolVar(&f.force, "force", false, "")
	f.addJoining(set)
	set.BoolVar(&showVersion, "version", false, "")
	set.BoolVar(&f.help, "help", false, "")
	set.BoolVar(&f.help, "h", false, "")
	var words []string
	for len(args) > 0 {
		if err := set.Parse(args); err != nil {
			return nil, flagError(set, err)
		}
		if args = set.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	f.inputFilter, f.outputFilter, f.sections = filter(inputs), filter(outputs), filter(sections)
	f.test = f.test || f.testWait > 0
	if showVersion {
		words = []string{"version"}
	}
	var given []string
	set.Visit(func(g *flag.Flag) { given = append(given, g.Name) })
	return &f, f.settle(words, given)
}

// addJoining adds what join and its like take.
func (f *flags) addJoining(set *flag.FlagSet) {
	set.StringVar(&f.pin, "pin", "", "")
	set.StringVar(&f.name, "name", "", "")
	set.StringVar(&f.codeFile, "code-file", "", "")
	set.BoolVar(&f.check, "check", false, "")
	set.BoolVar(&f.rollback, "rollback", false, "")
}

// fetcher is for files that are given by their URL.
func (f *flags) fetcher() *remote {
	if f.remote == nil {
		f.remote = &remote{
			directory: filepath.Join(filepath.Dir(config.DefaultBufferDirectory()), "remote-config"),
			attempts:  f.urlAttempts, retry: remoteRetry,
			ctx: context.Background(), fetched: map[string]answer{}, last: map[string]string{},
		}
	}
	return f.remote
}

// appendTo makes a flag one that can be given several times.
func appendTo(all *[]string) func(string) error {
	return func(value string) error {
		*all = append(*all, value)
		return nil
	}
}

// settle finds out what was asked for, and whether it can be.
func (f *flags) settle(words, given []string) error {
	if len(words) > 0 && words[0] == "help" {
		f.help, words = true, words[1:]
	}
	if len(words) == 1 {
		if _, ok := group(words[0]); ok {
			f.help = true
		}
	}
	if f.help {
		f.args = words
		return nil
	}
	c, args, err := find(words)
	if err != nil {
		return err
	}
	f.command, f.args = c.name, args
	return c.check(args, given)
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

// ignoredFlags are flags of Telegraf's that are taken and change nothing; those
// that are true have no value.
var ignoredFlags = map[string]bool{
	"strict-env-handling": true, "unprotected": true,
	"processor-filter": false, "aggregator-filter": false, "secretstore-filter": false, "watch-debounce-interval": false,
}

func addIgnored(set *flag.FlagSet) {
	for name, isBool := range ignoredFlags {
		if isBool {
			set.Bool(name, false, "")
		} else {
			set.String(name, "", "")
		}
	}
}

// telegrafCommands are commands of Telegraf's that are not there, and what to do.
var telegrafCommands = map[string]string{
	"config migrate":       "vitals-agent config check names every old option with its new name",
	"plugins inputs":       "see vitals-agent plugins list",
	"plugins outputs":      "see vitals-agent config create --section-filter outputs",
	"plugins processors":   "this version of vitals-agent has none",
	"plugins aggregators":  "this version of vitals-agent has none",
	"plugins parsers":      "vitals-agent reads line protocol only",
	"plugins serializers":  "vitals-agent writes line protocol only",
	"plugins secretstores": "vitals-agent has docker, environment, files and systemd; see docs/telegraf.md",
	"secrets":              "write @{ID:KEY} in the node file, and what the store holds in its files; see docs/telegraf.md",
	"service":              "vitals-agent runs under systemd; its unit is in deploy/",
}

// telegrafFlags are flags of Telegraf's that are not there, and what to do.
var telegrafFlags = map[string]string{
	"sample-config":              "see vitals-agent config create",
	"usage":                      "see vitals-agent config create --input-filter NAME, and the README of each collector",
	"input-list":                 "see vitals-agent plugins list",
	"output-list":                "see vitals-agent config create --section-filter outputs",
	"deprecation-list":           "vitals-agent config check warns of every old name in a file",
	"plugin-directory":           "set plugin_directory in the [agent] table",
	"non-strict-env-handling":    "variables are replaced in strings, and become the number or boolean that an option wants: write debug = \"${DEBUG}\", in quotes",
	"old-env-behavior":           "variables are replaced in strings, and become the number or boolean that an option wants: write debug = \"${DEBUG}\", in quotes",
	"password":                   "no secret store of vitals-agent is locked; see docs/telegraf.md",
	"pprof-addr":                 "this version of vitals-agent serves no profiles",
	"print-plugin-config-source": "vitals-agent status and every message name the file and the line",
}
