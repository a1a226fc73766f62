package tests

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// island is a machine of its own: network, host name, /etc, /usr, /var and /run
// are others than this machine's, and begin as copies of these. What is done
// there leaves nothing here.
type island struct {
	t       *testing.T
	name    string
	address string
	pid     int    // of the process that holds it
	layers  string // where what is changed on it lies, there
}

// archipelago makes machines in one network. The first has the network's bridge.
func archipelago(t *testing.T, names ...string) []*island {
	t.Helper()
	requireRoot(t, "make machines of namespaces")
	var all []*island
	for i, name := range names {
		m := newIsland(t, name)
		m.address = fmt.Sprintf("10.77.0.%d", i+1)
		all = append(all, m)
		if i == 0 {
			m.must("ip link set lo up && ip link add bridge type bridge && ip addr add " + m.address + "/24 dev bridge && ip link set bridge up")
			continue
		}
		all[0].must(fmt.Sprintf("ip link add to%d type veth peer name eth0 netns %d && ip link set to%d master bridge up", i, m.pid, i))
		m.must("ip link set lo up && ip addr add " + m.address + "/24 dev eth0 && ip link set eth0 up")
	}
	return all
}

// layers puts a layer of its own over each of the folders that installing and
// configuring changes, and takes out what is of vitals.
const layers = `set -e
mount -t tmpfs tmpfs "$1"
for d in etc usr var root; do
	mkdir -p "$1/up/$d" "$1/work/$d"
	mount -t overlay overlay -o "lowerdir=/$d,upperdir=$1/up/$d,workdir=$1/work/$d" "/$d"
done
mount -t tmpfs -o mode=755 tmpfs /run
hostname "$2"
echo "$2" > /etc/hostname
echo "$2" | md5sum | cut -c1-32 > /etc/machine-id
echo "127.0.0.1 localhost $2" > /etc/hosts
rm -rf /etc/vitals /var/lib/vitals /etc/default/vitals /usr/bin/vitals-* /usr/lib/vitals /usr/share/vitals
[ -x /usr/bin/sudo ] || { printf '#!/bin/sh\nexec "$@"\n' > /usr/bin/sudo; chmod 755 /usr/bin/sudo; }
echo ready
exec cat # until the test is over, or killed
`

func newIsland(t *testing.T, name string) *island {
	t.Helper()
	dir, err := os.MkdirTemp("", "vitals")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--uts", "--net", "--propagation", "private", "sh", "-c", layers, "sh", dir, name)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
		os.RemoveAll(dir)
	})
	ready := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(out, ready); err != nil || string(ready) != "ready\n" {
		cmd.Wait()
		t.Fatalf("no machine %s: %q, %v\n%s", name, ready, err, &errs)
	}
	return &island{t: t, name: name, pid: cmd.Process.Pid, layers: dir}
}

// command is a shell's command on the machine.
func (m *island) command(script string) *exec.Cmd {
	cmd := exec.Command("nsenter", "--target", itoa(m.pid), "--mount", "--uts", "--net", "sh", "-c", script)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=xterm", "LC_ALL=C.UTF-8"}
	return cmd
}

// try runs a command to its end.
func (m *island) try(script string) (out string, code int) {
	m.t.Helper()
	stdout, stderr, code := run(m.t, m.command(script))
	return stdout + stderr, code
}

func (m *island) must(script string) string {
	m.t.Helper()
	out, code := m.try(script)
	if code != 0 {
		m.t.Fatalf("%s: %s: exit code %d\n%s", m.name, script, code, out)
	}
	return out
}

// path is where this machine finds a file of that one.
func (m *island) path(name string) string { return fmt.Sprintf("/proc/%d/root%s", m.pid, name) }

func (m *island) write(name, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

func (m *island) read(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(m.path(name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// bring copies a file of this machine to that one.
func (m *island) bring(from, to string) {
	m.t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write(to, string(text), 0o755)
}

// start runs something until the test ends. Its output is shown if the test
// fails.
func (m *island) start(script string) *process {
	m.t.Helper()
	p := &process{t: m.t, cmd: m.command("exec " + script), log: filepath.Join(m.t.TempDir(), m.name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	m.t.Cleanup(func() {
		p.kill()
		if m.t.Failed() {
			text, _ := os.ReadFile(p.log)
			m.t.Logf("%s: the end of what %s says:\n%s", m.name, script, tail(text, 3000))
		}
	})
	return p
}

// agentAs builds vitals-agent under a version, with what the linker is told beside that.
func agentAs(t *testing.T, version string, more ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vitals-agent")
	build := exec.Command("go", "build", "-trimpath", "-tags", strings.Join(append(more, "grpcnotrace,nethttpomithttp2"), ","), "-ldflags", "-s -w -X main.version="+version, "-o", path, "./agent")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// debianPackage packs a program as the package of vitals-agent, with nothing else in it.
func debianPackage(t *testing.T, program, version, arch string) string {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	m := newMachine(t)
	for _, step := range [][]string{
		{"mkdir", "-p", tree + "/DEBIAN", tree + "/usr/bin"},
		{"install", "-m", "755", program, tree + "/usr/bin/vitals-agent"},
		{"sh", "-c", fmt.Sprintf("printf 'Package: vitals-agent\\nVersion: %s\\nArchitecture: %s\\nMaintainer: nobody <nobody@invalid>\\nDescription: for tests\\n' > %s/DEBIAN/control", version, arch, tree)},
		{"dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, dir},
	} {
		if stdout, stderr, code := run(t, m.command(step[0], step[1:]...)); code != 0 {
			t.Fatalf("%v: %s%s", step, stdout, stderr)
		}
	}
	return filepath.Join(dir, fmt.Sprintf("vitals-agent_%s_%s.deb", version, arch))
}

// debianArch is what Debian calls this machine's processor.
func debianArch() string {
	if runtime.GOARCH == "arm" {
		return "armhf"
	}
	return runtime.GOARCH
}
