package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// repacked is a package of vitals-agent with another program and version.
func repacked(t *testing.T, deb, program, version string) string {
	t.Helper()
	tree, made := t.TempDir(), filepath.Join(t.TempDir(), fmt.Sprintf("vitals-agent_%s_%s.deb", version, debianArch()))
	script := `set -e
dpkg-deb --raw-extract "$1" "$2"
install -m 755 "$3" "$2/usr/bin/vitals-agent"
sed -i "s/^Version: .*/Version: $4/" "$2/DEBIAN/control"
rm -f "$2/DEBIAN/md5sums"
dpkg-deb --root-owner-group -Zgzip -z1 --build "$2" "$5"`
	if out, err := exec.Command("sh", "-c", script, "sh", deb, tree, program, version, made).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return made
}

// crashing is a program that says its version and does nothing else.
func crashing(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("package main\n\nimport \"os\"\n\nfunc main() {\n\tif len(os.Args) > 1 && os.Args[1] == \"version\" {\n\t\tos.Stdout.WriteString(\"vitals-agent %s\\n\")\n\t\treturn\n\t}\n\tos.Exit(3)\n}\n", version)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "vitals-agent"), filepath.Join(dir, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "vitals-agent")
}

// joined is a machine with systemd that has joined a relay, which runs there too.
type joined struct {
	*booted
	in invited
}

const hubFile = `[relay]
listen = "127.0.0.1:8186"
data_directory = "/var/lib/hub"
packages = "/srv/shelf"
[relay.auth]
mode = "required"
[relay.tls]
own_key = true
`

func (b *joined) join() (out string, err error) {
	b.file("/run/code", "600", b.in.Code+"\n")
	text, err := b.command("vitals-agent", "join", b.in.URL, "--pin", b.in.Pin, "--name", "pi-7", "--code-file", "/run/code").CombinedOutput()
	return string(text), err
}

// agent is what its own status says: its version, and where its writes stand.
func (b *joined) agent() (version, state string) {
	var s struct {
		Version string
		Outputs []struct{ State string }
	}
	out := b.try("vitals-agent", "status", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Outputs) != 1 {
		return "", out
	}
	return s.Version, s.Outputs[0].State
}

// writes requires that an agent of a version comes to write.
func (b *joined) writes(version string) {
	b.t.Helper()
	eventually(b.t, 3*time.Minute, func() string {
		if is, state := b.agent(); is != version || state != "ok" {
			return fmt.Sprintf("vitals-agent is %q and %s, want %s", is, state, version)
		}
		return ""
	})
}

// upgrade upgrades to what alone is on the relay's shelf now.
func (b *joined) upgrade(deb string) (out string, code int) {
	b.t.Helper()
	b.must("sh", "-c", "rm -rf /srv/shelf && mkdir /srv/shelf && cp /mnt/"+deb+" /srv/shelf/")
	cmd := b.command("vitals-agent", "upgrade")
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.ExitCode()
}

// A node that systemd runs joins, is upgraded, goes back by itself from versions
// that do not do, and leaves; nothing of it is left then.
func TestANodesLifeUnderSystemd(t *testing.T) {
	t.Parallel()
	requireRoot(t, "install packages")
	dir, older, newest := together(t, ".deb", "vitals-agent", "vitals-relay")
	newDeb := filepath.Base(newest[0])
	crash := repacked(t, filepath.Join(dir, newDeb), crashing(t, "v99.1.0"), "99.1.0")
	// No write of this version is ever sent: what it says it was built with cannot be in a header.
	mute := repacked(t, filepath.Join(dir, newDeb), agentAs(t, "v99.2.0 -X runtime.buildVersion=go\x01"), "99.2.0")
	for _, deb := range []string{crash, mute} {
		if err := os.Link(deb, filepath.Join(dir, filepath.Base(deb))); err != nil {
			t.Fatal(err)
		}
	}
	b := &joined{booted: boot(t, dir)}
	b.must(append([]string{"dpkg", "--install"}, older...)...)
	b.file("/etc/hub.toml", "644", hubFile)
	b.must("systemd-run", "--quiet", "--unit=hub", "/usr/bin/vitals-relay", "--config", "/etc/hub.toml")
	b.says("sha256//", "vitals-relay", "status")
	if err := json.Unmarshal([]byte(b.must("vitals-relay", "invite", "--json", "--url", "https://127.0.0.1:8186")), &b.in); err != nil {
		t.Fatal(err)
	}
	before := b.traces()
	was := strings.TrimPrefix(strings.TrimSpace(b.must("vitals-agent", "version")), "vitals-agent ")

	out, err := b.join()
	if err != nil || !strings.Contains(out, "has stored its first lines, after") || !strings.Contains(out, "starts with this machine") {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := b.must("stat", "--format=%a %U", "/etc/vitals/secrets", "/etc/vitals/secrets/relay", "/var/lib/vitals/join.json"); got != "750 root\n600 vitals\n600 root\n" {
		t.Errorf("modes and owners: %s", got)
	}
	if got := b.must("systemctl", "is-enabled", "vitals-agent"); got != "enabled\n" {
		t.Errorf("the unit is %s", got)
	}
	token, node := b.must("cat", "/etc/vitals/secrets/relay"), b.must("cat", "/etc/vitals/node.toml")

	if out, code := b.upgrade(newDeb); code != 0 || !strings.Contains(out, "vitals-agent is v99.0.0 now") {
		t.Fatalf("upgrade: exit code %d\n%s", code, out)
	}
	b.writes("v99.0.0")
	if b.must("cat", "/etc/vitals/secrets/relay") != token || b.must("cat", "/etc/vitals/node.toml") != node {
		t.Error("the upgrade has changed token or node file")
	}
	b.must("vitals-agent", "upgrade", "--rollback")
	b.writes(was)

	// Killed as soon as it installs: what it has begun is ended all the same.
	b.must("sh", "-c", `vitals-agent upgrade > /run/out 2>&1 & pid=$!
		until grep -q ^Installs /run/out; do kill -0 $pid || exit 1; sleep 0.01; done; kill -KILL $pid`)
	b.writes("v99.0.0")
	b.says("now, and the relay has stored", "cat", "/run/out")
	eventually(t, 3*time.Minute, func() string {
		if left := b.must("ls", "/var/lib/vitals/previous"); left != "vitals-agent\n" {
			return "beside the version before there is still: " + left
		}
		return ""
	})

	out, code := b.upgrade(filepath.Base(crash))
	if code != 1 || !strings.Contains(out, "v99.0.0 is back") {
		t.Errorf("a version that ends at once: exit code %d\n%s", code, out)
	}
	b.writes("v99.0.0")
	out, code = b.upgrade(filepath.Base(mute))
	if code != 1 || !strings.Contains(out, "v99.0.0 is back") || !strings.Contains(out, "nothing that it wrote was answered within 1m0s") {
		t.Errorf("a version that cannot write: exit code %d\n%s", code, out)
	}
	b.writes("v99.0.0")

	b.cutOff()
	if out, err := b.join(); err != nil || !strings.Contains(out, "joins anew") {
		t.Errorf("%v\n%s", err, out)
	}
	b.writes("v99.0.0")
	b.must("vitals-agent", "leave")
	if got := b.try("systemctl", "is-active", "vitals-agent") + b.try("systemctl", "is-enabled", "vitals-agent"); got != "inactive\ndisabled\n" {
		t.Errorf("after leave the unit is %s", got)
	}
	b.must("rm", "-r", "/var/lib/vitals/previous", "/srv/shelf") // an upgrade's, and the relay's
	if d := cmp.Diff(before, b.traces()); d != "" {
		t.Errorf("what there was before joining has -, after leaving +\n%s", d)
	}
	if got := b.must("vitals-relay", "token", "list"); strings.Contains(got, "pi-7") {
		t.Errorf("the relay still has a token:\n%s", got)
	}
}

// traces are the paths that were added, but for the relay's.
func (b *joined) traces() []string {
	b.t.Helper()
	paths := slices.DeleteFunc(b.added(), func(path string) bool { return strings.HasPrefix(path, "/var/lib/hub/") })
	slices.Sort(paths)
	return paths
}

// cutOff revokes the node's token on the relay, after which none of its writes is taken.
func (b *joined) cutOff() {
	b.t.Helper()
	id := strings.Split(b.must("cat", "/etc/vitals/secrets/relay"), "_")[1]
	b.must("vitals-relay", "token", "revoke", id)
	eventually(b.t, 3*time.Minute, func() string {
		if _, state := b.agent(); state != "failing" {
			return "with its token revoked, the agent's output is " + state
		}
		return ""
	})
	b.says("401", "vitals-agent", "status")
}
