package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// readOnly is a command that runs a program where nothing can be written to but
// the runtime directory, the machine's folder disk, and memory, which is tmpfs.
func (m *machine) readOnly(program string, args ...string) *exec.Cmd {
	m.t.Helper()
	m.must("mkdir", "-p", m.path("disk"), m.path("memory"))
	script := fmt.Sprintf(`set -e
mount --make-rprivate /
mount --bind %[1]s %[1]s
mount --bind "$RUNTIME_DIRECTORY" "$RUNTIME_DIRECTORY"
mount -t tmpfs memory %[1]s/memory
mount --bind %[1]s/disk %[1]s/disk
mount -o remount,bind,ro %[1]s
mount -t tmpfs -o ro nothing /var/lib
mount -o remount,bind,ro /
if touch %[1]s/x 2>/dev/null || touch /x 2>/dev/null; then echo "it can be written to"; exit 99; fi
exec "$@"`, m.dir)
	return m.command("unshare", slices.Concat([]string{"--mount", "sh", "-c", script, "sh", filepath.Join(root, "bin", program)}, args)...)
}

// startReadOnly starts such a command.
func (m *machine) startReadOnly(program string, args ...string) *process {
	m.t.Helper()
	cmd := m.readOnly(program, args...)
	return m.start(cmd.Args[0], cmd.Args[1:]...)
}

func TestReadOnlyRoot(t *testing.T) {
	t.Parallel()
	requireRoot(t, "mount")
	m := newMachine(t)
	port := freePort(t)
	file := m.file("node.toml", fmt.Sprintf(`[agent]
  interval = "1s"
  flush_interval = "1s"
  hostname = "n1"
[[inputs.cpu]]
[[inputs.ram]]
[[outputs.influxdb]]
  urls = ["http://127.0.0.1:%d"]
  database = "node_vitals"
  skip_database_creation = true
[relay]
  listen = "127.0.0.1:%[1]d"
  data_directory = "$DIR/disk/relay"
`, port))
	agent := m.startReadOnly("vitals-agent", "--config", file)
	eventually(t, 60*time.Second, func() string {
		if out, code := m.ask("vitals-agent", "status"); code == 0 || !strings.Contains(out, "connection refused") {
			return "it does not notice that there is no relay: " + out
		}
		return ""
	})
	relay := m.startReadOnly("vitals-relay", "--config", file)
	eventually(t, 60*time.Second, func() string {
		if out, code := m.ask("vitals-relay", "nodes", "show", "n1", "--json"); code != 0 || !strings.Contains(out, `"ram_percent"`) {
			return out
		}
		return ""
	})
	eventually(t, 60*time.Second, func() string {
		if out, code := m.ask("vitals-agent", "status"); code != 0 {
			return out
		}
		return ""
	})
	agent.stop()
	relay.stop()
	if log := m.read("unshare.log"); !strings.Contains(log, "no buffer on disk: what cannot be sent is kept in memory only") {
		t.Errorf("the agent does not say that it has no place to write to:\n%s", log)
	}
	if found, _ := filepath.Glob(m.path("disk/relay/queue/kept/*.gz")); len(found) == 0 {
		t.Error("the relay keeps nothing")
	}
}

// ask runs a subcommand.
func (m *machine) ask(program string, args ...string) (string, int) {
	m.t.Helper()
	stdout, stderr, code := run(m.t, m.command(program, args...))
	return stdout + stderr, code
}

func TestARelayWithoutADisk(t *testing.T) {
	t.Parallel()
	requireRoot(t, "mount")
	m := newMachine(t)
	relay := fmt.Sprintf("[relay]\n  listen = \"127.0.0.1:%d\"\n  data_directory = \"$DIR/", freePort(t))
	_, stderr, code := run(t, m.readOnly("vitals-relay", "--config", m.file("none.toml", relay+"none\"\n")))
	if code != 1 || !strings.Contains(stderr, m.path("none")) || !strings.Contains(stderr, "read-only file system") || !strings.Contains(stderr, "data_directory") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	p := m.startReadOnly("vitals-relay", "--config", m.file("memory.toml", relay+"memory/relay\"\n"))
	eventually(t, 60*time.Second, func() string {
		if out, code := m.ask("vitals-relay", "status"); code != 0 || !strings.Contains(out, "tmpfs, which is memory: what is accepted is gone when this machine stops") {
			return out
		}
		return ""
	})
	p.stop()
	if _, err := os.Stat(m.path("memory/relay")); err == nil {
		t.Error("it has written elsewhere than to memory")
	}
}
