package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/internal/manual"
)

var update = flag.Bool("update", false, "write the man page and the completion again")

func TestManualSaysWhatTheHelpSays(t *testing.T) {
	p := manual.Program{
		Name:   "vitals-relay",
		Short:  "keep the lines of many nodes safely and forward them to InfluxDB",
		Help:   help(),
		Common: []string{"config", "log-level", "help"},
		More:   manualMore,
	}
	for _, c := range commands() {
		own := manual.Command{Words: c.words, Usage: c.usage, Help: c.help}
		if c.more != "" {
			own.Help += "\n\n" + c.more
		}
		switch c.words {
		case "":
			own.Flags = []string{"version"}
		case "run":
			own.Help = "run until SIGINT or SIGTERM, as without a command"
		case "version":
			own.Help = "which version this is"
		case "help":
			own.Help = "all of this in short"
		}
		p.Commands = append(p.Commands, own)
	}
	manual.Check(t, p, "../deploy", *update, func(flag string) bool {
		_, _, err := parse([]string{"--" + flag})
		return err != nil && strings.Contains(err.Error(), "needs a value")
	})
}

const manualMore = `
Files:
  /etc/vitals/node.toml        the node file, vitals-node.toml(5)
  /var/lib/vitals/relay        what the relay keeps, where neither data_directory nor
                               $STATE_DIRECTORY says otherwise

Environment:
  VITALS_CONFIG                the node file
  STATE_DIRECTORY, RUNTIME_DIRECTORY
                               as systemd sets them: where lines are kept, and the control socket

See also:
  vitals-node.toml(5), vitals-agent(1)
`
