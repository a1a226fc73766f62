package config

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/trust"
)

const restOfNode = "[[inputs.cpu]]\n[[outputs.file]]\n"

func TestTrustAndLimitsByDefault(t *testing.T) {
	c, err := load(t, restOfNode, Options{})
	if err != nil {
		t.Fatal(err)
	}
	rules := trust.Rules{
		Directories: []string{"/usr/lib/vitals/plugins", "/usr/local/lib/vitals/plugins"},
		Owner:       -1, LockFile: "/etc/vitals/plugins.lock",
	}
	if diff := cmp.Diff(rules, c.Agent.Trust); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(program.Limits{Memory: 512 << 20}, c.Agent.Limits); diff != "" {
		t.Error(diff)
	}
}

func TestTrustAndLimitsAsSet(t *testing.T) {
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	f := func(name, options string, rules trust.Rules, limits program.Limits) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			c, err := load(t, "[agent]\nplugin_directory = []\nplugin_memory_max = 0\nplugin_lock_file = \"/l\"\n"+options+restOfNode, Options{})
			if err != nil {
				t.Fatal(err)
			}
			rules.Directories, rules.LockFile = []string{}, "/l"
			if diff := cmp.Diff(rules, c.Agent.Trust); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(limits, c.Agent.Limits); diff != "" {
				t.Error(diff)
			}
		})
	}
	none := program.Limits{}
	f("pinned", "plugin_policy = \"pinned\"\n", trust.Rules{Owner: -1, Pinned: true}, none)
	f("a user's number", "plugin_owner = \"12345\"\n", trust.Rules{Owner: 12345}, none)
	f("a user's name", "plugin_owner = \"root\"\n", trust.Rules{}, none)
	f("as the agent", "plugin_user = \""+self.Username+"\"\n", trust.Rules{Owner: -1}, none)
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, gid := number(t, nobody.Uid), number(t, nobody.Gid)
		as := program.Limits{User: &program.User{UID: uid, GID: gid, Groups: []uint32{gid}}}
		f("as another user", "plugin_user = \"nobody\"\n", trust.Rules{Owner: -1, User: (*trust.User)(as.User)}, as)
		f("as another user by number", "plugin_user = \""+nobody.Uid+"\"\n", trust.Rules{Owner: -1, User: (*trust.User)(as.User)}, as)
	}
}

func number(t *testing.T, text string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestMistakesOfTrust(t *testing.T) {
	f := func(name, text, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			_, err := load(t, text, Options{})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in: %v", want, err)
			}
		})
	}
	agent := func(option string) string { return "[agent]\n" + option + "\n" + restOfNode }
	f("policy", agent(`plugin_policy = "none"`), `node.toml:2: agent.plugin_policy: "none" is no policy; it is "permissions" or "pinned"`)
	f("lock file", agent(`plugin_lock_file = "plugins.lock"`), `node.toml:2: agent.plugin_lock_file: "plugins.lock" is not a whole path`)
	f("owner", agent(`plugin_owner = "no such user"`), `node.toml:2: agent.plugin_owner: there is no user "no such user" on this machine`)
	f("owner's sign", agent(`plugin_owner = "-1"`), `node.toml:2: agent.plugin_owner: there is no user "-1"`)
	f("user", agent(`plugin_user = "no such user"`), `node.toml:2: agent.plugin_user: there is no user "no such user" on this machine`)
	f("memory", agent(`plugin_memory_max = "1MiB"`), "node.toml:2: agent.plugin_memory_max: must be at least 80MiB, with which a collector in Go just starts, or 0")
	f("memory for no program", agent(`plugin_memory_max = "64MiB"`), "node.toml:2: agent.plugin_memory_max: must be at least 80MiB")
	f("memory's unit", agent(`plugin_memory_max = "lots"`), "node.toml:2: agent.plugin_memory_max")
	f("lines", "[[inputs.cpu]]\nmax_lines = -1\n[[outputs.file]]\n", "node.toml:2: inputs.cpu.max_lines: must not be negative")
	f("series", "[[inputs.cpu]]\nmax_series = -1\n[[outputs.file]]\n", "node.toml:2: inputs.cpu.max_series: must not be negative")
	if os.Geteuid() != 0 {
		f("user without root", agent(`plugin_user = "root"`), "node.toml:2: agent.plugin_user: only an agent that is root can start programs as root")
	}
}

// A file that may not be run is the supervisor's to tell of: it may be mended
// while the agent runs.
func TestAFileThatMayNotBeRunIsNoMistakeOfTheNodeFile(t *testing.T) {
	c, err := load(t, "[agent]\nplugin_directory = [\"$DIR\"]\n[[inputs.plain]]\n[[outputs.file]]\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := c.Inputs[0].Executable
	_, err = c.Agent.Trust.Verify(path)
	refusal, ok := errors.AsType[*trust.Refusal](err)
	if !ok || refusal.Reason != "is not executable (mode 0644)" || refusal.Remedy != "chmod +x "+path {
		t.Errorf("%#v", err)
	}
}

func TestBoundsOfAnInput(t *testing.T) {
	f := func(name, input string, lines, series int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			c, err := load(t, "[agent]\nplugin_directory = [\"$DIR\"]\n"+input+"[[outputs.file]]\n", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if in := c.Inputs[0]; in.MaxLines != lines || in.MaxSeries != series {
				t.Errorf("%d lines, %d series", in.MaxLines, in.MaxSeries)
			}
		})
	}
	f("built in", "[[inputs.cpu]]\n", 0, 0)
	f("drop-in", "[[inputs.dice]]\n", 10000, 10000)
	f("drop-in without bounds", "[[inputs.dice]]\nmax_lines = 0\nmax_series = 0\n", 0, 0)
	f("as set", "[[inputs.dice]]\nmax_lines = 5\nmax_series = 6\n", 5, 6)
	f("built in as set", "[[inputs.cpu]]\nmax_lines = 5\n", 5, 0)
}
