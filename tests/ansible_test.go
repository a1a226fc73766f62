package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestAnsibleMakesANode plays deploy/ansible on a machine that is this one with
// every change of it in memory, twice, and looks where the invite's code goes.
func TestAnsibleMakesANode(t *testing.T) {
	t.Parallel()
	requireRoot(t, "mount")
	m := newMachine(t)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	file := m.file("node.toml", `[relay]
  listen = "`+address+`"
  data_directory = "$DIR/relay"
[relay.tls]
  own_key = true
[relay.auth]
  mode = "required"
`)
	m.start("vitals-relay", "--config", file)
	eventually(t, 60*time.Second, func() string {
		if out, code := m.ask("vitals-relay", "alive"); code != 0 {
			return out
		}
		return ""
	})
	text, stderr, code := run(t, m.command("vitals-relay", "invite", "--uses", "2", "--json", "--url", "https://"+address))
	var invite struct{ Code string }
	if err := json.Unmarshal([]byte(text), &invite); err != nil || code != 0 || invite.Code == "" {
		t.Fatalf("%v %d\n%s%s", err, code, text, stderr)
	}
	m.file("invite.json", text)
	m.file("hosts", "[vitals_nodes]\nlocalhost ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n")
	m.debianPackage("packages")
	m.must("mkdir", "root")
	shown := watchForSecret(t, invite.Code)
	first := m.play()
	if !regexp.MustCompile(`localhost +: ok=\d+ +changed=[34] +unreachable=0 +failed=0`).MatchString(first) || !strings.Contains(first, "This machine joins https://"+address+" as pi-9.") {
		t.Errorf("the first time:\n%s", first)
	}
	out, code := m.ask("vitals-relay", "nodes", "show", "pi-9", "--json")
	if code != 0 || !strings.Contains(out, `"name": "pi-9"`) {
		t.Errorf("it is no node: %s", out)
	}
	second := m.play()
	if !regexp.MustCompile(`localhost +: ok=\d+ +changed=0 +unreachable=0 +failed=0`).MatchString(second) || !strings.Contains(second, "it has joined before") {
		t.Errorf("the second time:\n%s", second)
	}
	if where := shown(); where != "" || strings.Contains(first+second, invite.Code) {
		t.Errorf("the code is shown by %q, or in what Ansible prints:\n%s\n%s", where, first, second)
	}
}

// play runs the playbook once on the other machine; what it has written there is
// in the folder machine.
func (m *machine) play() string {
	m.t.Helper()
	script := fmt.Sprintf(`set -e
hostname pi-9
mount --make-rprivate /
if [ ! -e %[1]s/memory/upper ]; then mkdir -p %[1]s/memory/upper %[1]s/memory/work; fi
mount -t overlay -o lowerdir=/,upperdir=%[1]s/memory/upper,workdir=%[1]s/memory/work overlay %[1]s/root
cd %[1]s/root
mount --rbind /proc proc
mount --rbind /dev dev
mount -t tmpfs run run
mkdir -p .%[1]s .%[2]s
mount --bind %[1]s .%[1]s
mount --bind %[2]s .%[2]s
unset RUNTIME_DIRECTORY
export HOME=%[1]s ANSIBLE_NOCOLOR=1 LC_ALL=C.UTF-8
exec chroot . ansible-playbook -vvv -i %[1]s/hosts -e vitals_invite=%[1]s/invite.json -e vitals_packages=%[1]s/packages %[2]s/deploy/ansible/agent.yml`, m.dir, root)
	out, err := m.command("unshare", "--mount", "--uts", "sh", "-c", script).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// debianPackage makes a package of the agent as it was built, and of nothing else.
func (m *machine) debianPackage(directory string) {
	m.t.Helper()
	architecture, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		m.t.Fatal(err)
	}
	arch := strings.TrimSpace(string(architecture))
	m.file("deb/DEBIAN/control", "Package: vitals-agent\nVersion: 0.0.1\nArchitecture: "+arch+"\nMaintainer: tests <tests@localhost>\nDescription: for a test\n")
	m.must("chmod", "-R", "a+rX", m.path("deb"))
	m.must("install", "-D", filepath.Join(root, "bin/vitals-agent"), "deb/usr/bin/vitals-agent")
	m.must("mkdir", directory)
	m.must("dpkg-deb", "--root-owner-group", "-Znone", "--build", "deb", filepath.Join(directory, "vitals-agent_0.0.1_"+arch+".deb"))
}

// watchForSecret looks into every process's command line and environment until
// the function that it returns is called, which says where secret was.
func watchForSecret(t *testing.T, secret string) (seen func() string) {
	done, where := make(chan struct{}), make(chan string, 1)
	go func() {
		found := ""
		for {
			select {
			case <-done:
				where <- found
				return
			case <-time.After(50 * time.Millisecond):
			}
			for _, name := range []string{"cmdline", "environ"} {
				files, _ := filepath.Glob("/proc/[0-9]*/" + name)
				for _, file := range files {
					if text, _ := os.ReadFile(file); strings.Contains(string(text), secret) {
						found = strings.ReplaceAll(string(text), "\x00", " ")
					}
				}
			}
		}
	}()
	t.Cleanup(func() {
		select {
		case <-done:
		default:
			close(done)
		}
	})
	return func() string {
		close(done)
		return <-where
	}
}
