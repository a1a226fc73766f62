package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// command is one thing that the program can be asked for. A new one is a line
// in commands and the function that it names.
type command struct {
	name string // as it is typed; two words make it one of a group
	// args is what follows the name, as its help shows it: a word for each, and
	// "…" at the end of the last if more like it may follow.
	args  string
	flags string // the flags of its own, beside those of every command
	short string // one line for the list of commands
	more  string // further lines for its own help
	run   func(ctx context.Context, f *flags, stdout, stderr io.Writer) error
}

// commands are all of them, in the order in which the help lists them.
func commands() []command {
	return []command{
		{name: runCommand, flags: "test once input-filter output-filter select skip-unknown-plugins watch-config watch-interval config-url-watch-interval test-wait pidfile", short: "gather and send until told to stop; may be left out", run: runAgent},
		{name: "config create", flags: "input-filter output-filter section-filter", short: "print a node file to begin with", more: configCreateHelp, run: createConfig},
		{name: "config check", flags: "input-filter output-filter select skip-unknown-plugins", short: "say what is wrong with the node file", more: configCheckHelp, run: checkConfig},
		{name: "reload", flags: "json", short: "read the node file again; touch only what has changed", more: reloadHelp, run: askReload},
		{name: "plugins new", args: "NAME", flags: "dir module vitals", short: "write the source of a collector in Go", more: newHelp, run: newPlugin},
		{name: "plugins check", args: "FILE", flags: "json force", short: "whether a collector keeps the contract", more: checkHelp, run: checkPlugin},
		{name: "plugins describe", args: "FILE", flags: "force", short: "what a collector says of itself, as JSON", more: describeHelp, run: describePlugin},
		{name: "plugins list", flags: "json", short: "which collectors there are, and which may be run", more: listHelp, run: listPlugins},
		{name: "plugins trust", args: "FILE…", flags: "remove", short: "pin drop-ins as they are now", more: trustHelp, run: trustPlugins},
		{name: "plugins retry", args: "NAME", short: "start a collector's program again that was left alone", more: retryHelp, run: askRetry},
		{name: "buffer list", flags: "json", short: "what waits to be sent, and what was refused", more: bufferListHelp, run: listBuffers},
		{name: "buffer show", args: "BUFFER", flags: "limit rejected", short: "print the lines of a buffer", more: bufferShowHelp, run: showBuffer},
		{name: "buffer replay", args: "BUFFER", flags: "to", short: "send refused or orphaned lines once more", more: bufferReplayHelp, run: replayBuffer},
		{name: "buffer purge", args: "BUFFER", flags: "rejected", short: "throw lines away", more: bufferPurgeHelp, run: purgeBuffer},
		{name: "join", args: "URL", flags: "pin name code-file force", short: "make this machine a node of a relay", more: joinHelp, run: askJoin},
		{name: "leave", flags: "force", short: "undo join: be a node of that relay no more", more: leaveHelp, run: askLeave},
		{name: "upgrade", flags: "check rollback force", short: "take the version that the relay has", more: upgradeHelp, run: askUpgrade},
		{name: "status", flags: "json", short: "how the running agent is doing", more: statusHelp, run: showStatus},
		{name: "alive", short: "whether an agent runs and answers, for health checks", more: aliveHelp, run: askAlive},
		{name: "version", short: "which version this is", run: showVersion},
	}
}

// runCommand is what the program does when it is asked for nothing else.
const runCommand = "run"

// find returns the command that words begin with, and what follows it.
func find(words []string) (c command, args []string, err error) {
	if len(words) == 0 {
		words = []string{runCommand}
	}
	names := make([]string, 0, len(commands()))
	for _, c := range commands() {
		name := strings.Fields(c.name)
		if len(words) >= len(name) && slices.Equal(words[:len(name)], name) {
			return c, words[len(name):], nil
		}
		names = append(names, c.name)
	}
	first, two := words[0], strings.Join(words[:min(len(words), 2)], " ")
	for _, typed := range []string{first, two} {
		if reason := telegrafCommands[typed]; reason != "" {
			return c, nil, fmt.Errorf("%s: %s", strings.Join(words, " "), reason)
		}
	}
	_, known := group(first)
	for _, typed := range []string{first, two} {
		if near := nodefile.Nearest(typed, names); near != "" && (typed == two || !known) {
			return c, nil, fmt.Errorf("there is no command %q; did you mean %q? See vitals-agent --help", typed, near)
		}
	}
	if known {
		first = two
	}
	return c, nil, fmt.Errorf("there is no command %q; see vitals-agent --help", first)
}

// group returns the commands whose first word is name, and there are more.
func group(name string) (members []command, ok bool) {
	for _, c := range commands() {
		if strings.HasPrefix(c.name, name+" ") {
			members = append(members, c)
		}
	}
	return members, len(members) > 0
}

// head is the command and what has to follow it.
func (c command) head() string { return strings.TrimSpace(c.name + " " + c.args) }

// usage is how the command is typed.
func (c command) usage() string {
	parts := []string{c.head()}
	for name := range strings.FieldsSeq(c.flags) {
		if form := flagForms[name]; form != "" && c.name != runCommand {
			parts = append(parts, "["+form+"]")
		}
	}
	return strings.Join(parts, " ")
}

// flagForms are how the flags are shown that belong to some commands only.
var flagForms = map[string]string{
	"json": "--json", "remove": "--remove", "force": "--force", "dir": "--dir D", "module": "--module M", "vitals": "--vitals PATH",
	"limit": "--limit N", "rejected": "--rejected", "to": "--to OUTPUT",
	"pin": "--pin PIN", "name": "--name NAME", "code-file": "--code-file FILE", "check": "--check", "rollback": "--rollback",
}

// check refuses arguments and flags that the command does not take.
func (c command) check(args, given []string) error {
	wanted := len(strings.Fields(c.args))
	if c.name == "join" && len(args) > wanted { // which may be a code, and is not repeated
		return errors.New("join takes the relay's URL and nothing after it. A code in a command line is kept in the shell's history and shown " +
			"in every list of processes: leave it out, and join asks for it; or give it with --code-file FILE, \"-\" for standard input. " +
			"If what you typed was a code, make a new invite: vitals-relay invite revoke ID, vitals-relay invite")
	}
	switch many := strings.HasSuffix(c.args, "…"); {
	case len(args) < wanted:
		return fmt.Errorf("%s: %s is missing; see vitals-agent %s --help", c.name, strings.Fields(c.args)[len(args)], c.name)
	case wanted == 0 && len(args) > 0:
		return fmt.Errorf("%s takes nothing after it, such as %q; see vitals-agent %s --help", c.name, args[0], c.name)
	case len(args) > wanted && !many:
		return fmt.Errorf("%s takes %s and nothing after it, such as %q", c.name, c.args, args[wanted])
	}
	own := append(strings.Fields(c.flags), "config", "config-directory", "config-url-retry-attempts", "debug", "quiet", "version")
	for _, name := range given {
		if _, ignored := ignoredFlags[name]; !ignored && !slices.Contains(own, name) {
			return fmt.Errorf("--%s is not for %s; see vitals-agent %s --help", name, c.name, c.name)
		}
	}
	return nil
}

// helpFor is the help for what words name: a command, a group of them, or the
// program.
func helpFor(words []string) (string, error) {
	if len(words) == 0 {
		return help + "\nCommands:\n" + list(commands()) + helpEnd, nil
	}
	if members, ok := group(words[0]); ok && len(words) == 1 {
		return "vitals-agent " + words[0] + " has these commands:\n" + list(members) +
			"\nEach says more with --help.\n", nil
	}
	c, _, err := find(words)
	if err != nil {
		return "", err
	}
	if c.name == runCommand {
		return helpFor(nil)
	}
	text := fmt.Sprintf("vitals-agent %s: %s\n\nUsage:\n  vitals-agent %s\n", c.name, c.short, c.usage())
	if c.more != "" {
		text += "\n" + c.more
	}
	return text, nil
}

// list shows commands below each other, with what they are for.
func list(all []command) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, "  %-*s%s\n", helpColumn, c.head(), c.short)
	}
	return b.String()
}

// helpColumn is where in the list it says what a command is for.
const helpColumn = 26

// runAgent does what the program is for: gather and send.
func runAgent(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	if f.test && f.once {
		return usageError{errors.New("--test and --once exclude each other: one sends nothing, the other does")}
	}
	if f.watchConfig != "" && f.watchConfig != "notify" && f.watchConfig != "poll" {
		return usageError{fmt.Errorf("--watch-config %s: it is notify or poll", f.watchConfig)}
	}
	told := listenTo(f)
	defer told.stop()
	a, err := newAgent(f, stdout, stderr)
	if err != nil {
		return err
	}
	defer a.close()
	a.told = told
	return a.secrets.clean(a.run(ctx))
}

// run does what the flags ask for.
func (a *agent) run(ctx context.Context) error {
	switch {
	case a.flags.test:
		return a.testGather(ctx)
	case a.flags.once:
		return a.once(ctx)
	}
	return a.serve(ctx)
}

func showVersion(_ context.Context, _ *flags, stdout, _ io.Writer) error {
	_, err := fmt.Fprintf(stdout, "vitals-agent %s\n", version)
	return err
}

const configCheckHelp = `Reads the node file and says everything that is wrong with it, each with its line.
Drop-in collectors are started to check their options; nothing is gathered or sent.
Exit code 1 if anything is wrong.

  --input-filter A:B     only the inputs of these names
  --output-filter A:B    only the outputs of these names
  --select "a=b;c=d*"    only tables with these labels, and those without any
  --skip-unknown-plugins
                         leave out tables of plugins that there are not
`

const aliveHelp = `Exit code 0 if the agent runs and is at no standstill, whether or not its inputs and
outputs work: those it tries again by itself, and status tells of them.
`

const statusHelp = `Asks the running agent for each input: state, last reading, lines, errors, process;
and for each output: what was written and what waits. Exit code 1 if one is failing.

  --json    the same and more, for programs
`
