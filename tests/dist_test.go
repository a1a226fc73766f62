package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// emulators are the builds of make dist, as make and as Debian call them, and how
// this machine runs them.
var emulators = []struct{ target, arch, qemu string }{
	{"linux-amd64", "amd64", ""},
	{"linux-arm64", "arm64", "qemu-aarch64"},
	{"linux-armv6", "armhf", "qemu-arm"},
}

// The programs run from their packages on every architecture.
func TestDistributionRunsOnEveryArchitecture(t *testing.T) {
	dist, err := distribution()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range emulators {
		t.Run(e.target, func(t *testing.T) {
			m := newMachine(t)
			if e.qemu != "" {
				registerEmulator(t, e.qemu)
			}
			for _, program := range []string{"vitals-agent", "vitals-relay"} {
				m.must("dpkg-deb", "--extract", packageIn(t, dist, program, e.arch, ".deb"), m.path("root"))
				path := m.path("root/usr/bin/" + program)
				requireStatic(t, path)
				requireSame(t, path, filepath.Join(dist, e.target, program))
				if out, err := exec.Command(path, "version").CombinedOutput(); err != nil || !strings.Contains(string(out), program) {
					t.Errorf("%s version: %v\n%s", program, err, out)
				}
			}
			file := m.file("node.toml", fourCollectors+"[[inputs.node]]\n[[outputs.file]]\n")
			stdout, stderr, code := run(t, m.command(m.path("root/usr/bin/vitals-agent"), "--config", file, "--test"))
			if code != 0 {
				t.Fatalf("--test: exit code %d\n%s%s", code, stdout, stderr)
			}
			for _, want := range []string{"> cpu,cpu=cpu-total", "> mem,", "> swap,", "> node_info,"} {
				if !strings.Contains(stdout, want) {
					t.Errorf("no line begins with %s:\n%s\n%s", want, stdout, stderr)
				}
			}
		})
	}
}

func requireSame(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	if y, err := os.ReadFile(b); err != nil || !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ: %v", a, b, err)
	}
}

func requireStatic(t *testing.T, path string) {
	t.Helper()
	out, err := exec.Command("readelf", "-l", path).CombinedOutput()
	if err != nil {
		t.Fatalf("readelf: %v", err)
	}
	if strings.Contains(string(out), "INTERP") {
		t.Errorf("%s is not static", path)
	}
}

// registerEmulator makes the kernel run foreign programs through qemu, as
// Debian's qemu-user-static does where systemd runs. The agent executes itself
// for its collectors, so starting it by way of qemu's own command line is not
// enough.
func registerEmulator(t *testing.T, name string) {
	t.Helper()
	const binfmt = "/proc/sys/fs/binfmt_misc"
	if _, err := os.Stat(filepath.Join(binfmt, name)); err == nil {
		return
	}
	if _, err := os.Stat(filepath.Join(binfmt, "register")); err != nil {
		if out, err := exec.Command("mount", "-t", "binfmt_misc", "binfmt_misc", binfmt).CombinedOutput(); err != nil {
			t.Fatalf("mount binfmt_misc: %v %s; run the tests as root, or enable %s yourself", err, out, name)
		}
	}
	rule, err := os.ReadFile(fmt.Sprintf("/usr/lib/binfmt.d/%s.conf", name))
	if err != nil {
		t.Fatalf("%v; sh tests/install.sh installs qemu-user-static", err)
	}
	if err := os.WriteFile(filepath.Join(binfmt, "register"), []byte(strings.TrimSpace(string(rule))), 0o200); err != nil && !os.IsExist(err) {
		t.Fatalf("register %s: %v; run the tests as root, or enable it yourself", name, err)
	}
}
