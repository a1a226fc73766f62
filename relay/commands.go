package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// subcommand is something that the program can be told to do.
type subcommand struct {
	words string // after the program's name; empty: what it does without any
	takes int    // how many arguments follow the words, at least
	most  int    // … and at most, if that is more
	usage string // arguments and flags, as the help shows them
	help  string // what it does; lines after the first stand below it
	more  string // what each of its flags says, for its own help
	run   func(ctx context.Context, c *call) error
}

// call is a command line as it was understood.
type call struct {
	flags
	arguments      []string
	stdout, stderr io.Writer
}

// commands are all there are, in the order of the help.
func commands() []subcommand {
	return slices.Concat(runCommands(), initCommands(), showCommands(), nodeCommands(), alertCommands(), rejectedCommands(), tokenCommands(), inviteCommands(), []subcommand{
		{words: "version", usage: "", help: "", run: func(_ context.Context, c *call) error {
			_, err := fmt.Fprintf(c.stdout, "vitals-relay %s\n", version)
			return err
		}},
		{words: "help", most: maxWords, usage: "", help: "", run: func(_ context.Context, c *call) error { return showHelp(c) }},
	})
}

// maxWords is how many words help looks at: more than any command has with its
// arguments.
const maxWords = 8

// showHelp prints what can be typed: all of it, or what begins with the words
// after help.
func showHelp(c *call) error {
	for n := len(c.arguments); n > 0; n-- { // its arguments may follow a command
		words := strings.Join(c.arguments[:n], " ")
		if text := usages(words); text != "" {
			_, err := io.WriteString(c.stdout, "Usage:\n"+text+explained(words)+"\nvitals-relay --help has all commands, the flags that each takes, and examples.\n")
			return err
		}
	}
	if len(c.arguments) > 0 {
		if _, _, err := find(c.arguments); err != nil {
			return err
		}
	}
	_, err := io.WriteString(c.stdout, help())
	return err
}

// explained is what each flag says of the commands that begin with words.
func explained(words string) (text string) {
	for _, c := range commands() {
		flags := c.more
		for _, common := range []string{jsonHelp, configHelp} {
			name, _, _ := strings.Cut(strings.TrimSpace(common), " ")
			if c.help != "" && c.has(name) && !strings.Contains(flags, name) {
				flags += common
			}
		}
		if flags != "" && strings.HasPrefix(c.words+" ", words+" ") {
			text += "\nvitals-relay " + c.words + " takes\n" + flags
		}
	}
	return text
}

func runCommands() []subcommand {
	run := func(ctx context.Context, c *call) error { return serve(ctx, c.flags, c.stderr) }
	return []subcommand{
		{words: "", usage: "[--config FILE]", help: "run until SIGINT or SIGTERM", run: run},
		{words: "run", usage: "[--config FILE]", help: "", run: run},
		{words: "config check", usage: "[--config FILE]", help: "say what is wrong with the node file",
			run: func(_ context.Context, c *call) error { return checkConfig(c.flags, c.stdout) }},
		{words: "reload", usage: "[--json]", help: "read the node file again: destinations, alerts,\nand the files with tokens and certificates",
			run: func(ctx context.Context, c *call) error { return askReload(ctx, c.stdout, c.json) }},
	}
}

func showCommands() []subcommand {
	return []subcommand{
		{words: "status", usage: "[--json]", help: "destinations, backlog, counters; exit code 1 if\nwrites are refused or a required destination fails",
			run: func(ctx context.Context, c *call) error { return showStatus(ctx, c.stdout, c.json) }},
		{words: "alive", help: "exit code 0 if a relay runs and answers, whether\nor not its destinations do; for health checks",
			run: func(ctx context.Context, _ *call) error { return askAlive(ctx) }},
		{words: "destinations list", usage: "[--json]", help: "each with its state, backlog, rate and last error",
			run: func(ctx context.Context, c *call) error { return listDestinations(ctx, c) }},
		{words: "destinations forget", takes: 1, usage: "NAME", help: "give up a destination that is no longer\nconfigured, with what it has not got",
			run: func(ctx context.Context, c *call) error { return forget(ctx, c.stdout, "destinations", c.arguments[0]) }},
	}
}

func tokenCommands() []subcommand {
	return []subcommand{
		{words: "token create", usage: "--node NAME", help: "a secret with which a node may write its lines\n[--role write|read|admin] [--expires 90d]",
			more: `  --node NAME       whose lines it is for, as their tag host says; a pattern such as 'site-a-*'
                    for a gateway that writes for others; '*' for any
  --role write|read|admin
                    what it may: write, which is what it may without this flag; read, look at
                    the page and /api; admin, both
  --expires TIME    how long it is good, such as 90d; for ever without it
`,
			run: func(ctx context.Context, c *call) error { return createToken(ctx, c.stdout, c.flags) }},
		{words: "token list", usage: "[--json]", help: "the tokens, and where each was last used",
			run: func(ctx context.Context, c *call) error { return listTokens(ctx, c.stdout, c.json) }},
		{words: "token revoke", takes: 1, usage: "ID", help: "refuse a token from now on",
			run: func(ctx context.Context, c *call) error { return revokeToken(ctx, c.stdout, c.arguments[0]) }},
		{words: "token observed", usage: "[--json]", help: "who would be refused, with mode = \"observe\"",
			run: func(ctx context.Context, c *call) error { return listObserved(ctx, c.stdout, c.json) }},
	}
}

// usageError is a command line that cannot be understood: exit code 2.
type usageError string

// Error implements error.
func (e usageError) Error() string { return string(e) }

func usage(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// find finds the command that words begin with, the longest if there are
// several, and what follows it.
func find(words []string) (subcommand, []string, error) {
	all := commands()
	best, length := subcommand{}, -1
	for _, c := range all {
		own := strings.Fields(c.words)
		if len(own) > length && len(own) <= len(words) && slices.Equal(own, words[:len(own)]) {
			best, length = c, len(own)
		}
	}
	if rest := words[length:]; len(rest) >= best.takes && len(rest) <= max(best.takes, best.most) {
		return best, rest, nil
	}
	var kin, names []string
	for _, c := range all {
		if names = append(names, c.words); strings.Fields(c.words + " x")[0] == words[0] {
			kin = append(kin, strings.TrimSpace("vitals-relay "+c.words+" "+c.usage))
		}
	}
	text := strings.Join(words, " ")
	near := nodefile.Nearest(text, names)
	switch {
	case len(kin) > 0:
		return subcommand{}, nil, usage("write: %s; vitals-relay %s --help says more", strings.Join(kin, ", or "), words[0])
	case near != "":
		return subcommand{}, nil, usage("there is no command %q; did you mean %q? See vitals-relay --help", text, near)
	}
	return subcommand{}, nil, usage("there is no command %q; see vitals-relay --help", text)
}

// helpColumn is where the help says what a command does.
const helpColumn = 44

// usages are the commands as the help lists them, those that begin with words.
func usages(words string) string {
	var b strings.Builder
	for _, c := range commands() {
		if c.help == "" && c.words != "version" || words != "" && !strings.HasPrefix(c.words+" ", words+" ") {
			continue
		}
		left := "  " + strings.Join(strings.Fields("vitals-relay "+c.words+" "+c.usage), " ")
		for i, line := range strings.Split(c.help, "\n") {
			if i > 0 {
				left = ""
			}
			if len(left) >= helpColumn {
				b.WriteString(left + "\n")
				left = ""
			}
			b.WriteString(strings.TrimRight(fmt.Sprintf("%-*s%s", helpColumn, left, line), " ") + "\n")
		}
	}
	return b.String()
}
