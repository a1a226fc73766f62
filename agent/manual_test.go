package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/internal/manual"
)

var update = flag.Bool("update", false, "write the man page and the completion again")

func TestManualSaysWhatTheHelpSays(t *testing.T) {
	text, err := helpFor(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := manual.Program{
		Name:   "vitals-agent",
		Short:  "write the vital signs of this machine to InfluxDB or a relay",
		Help:   text,
		Common: []string{"config", "config-directory", "debug", "quiet", "help"},
		More:   manualMore,
	}
	for _, c := range commands() {
		own := manual.Command{Words: c.name, Usage: strings.TrimSpace(strings.TrimPrefix(c.usage(), c.name)), Help: c.short, Flags: strings.Fields(c.flags)}
		if c.more != "" {
			own.Help += "\n\n" + c.more
		}
		p.Commands = append(p.Commands, own)
		if c.name == runCommand {
			own.Words = ""
			own.Flags = append(own.Flags, "version")
			p.Commands = append(p.Commands, own)
		}
	}
	manual.Check(t, p, "../deploy", *update, func(flag string) bool {
		_, err := parseFlags([]string{"--" + flag})
		return err != nil && strings.Contains(err.Error(), "needs an argument")
	})
}

const manualMore = `
Files:
  /etc/vitals/node.toml        the node file, vitals-node.toml(5)
  /etc/vitals/node.d           more of it, files that end in .conf
  /usr/lib/vitals/plugins, /usr/local/lib/vitals/plugins
                               collectors of other authors
  /var/lib/vitals/agent        what waits to be sent, where $STATE_DIRECTORY does not say otherwise

Environment:
  VITALS_CONFIG                the node file
  STATE_DIRECTORY, RUNTIME_DIRECTORY
                               as systemd sets them: where the buffer is kept, and the control socket
  HOST_PROC, HOST_SYS, HOST_ETC, HOST_RUN, HOST_MOUNT_PREFIX
                               where those of the host are, in a container

See also:
  vitals-node.toml(5), vitals-relay(1)
`
