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
	takes int    // how many arguments follow the words
	usage string // arguments and flags, as the help shows them
	help  string // what it does; lines after the first stand below it
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
	return slices.Concat(runCommands(), showCommands(), tokenCommands(), []subcommand{
		{"version", 0, "", "", func(_ context.Context, c *call) error {
			_, err := fmt.Fprintf(c.stdout, "vitals-relay %s\n", version)
			return err
		}},
		{"help", 0, "", "", func(_ context.Context, c *call) error {
			_, err := io.WriteString(c.stdout, help())
			return err
		}},
	})
}

func runCommands() []subcommand {
	run := func(ctx context.Context, c *call) error { return serve(ctx, c.flags, c.stderr) }
	return []subcommand{
		{"", 0, "[--config FILE]", "run until SIGINT or SIGTERM", run},
		{"run", 0, "[--config FILE]", "", run},
		{"config check", 0, "[--config FILE]", "say what is wrong with the node file",
			func(_ context.Context, c *call) error { return checkConfig(c.flags, c.stdout) }},
		{"reload", 0, "[--json]", "read the node file again: destinations, and\nthe files with tokens and certificates",
			func(ctx context.Context, c *call) error { return askReload(ctx, c.stdout, c.json) }},
	}
}

func showCommands() []subcommand {
	return []subcommand{
		{"status", 0, "[--json]", "destinations, backlog, counters; exit code 1\nif a required destination fails",
			func(ctx context.Context, c *call) error { return showStatus(ctx, c.stdout, c.json) }},
		{"nodes", 0, "[--json]", "every node and its vitals",
			func(ctx context.Context, c *call) error { return showNodes(ctx, c.stdout, c.json) }},
		{"nodes forget", 1, "NAME", "remove a node until it writes again",
			func(ctx context.Context, c *call) error { return forget(ctx, c.stdout, "nodes", c.arguments[0]) }},
		{"destinations forget", 1, "NAME", "give up a destination that is no longer\nconfigured, with what it has not got",
			func(ctx context.Context, c *call) error { return forget(ctx, c.stdout, "destinations", c.arguments[0]) }},
	}
}

func tokenCommands() []subcommand {
	return []subcommand{
		{"token create", 0, "--node NAME", "a secret with which a node may write its lines\n[--role write|read|admin] [--expires 90d]",
			func(ctx context.Context, c *call) error { return createToken(ctx, c.stdout, c.flags) }},
		{"token list", 0, "[--json]", "the tokens, and where each was last used",
			func(ctx context.Context, c *call) error { return listTokens(ctx, c.stdout, c.json) }},
		{"token revoke", 1, "ID", "refuse a token from now on",
			func(ctx context.Context, c *call) error { return revokeToken(ctx, c.stdout, c.arguments[0]) }},
		{"token observed", 0, "[--json]", "who would be refused, with mode = \"observe\"",
			func(ctx context.Context, c *call) error { return listObserved(ctx, c.stdout, c.json) }},
	}
}

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
	if rest := words[length:]; len(rest) == best.takes {
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
		return subcommand{}, nil, fmt.Errorf("write: %s", strings.Join(kin, ", or "))
	case near != "":
		return subcommand{}, nil, fmt.Errorf("there is no command %q; did you mean %q? See vitals-relay --help", text, near)
	}
	return subcommand{}, nil, fmt.Errorf("there is no command %q; see vitals-relay --help", text)
}

// helpColumn is where the help says what a command does.
const helpColumn = 44

// usages are the commands as the help lists them.
func usages() string {
	var b strings.Builder
	for _, c := range commands() {
		if c.help == "" && c.words != "version" {
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
