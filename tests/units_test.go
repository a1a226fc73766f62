package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// exposures are the worst that systemd may say of a unit, from 0 to 10. An agent
// sees the machine as it is and runs programs of its owner.
var exposures = map[string]float64{"vitals-agent": 2.0, "vitals-relay": 2.0}

// unitIn copies a unit into a folder, with the programs of this tree, and what
// the guide adds to it as a file of its own.
func unitIn(t *testing.T, dir, program, addition string) (path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/package", program+".service"))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, program+".service")
	if addition != "" {
		if err := os.MkdirAll(path+".d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".d/own.conf", []byte(addition), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	here := strings.ReplaceAll(string(text), "/usr/bin/", filepath.Join(root, "bin")+"/")
	if err := os.WriteFile(path, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// verify has systemd read a unit, which says what it does not understand.
func verify(t *testing.T, path string) {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	if name := filepath.Base(path); err != nil || strings.Contains(string(out), name) {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	for program, worst := range exposures {
		path := unitIn(t, t.TempDir(), program, "")
		verify(t, path)
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", path).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		said := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
		if said == nil {
			t.Fatalf("%s", out)
		}
		exposure, err := strconv.ParseFloat(string(said[1]), 64)
		if err != nil || exposure > worst {
			t.Errorf("%s is exposed by %s, want at most %g\n%s", program, said[1], worst, out)
		}
	}
}

// What the guide adds to the units is understood, too.
func TestAdditionsToTheUnits(t *testing.T) {
	t.Parallel()
	additions := samplesOf(t, "docs/operating.md", "ini")
	if len(additions) != 5 {
		t.Errorf("the guide has %d additions", len(additions))
	}
	for _, a := range additions {
		program := "vitals-agent"
		if strings.Contains(a, "NET_BIND") {
			program = "vitals-relay"
		}
		verify(t, unitIn(t, t.TempDir(), program, a))
	}
}

// systemd leaves collectors to the agent: it signals the agent alone, which has
// to gather and send once more, and does not end it for one that is killed.
func TestTheUnitLeavesCollectorsToTheAgent(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile(filepath.Join(root, "deploy/package/vitals-agent.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"Type=notify", "WatchdogSec=60", "KillMode=mixed", "OOMPolicy=continue"} {
		if !strings.Contains(string(unit), "\n"+setting+"\n") {
			t.Errorf("there is no %s in\n%s", setting, unit)
		}
	}
}

// restarted has a unit run with an addition to it and with a node file.
func (b *booted) restarted(program, addition, node string) {
	b.t.Helper()
	b.file("/etc/vitals/node.toml", "644", node)
	b.file("/etc/systemd/system/"+program+".service.d/own.conf", "644", addition)
	b.must("systemctl", "daemon-reload")
	b.must("systemctl", "restart", program)
}

// says waits until a command prints something.
func (b *booted) says(want string, args ...string) {
	b.t.Helper()
	eventually(b.t, 3*time.Minute, func() string {
		if got := b.try(args...); !strings.Contains(got, want) {
			return fmt.Sprintf("%v says %q, want %q", args, tail([]byte(got), 500), want)
		}
		return ""
	})
}

// The units restrain what the programs start, too, and what the guide adds to
// them gives way as it says. An agent at a standstill is started again.
func TestUnitsUnderSystemd(t *testing.T) {
	t.Parallel()
	requireRoot(t, "install packages")
	dir, older, _ := together(t, ".deb", "vitals-agent", "vitals-relay")
	b := boot(t, dir)
	b.must(append([]string{"dpkg", "--install"}, older...)...)
	addition := func(with string) string { return sampleWith(t, "docs/operating.md", "ini", with) }

	const lines = "/var/lib/vitals/agent/lines"
	b.must("sh", "-c", "cp /usr/bin/id /usr/local/bin/as-root && chmod 4755 /usr/local/bin/as-root && mkdir /srv/readings && chown vitals /srv/readings && groupadd --system i2c")
	b.file("/usr/local/bin/who", "755", "#!/bin/sh\necho \"who id=$(/usr/local/bin/as-root -u)i\"\n")
	node := func(agent, input, file string) string {
		return fmt.Sprintf("[agent]\ninterval = \"1s\"\nflush_interval = \"1s\"\n%s\n[[inputs.%s]]\n[[outputs.file]]\nfiles = [%q]\n", agent, input, file)
	}
	asks := "exec]]\ncommands = [\"/usr/local/bin/who\"]\n[[inputs.cpu"

	b.restarted("vitals-agent", "[Service]\nWatchdogSec=10\n", node("", asks, lines))
	own := strings.TrimSpace(b.must("id", "-u", "vitals"))
	b.says(" id="+own+"i ", "tail", lines) // set-user-ID has no effect
	pid := b.must("systemctl", "show", "--value", "--property", "MainPID", "vitals-agent")
	b.must("kill", "-STOP", strings.TrimSpace(pid))
	eventually(t, 3*time.Minute, func() string {
		now := b.try("systemctl", "show", "--value", "--property", "MainPID", "vitals-agent")
		if state := b.try("systemctl", "is-active", "vitals-agent"); state != "active\n" || now == pid {
			return "the agent that stands still is process " + pid + ", now it is " + now + state
		}
		return ""
	})

	b.restarted("vitals-agent", addition("NoNewPrivileges=no"), node("", asks, lines+"-sudo"))
	b.says(" id=0i ", "tail", lines+"-sudo")

	b.restarted("vitals-agent", addition("ReadWritePaths="), node("", "cpu", "/srv/readings/lines"))
	b.says("cpu,", "tail", "/srv/readings/lines")

	b.restarted("vitals-agent", addition("i2c"), node("", "cpu", lines+"-i2c"))
	b.says("cpu,", "tail", lines+"-i2c")
	group := strings.Split(b.must("getent", "group", "i2c"), ":")[2]
	b.says(group, "sh", "-c", "grep Groups: /proc/$(systemctl show --value --property MainPID vitals-agent)/status")

	plugin := newMachine(t).buildPlugin("dice", "./plugins/examples/dice")
	b.file("/usr/lib/vitals/plugins/vitals-plugin-dice", "755", content(t, filepath.Join(plugin, "vitals-plugin-dice")))
	b.restarted("vitals-agent", addition("User=root"), node("plugin_user = \"nobody\"", "dice", lines+"-dice"))
	b.says("dice", "tail", lines+"-dice")
	b.says("nobody", "sh", "-c", `for p in /proc/[0-9]*; do case $(readlink $p/exe) in *plugin-dice*) stat --format %U $p;; esac; done`)

	b.restarted("vitals-relay", addition("NET_BIND"), "[relay]\nlisten = \"127.0.0.1:80\"\n")
	b.says("listening on 127.0.0.1:80", "vitals-relay", "status")
}
