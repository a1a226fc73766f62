package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestContainers runs both programs in what the Dockerfile says, in a root that
// nobody can write to, as nobody, and with no name of their own.
func TestContainers(t *testing.T) {
	t.Parallel()
	requireRoot(t, "make namespaces and mounts")
	images := readImages(t)
	m := newMachine(t)
	m.must("chmod", "755", m.dir)
	relay := m.contain("relay", images["relay"], "INFLUX_URL=http://127.0.0.1:1")
	relay.start(nil)
	relay.healthy()
	if out, code := relay.exec("/usr/bin/vitals-relay", "token", "create", "--node", "pi-7"); code != 0 {
		t.Fatal(out)
	} else if token := regexp.MustCompile(`(?m)^vt_\S+`).FindString(out); token == "" {
		t.Fatal(out)
	} else if err := os.WriteFile(m.path("agent-token"), []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _ := relay.exec("/usr/bin/vitals-relay", "status")
	pin := regexp.MustCompile(`sha256//\S{44}`).FindString(status)
	if pin == "" {
		t.Fatalf("no pin: %s", status)
	}
	token := m.read("agent-token")
	agent := m.contain("agent", images["agent"], "VITALS_RELAY=https://127.0.0.1:8186", "VITALS_PIN="+pin)
	if err := os.WriteFile(m.path("agent-token"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	m.must("chown", images["agent"].user, m.path("agent-token"))
	agent.start(relay)
	agent.healthy()
	eventually(t, 90*time.Second, func() string {
		out, code := relay.exec("/usr/bin/vitals-relay", "nodes", "show", "pi-7", "--json")
		if code != 0 {
			return out
		}
		var node map[string]any
		if err := json.Unmarshal([]byte(out), &node); err != nil {
			return err.Error() + out
		}
		for _, vital := range []string{"cpu_percent", "ram_percent", "disk_percent"} {
			if node[vital] == nil {
				return fmt.Sprintf("%s is missing: %s", vital, out)
			}
		}
		return ""
	})
	lines, code := agent.exec("/usr/bin/vitals-agent", "--test", "--input-filter", "disk")
	if code != 0 || !strings.Contains(lines, "path=/ ") || strings.Contains(lines, "/host") || strings.Contains(lines, "path=/etc") {
		t.Errorf("disks of the host: exit code %d\n%s", code, lines)
	}
	m.asKubernetesDoes(relay, images["agent"], pin)
	// A restart finds the token that was made, and what waits.
	relay.stop()
	eventually(t, 60*time.Second, func() string {
		if out, code := agent.exec("/usr/bin/vitals-agent", "status"); code == 0 {
			return "it does not notice that the relay is away\n" + out
		}
		return ""
	})
	agent.healthy()
	agent.stop()
	if _, err := os.Stat(filepath.Join(m.dir, "agent-volume", "buffer", "influxdb")); err != nil {
		t.Errorf("nothing is kept for later: %v", err)
	}
	for _, log := range []string{"unshare.log", "nsenter.log"} {
		if text := m.read(log); strings.Contains(text, "read-only file system") || strings.Contains(text, "permission denied") {
			t.Errorf("%s:\n%s", log, text)
		}
	}
	relay = m.contain("relay2", images["relay"])
	m.must("rm", "-r", m.path("relay2-volume"))
	m.must("mv", m.path("relay-volume"), m.path("relay2-volume"))
	relay.start(nil)
	relay.healthy()
	if out, _ := relay.exec("/usr/bin/vitals-relay", "token", "list"); !strings.Contains(out, "pi-7") {
		t.Errorf("the token is gone: %s", out)
	}
	if out, _ := relay.exec("/usr/bin/vitals-relay", "status"); !strings.Contains(out, pin) {
		t.Errorf("another key: %s", out)
	}
	relay.stop()
}

// asKubernetesDoes runs the agent as deploy/kubernetes has it: as root, with no
// right that root has, under the name that it is told, and with a token for any.
func (m *machine) asKubernetesDoes(relay *imageRun, im *image, pin string) {
	m.t.Helper()
	out, code := relay.exec("/usr/bin/vitals-relay", "token", "create", "--node", "*")
	token := regexp.MustCompile(`(?m)^vt_\S+`).FindString(out)
	if code != 0 || token == "" {
		m.t.Fatal(out)
	}
	root := *im
	root.user = "0:0"
	agent := m.contain("daemon", &root, "VITALS_RELAY=https://127.0.0.1:8186", "VITALS_PIN="+pin, "VITALS_NODE=worker-1")
	if err := os.WriteFile(m.path("daemon-token"), []byte(token), 0o600); err != nil {
		m.t.Fatal(err)
	}
	agent.start(relay)
	agent.healthy()
	eventually(m.t, 90*time.Second, func() string {
		if out, code := relay.exec("/usr/bin/vitals-relay", "nodes", "show", "worker-1"); code != 0 {
			return out
		}
		return ""
	})
	agent.stop()
}

// TestAContainersNameIsNoNodesName says so where nothing tells the host's.
func TestAContainersNameIsNoNodesName(t *testing.T) {
	requireRoot(t, "make namespaces")
	m := newMachine(t)
	file := m.file("node.toml", "[[inputs.cpu]]\n[[outputs.discard]]\n")
	cmd := m.command("unshare", "--uts", "sh", "-c", `hostname 0123456789ab; exec "$@"`, "sh", filepath.Join(root, "bin/vitals-agent"), "config", "check", "--config", file)
	cmd.Env = append(cmd.Env, "HOST_PROC=/proc")
	stdout, stderr, code := run(t, cmd)
	if code != 0 || !strings.Contains(stdout+stderr, `"0123456789ab" is the name of a container`) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}
