package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// booted is this machine once more, as far as files, users, processes, network
// and systemd are concerned: it begins with the same files, and what is changed
// there is changed in memory.
//
//	namespaces: mount, process, network, cgroup, host name
//	/ ─lower─┐
//	upper ───┴─► root, in which systemd is process 1
//	/mnt: packages   /run/upper: what is not as it was
type booted struct {
	t   *testing.T
	pid int // of its systemd
}

// bootScript gets a folder, the packages, and what to run in the end.
const bootScript = `set -eu
dir=$1 packages=$2
mount -t tmpfs -o mode=755 tmpfs "$dir"
mkdir "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
cd "$dir/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount --rbind /dev dev
mkdir run/upper
mount --bind "$dir/upper" run/upper
mount --bind "$packages" mnt
ip link set lo up
# Of what this machine starts nothing is wanted.
rm -f etc/systemd/system/*.wants/* lib/systemd/system/*.wants/* usr/sbin/policy-rc.d
rm -rf etc/vitals etc/default/vitals var/lib/vitals
mkdir -p etc/systemd/system/service.d
printf '[Service]\nStandardOutput=append:/var/log/units\nStandardError=append:/var/log/units\n' > etc/systemd/system/service.d/log.conf
printf '[Unit]\nDefaultDependencies=no\n' > etc/systemd/system/alone.target
mkdir run/outer
pivot_root . run/outer
exec chroot . sh -c 'umount -l /run/outer && exec "$@"' sh env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=test /lib/systemd/systemd --system --unit=alone.target --log-target=console
`

// boot starts one, with a folder of packages in /mnt. It is gone when the test
// ends.
func boot(t *testing.T, packages string) *booted {
	t.Helper()
	requireRoot(t, "make namespaces in which systemd runs")
	dir := t.TempDir()
	log := &bytes.Buffer{}
	cmd := exec.Command("unshare", "--mount", "--pid", "--net", "--cgroup", "--uts", "--fork", "--kill-child", "sh", "-c", bootScript, "boot", dir, packages)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	b := &booted{t: t}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of what its programs have logged:\n%s", tail([]byte(b.try("sh", "-c", "systemctl status vitals-agent vitals-relay; cat /var/log/units")), 6000))
		}
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("systemd:\n%s", tail(log.Bytes(), 4000))
		}
	})
	eventually(t, 3*time.Minute, func() string {
		select {
		case <-ended:
			t.Fatalf("systemd does not start:\n%s", log.Bytes())
		default:
		}
		child, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		if b.pid, _ = strconv.Atoi(strings.TrimSpace(string(child))); err != nil || b.pid == 0 {
			return "there is no first process yet"
		}
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", b.pid)); string(name) != "systemd\n" {
			return "the first process is " + string(name)
		}
		if state := b.try("systemctl", "is-system-running"); !strings.HasPrefix(state, "running") {
			return "systemd is " + state
		}
		return ""
	})
	return b
}

// command is one that runs there as root, as if typed.
func (b *booted) command(args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(b.pid), "--all", "--root", "--wd", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return exec.Command("nsenter", append(enter, args...)...)
}

// try returns what a command prints, whether it succeeds or not.
func (b *booted) try(args ...string) string {
	out, _ := b.command(args...).CombinedOutput()
	return string(out)
}

// must returns what a command prints, which has to succeed.
func (b *booted) must(args ...string) string {
	b.t.Helper()
	out, err := b.command(args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// file writes a file there.
func (b *booted) file(path, mode, text string) {
	b.t.Helper()
	cmd := b.command("sh", "-c", `mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"`, "file", path, mode)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("write %s: %v\n%s", path, err, out)
	}
}

// processes are those of a program that run there.
func (b *booted) processes(program string) string {
	return b.try("sh", "-c", `for p in /proc/[0-9]*; do case $(readlink $p/exe) in "$1"*) echo ${p#/proc/} $(tr '\0' ' ' < $p/cmdline);; esac; done`, "ps", program)
}

// added are the files and directories that were not there when it was booted, but
// for those of the package managers and the lists of users.
func (b *booted) added() (paths []string) {
	b.t.Helper()
	for _, path := range strings.Fields(b.must("find", "/run/upper", "-mindepth", "1", "!", "-type", "c", "-printf", "/%P\n")) {
		if _, err := os.Lstat(path); err == nil {
			continue // it was there
		}
		switch {
		case strings.HasPrefix(path, "/var/lib/dpkg/"), strings.HasPrefix(path, "/root/.rpmdb/"), strings.HasPrefix(path, "/var/log/"),
			strings.HasPrefix(path, "/var/cache/"), path == "/etc/.pwd.lock",
			path == "/usr/share/zsh/site-functions",                       // another package's, of which rpm knows nothing here
			strings.HasSuffix(path, "-") && strings.Count(path, "/") == 2: // /etc/passwd- and the like
		default:
			paths = append(paths, path)
		}
	}
	return paths
}

// leavesNothing fails if a process of ours runs, or a file is there that was not.
func (b *booted) leavesNothing(before []string, more string) {
	b.t.Helper()
	if got := b.processes("/usr/bin/vitals-"); got != "" {
		b.t.Errorf("these processes are left:\n%s", got)
	}
	for _, path := range b.added() {
		if !slices.Contains(before, path) {
			b.t.Errorf("%s is left", path)
		}
	}
	if got := b.try("find", more, "-maxdepth", "1", "-name", "vitals*"); got != "" {
		b.t.Errorf("left: %s", got)
	}
}

// packageIn returns the file of a package in a folder.
func packageIn(t *testing.T, dir, name, arch, end string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, name+"_*_"+arch+end))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s has these packages %s for %s: %v", dir, name, arch, found)
	}
	return found[0]
}
