package tests

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The story of the README with what make dist makes, under systemd: a primary by
// init, a second node by the line of an invite, an upgrade from what the relay
// hands out and back again, and leaving.
func TestTheSecondNodeFromPackages(t *testing.T) {
	t.Parallel()
	requireRoot(t, "install packages")
	dir, older, newest := together(t, ".deb", "vitals-agent", "vitals-relay", "vitals-packages")
	primary, second := boot(t, dir), boot(t, dir)
	link(primary, second)
	before := second.added()

	primary.must(append([]string{"dpkg", "--install"}, older...)...)
	primary.must("vitals-relay", "init", "--influx", "none")
	primary.says("ok", "vitals-agent", "status")
	primary.must("systemctl", "is-enabled", "vitals-agent", "vitals-relay")

	line, code := inviteIn(t, primary.must("vitals-relay", "invite"))
	shown, exit := pasted(t, second.command("sh", "-c", strings.ReplaceAll(line, "| sudo sh", "| sh")), code)
	if exit != 0 || !strings.Contains(shown, "stored its first lines") {
		t.Fatalf("exit code %d\n%s", exit, shown)
	}
	second.must("systemctl", "is-enabled", "vitals-agent")
	primary.says("pi-2", "vitals-relay", "nodes")
	user := strings.TrimSpace(second.must("stat", "--format", "%U %a", "/etc/vitals/secrets/relay"))
	if user != "vitals 600" {
		t.Errorf("the token is a file of %s", user)
	}

	primary.must(append([]string{"dpkg", "--install"}, newest...)...)
	second.must("vitals-agent", "upgrade")
	second.says("vitals-agent v99.0.0 ", "vitals-agent", "status")
	second.says("99.0.0", "dpkg-query", "--show", "vitals-agent")
	second.must("vitals-agent", "upgrade", "--rollback")
	second.says("vitals-agent "+versionOf(older[0])+" ", "vitals-agent", "status")
	primary.says("pi-2", "vitals-relay", "nodes", "--state", "up")

	second.must("vitals-agent", "leave")
	if got := second.processes("/usr/bin/vitals-"); got != "" {
		t.Errorf("after leaving there run\n%s", got)
	}
	if got := second.try("ls", "/etc/vitals", "/etc/vitals/secrets"); strings.Contains(got, "node.toml") || strings.Contains(got, "relay") {
		t.Errorf("leaving leaves\n%s", got)
	}
	second.must("dpkg", "--purge", "vitals-agent")
	second.leavesNothing(before, "/run")
}

// versionOf is the program's version that the file of a package is named by.
func versionOf(path string) string {
	return "v" + strings.ReplaceAll(strings.Split(filepath.Base(path), "_")[1], "~", "-")
}

// link gives each of two machines a name and an address, with a cable between.
func link(a, b *booted) {
	a.t.Helper()
	cable := exec.Command("ip", "link", "add", "eth0", "netns", strconv.Itoa(a.pid), "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(b.pid))
	if out, err := cable.CombinedOutput(); err != nil {
		a.t.Fatalf("%v\n%s", err, out)
	}
	for i, m := range []*booted{a, b} {
		name := fmt.Sprintf("pi-%d", i+1)
		m.must("hostname", name)
		m.file("/etc/machine-id", "444", strings.Repeat(strconv.Itoa(i+1), 32)+"\n")
		m.file("/etc/hosts", "644", "127.0.0.1 localhost "+name+"\n")
		m.must("ip", "address", "add", fmt.Sprintf("10.7.0.%d/24", i+1), "dev", "eth0")
		m.must("ip", "link", "set", "eth0", "up")
	}
}
