package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// distribution is what make dist makes of this tree, in dist/.
var distribution = sync.OnceValues(func() (string, error) {
	return filepath.Join(root, "dist"), makeDist(root)
})

func makeDist(dir string, variables ...string) error {
	dist := exec.Command("make", append([]string{"--no-print-directory", "dist"}, variables...)...)
	dist.Dir = dir
	if out, err := dist.CombinedOutput(); err != nil {
		return fmt.Errorf("make dist: %w\n%s", err, out)
	}
	return nil
}

// The same commit gives the same bytes in another folder, to another user with
// another zone, language and umask.
func TestDistributionIsTheSameElsewhere(t *testing.T) {
	t.Parallel()
	dist, err := distribution()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "another", "folder")
	copied := exec.Command("sh", "-c", `mkdir -p "$1" && tar --exclude=./bin --exclude=./dist --exclude=./.run -cf - . | tar -C "$1" -xf -`, "copy", elsewhere)
	copied.Dir = root
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	again := exec.Command("sh", "-c", "umask 077 && make --no-print-directory dist")
	again.Dir = elsewhere
	again.Env = append(os.Environ(), "TZ=Asia/Kathmandu", "LC_ALL=C.UTF-8", "USER=somebody", "HOSTNAME=elsewhere")
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("make dist: %v\n%s", err, out)
	}
	here, there := content(t, filepath.Join(dist, "SHA256SUMS")), content(t, filepath.Join(elsewhere, "dist/SHA256SUMS"))
	if here != there {
		t.Errorf("here\n%selsewhere\n%s", here, there)
	}
	// Three architectures with two programs, what these are made of, three kinds
	// of packages, and the package of packages.
	if n := strings.Count(here, "\n"); n != 3*2*(1+1+3)+3 {
		t.Errorf("there are %d files:\n%s", n, here)
	}
	check := exec.Command("sha256sum", "--check", "--quiet", "SHA256SUMS")
	check.Dir = dist
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// lines of a command's output, sorted.
func linesOf(t *testing.T, name string, args ...string) []string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v; sh tests/install.sh installs what the tests need", name, args, err)
	}
	all := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(all)
	return all
}

// The packages for dpkg and rpm, and the archive, hold the same files.
func TestPackagesHoldTheSame(t *testing.T) {
	t.Parallel()
	dist, err := distribution()
	if err != nil {
		t.Fatal(err)
	}
	// The folder for zsh is the distribution's.
	zsh := strings.NewReplacer("/zsh/vendor-completions/", "/zsh/site-functions/")
	for _, name := range []string{"vitals-agent_amd64", "vitals-agent_arm64", "vitals-agent_armhf", "vitals-relay_amd64", "vitals-relay_arm64", "vitals-relay_armhf", "vitals-packages_all"} {
		name, arch, _ := strings.Cut(name, "_")
		var deb, rpm, archive []string
		for _, line := range linesOf(t, "dpkg-deb", "--contents", packageIn(t, dist, name, arch, ".deb")) {
			f := strings.Fields(line)
			if path := strings.TrimPrefix(f[5], "."); f[0][0] != 'd' {
				deb = append(deb, zsh.Replace(path)+" "+f[0]+" "+f[1])
			}
		}
		for _, line := range linesOf(t, "rpm", "-qp", "--qf", "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME}\n]", packageIn(t, dist, name, arch, ".rpm")) {
			if f := strings.Fields(line); f[1][0] != 'd' {
				rpm = append(rpm, line)
			}
		}
		for _, line := range linesOf(t, "tar", "-tvzf", packageIn(t, dist, name, arch, ".tar.gz")) {
			f := strings.Fields(line)
			archive = append(archive, "/"+f[5]+" "+f[0]+" "+f[1])
		}
		slices.Sort(deb)
		slices.Sort(archive)
		if d := cmp.Diff(deb, rpm); d != "" {
			t.Errorf("%s for %s: dpkg's has -, rpm's has +\n%s", name, arch, d)
		}
		if d := cmp.Diff(rpm, archive); d != "" {
			t.Errorf("%s for %s: rpm's has -, the archive has +\n%s", name, arch, d)
		}
		want := "/usr/bin/" + name + " -rwxr-xr-x root/root"
		if name == "vitals-packages" {
			want = "/usr/share/vitals/packages/" + filepath.Base(packageIn(t, dist, "vitals-agent", "armhf", ".deb")) + " -rw-r--r-- root/root"
		}
		if !slices.Contains(deb, want) {
			t.Errorf("%s for %s has no %s:\n%s", name, arch, want, strings.Join(deb, "\n"))
		}
	}
}

// nodeOfTheTest is a node file for both programs. Nobody takes what the relay has.
const nodeOfTheTest = `
[agent]
  interval = "1s"
  flush_interval = "1s"
[[inputs.cpu]]
[[inputs.ram]]
[[inputs.swap]]
[[inputs.node]]
[[inputs.disk]]
[[inputs.diskio]]
[[inputs.net]]
[[inputs.processes]]
[[inputs.system]]
[[inputs.kernel]]
[[outputs.influxdb]]
  urls = ["http://127.0.0.1:8186"]
  database = "node_vitals"
  skip_database_creation = true
  username = "vitals"
  password = "${VITALS_TOKEN}"

[relay]
  listen = "127.0.0.1:8186"
[relay.auth]
  mode = "required"
[[relay.destinations]]
  name = "influxdb"
  url = "http://127.0.0.1:8086"
`

// fleetOfOne is agent and relay as packages have installed them.
type fleetOfOne struct {
	*booted
	token string
}

// state is what has to outlive a change of the packages.
type state struct {
	agent, relay string // their versions
	lines        int    // that wait in the relay
	pids         string
}

// start has both run, as they would after init. Nobody takes what the relay gets.
func (f *fleetOfOne) start() {
	f.t.Helper()
	f.file("/etc/vitals/node.toml", "644", nodeOfTheTest)
	f.must("systemctl", "start", "vitals-relay")
	out, err := f.command("sh", "-c", `vitals-relay token create --node "$(hostname)"`).Output()
	if err != nil {
		f.t.Fatal(err)
	}
	f.token, _, _ = strings.Cut(string(out), "\n")
	f.file("/etc/default/vitals", "600", "VITALS_TOKEN="+f.token+"\n")
	f.must("systemctl", "enable", "--quiet", "--now", "vitals-agent", "vitals-relay")
}

// works waits until every input of the agent is well and the relay has got more
// than so many lines, all of which wait.
func (f *fleetOfOne) works(moreThan int) (s state) {
	f.t.Helper()
	eventually(f.t, 3*time.Minute, func() string {
		var agent struct {
			Version string
			Inputs  []struct{ Name, State string }
			Outputs []struct{ State string }
		}
		text := f.try("vitals-agent", "status", "--json")
		if err := json.Unmarshal([]byte(text), &agent); err != nil {
			return text
		}
		for _, i := range agent.Inputs {
			if i.State != "ok" {
				return i.Name + " is " + i.State
			}
		}
		var relay struct {
			Version      string
			Destinations []struct{ Backlog struct{ Lines int } }
			Nodes        struct{ Up int }
		}
		text = f.try("vitals-relay", "status", "--json")
		if err := json.Unmarshal([]byte(text), &relay); err != nil {
			return text
		}
		s = state{agent.Version, relay.Version, relay.Destinations[0].Backlog.Lines, f.processes("/usr/bin/vitals-")}
		if s.lines <= moreThan || relay.Nodes.Up != 1 || len(agent.Inputs) != 10 || agent.Outputs[0].State != "ok" {
			return text
		}
		return ""
	})
	return s
}

// keeps fails unless configuration, token and backlog are there still.
func (f *fleetOfOne) keeps(when string) {
	f.t.Helper()
	if got := f.try("cat", "/etc/vitals/node.toml"); got != nodeOfTheTest {
		f.t.Errorf("%s: the node file is\n%s", when, got)
	}
	if got := f.try("cat", "/etc/default/vitals"); !strings.Contains(got, f.token) {
		f.t.Errorf("%s: the token is gone: %s", when, got)
	}
	if got := f.try("find", "/var/lib/vitals/relay/queue/destinations/influxdb", "-name", "*.gz"); !strings.Contains(got, ".gz") {
		f.t.Errorf("%s: the backlog is gone: %s", when, got)
	}
}

// newer is the packages of this architecture and of a version above every other,
// in dist/newer.
var newer = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(root, "dist/newer")
	return dir, makeDist(root, "DIST="+dir, "VERSION=v99.0.0", "TARGETS="+runtime.GOARCH)
})

// together has the packages of both versions in one folder.
func together(t *testing.T, end string, names ...string) (dir string, older, newest []string) {
	t.Helper()
	dir = t.TempDir()
	for _, made := range []func() (string, error){distribution, newer} {
		from, err := made()
		if err != nil {
			t.Fatal(err)
		}
		var here []string
		for _, name := range names {
			arch := runtime.GOARCH
			if name == "vitals-packages" {
				arch = "all"
			}
			path := packageIn(t, from, name, arch, end)
			if err := os.Link(path, filepath.Join(dir, filepath.Base(path))); err != nil {
				t.Fatal(err)
			}
			here = append(here, "/mnt/"+filepath.Base(path))
		}
		older, newest = newest, here
	}
	return dir, older, newest
}

// The packages for dpkg, under a real systemd, with what the units allow: what
// an administrator expects of each step of their life.
func TestDebianPackages(t *testing.T) {
	t.Parallel()
	requireRoot(t, "install packages")
	dir, older, newest := together(t, ".deb", "vitals-agent", "vitals-relay")
	f := &fleetOfOne{booted: boot(t, dir)}
	before := f.added()
	install := func(packages []string) { f.must(append([]string{"dpkg", "--install"}, packages...)...) }

	install(older)
	if got := f.processes("/usr/bin/vitals-"); got != "" {
		t.Errorf("installing starts %s", got)
	}
	if got := f.try("systemctl", "is-enabled", "vitals-agent", "vitals-relay"); got != "disabled\ndisabled\n" {
		t.Errorf("installing enables: %s", got)
	}
	f.start()
	first := f.works(50)
	f.restrained()

	install(newest)
	second := f.works(first.lines)
	if second.agent != "v99.0.0" || second.relay != "v99.0.0" {
		t.Errorf("after the upgrade agent %s and relay %s run", second.agent, second.relay)
	}
	f.keeps("after the upgrade")
	install(older)
	third := f.works(second.lines)
	if third.agent != first.agent || third.relay != first.relay {
		t.Errorf("after the downgrade agent %s and relay %s run", third.agent, third.relay)
	}
	f.keeps("after the downgrade")

	f.must("dpkg", "--remove", "vitals-agent", "vitals-relay")
	if got := f.processes("/usr/bin/vitals-"); got != "" {
		t.Errorf("removing leaves these processes:\n%s", got)
	}
	f.keeps("after removal")
	for _, path := range f.added() {
		if !slices.Contains(before, path) && !strings.HasPrefix(path, "/etc/vitals") && !strings.HasPrefix(path, "/var/lib/vitals") && path != "/etc/default/vitals" {
			t.Errorf("removing leaves %s", path)
		}
	}
	install(older)
	if got := f.processes("/usr/bin/vitals-"); got != "" {
		t.Errorf("installing again starts %s", got)
	}
	f.must("systemctl", "start", "vitals-relay", "vitals-agent")
	f.works(third.lines)

	f.must("dpkg", "--purge", "vitals-agent")
	f.keeps("after the purge of the agent, the relay being there")
	if got := f.processes("/usr/bin/vitals-agent"); got != "" || f.try("ls", "/var/lib/vitals") != "relay\n" {
		t.Errorf("the purge of the agent leaves %s%s", got, f.try("ls", "/var/lib/vitals"))
	}
	f.must("dpkg", "--purge", "vitals-relay")
	f.leavesNothing(before, "/run")
}

// restrained fails unless the programs run as the units say.
func (f *fleetOfOne) restrained() {
	f.t.Helper()
	for program, user := range map[string]string{"vitals-agent": "vitals", "vitals-relay": "vitals-relay"} {
		status := f.must("sh", "-c", fmt.Sprintf("cat /proc/$(systemctl show --value --property MainPID %s)/status", program))
		uid := strings.TrimSpace(f.must("id", "-u", user))
		for _, want := range []string{"\nUid:\t" + uid + "\t" + uid + "\t", "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n", "\nCapBnd:\t0000000000000000\n"} {
			if !strings.Contains(status, want) {
				f.t.Errorf("%s: no %q in\n%s", program, want, status)
			}
		}
	}
}

// The same for rpm, which knows no purge: removing keeps what is not its own.
func TestRPMPackages(t *testing.T) {
	t.Parallel()
	requireRoot(t, "install packages")
	dir, older, newest := together(t, ".rpm", "vitals-agent", "vitals-relay")
	f := &fleetOfOne{booted: boot(t, dir)}
	before := f.added()
	// Of what is installed on Debian rpm knows nothing.
	install := func(packages []string) {
		f.must(append([]string{"rpm", "--upgrade", "--nodeps", "--oldpackage"}, packages...)...)
	}
	install(older)
	if got := f.processes("/usr/bin/vitals-"); got != "" {
		t.Errorf("installing starts %s", got)
	}
	f.start()
	first := f.works(50)
	install(newest)
	second := f.works(first.lines)
	if second.agent != "v99.0.0" || second.relay != "v99.0.0" {
		t.Errorf("after the upgrade agent %s and relay %s run", second.agent, second.relay)
	}
	install(older)
	if third := f.works(second.lines); third.agent != first.agent || third.relay != first.relay {
		t.Errorf("after the downgrade agent %s and relay %s run", third.agent, third.relay)
	}
	f.keeps("after the downgrade")
	f.must("rpm", "--erase", "--nodeps", "vitals-agent", "vitals-relay")
	f.keeps("after removal")
	f.must("rm", "-r", "/etc/vitals", "/var/lib/vitals", "/etc/default/vitals")
	f.leavesNothing(before, "/run")
}

// Without systemd the packages, and the archives, make the same users and
// directories, and removing ends what was started by hand.
func TestPackagesWithoutSystemd(t *testing.T) {
	t.Parallel()
	requireRoot(t, "install packages")
	dir, debian, _ := together(t, ".deb", "vitals-agent", "vitals-relay")
	archives, archived, _ := together(t, ".tar.gz", "vitals-agent", "vitals-relay")
	b := boot(t, dir)
	for _, path := range archived {
		name := filepath.Base(path)
		b.file("/tmp/"+name, "644", content(t, filepath.Join(archives, name)))
	}
	b.must("sh", "-c", "rm -r $(which systemctl systemd-sysusers systemd-tmpfiles) /run/systemd/system")
	before := b.added()
	ready := func(how string) {
		t.Helper()
		got := b.try("stat", "--format", "%n %U %G %a", "/etc/vitals/secrets", "/var/lib/vitals", "/var/lib/vitals/agent", "/var/lib/vitals/relay")
		want := "/etc/vitals/secrets root vitals 750\n/var/lib/vitals root root 755\n" +
			"/var/lib/vitals/agent vitals vitals 750\n/var/lib/vitals/relay vitals-relay vitals-relay 750\n"
		if groups := b.try("id", "-nG", "vitals"); got != want || groups != "vitals video\n" {
			t.Errorf("%s: %s\nvitals is in %s", how, got, groups)
		}
	}
	b.must(append([]string{"dpkg", "--install"}, debian...)...)
	ready("dpkg")
	b.file("/etc/vitals/node.toml", "644", "[[inputs.cpu]]\n[[outputs.discard]]\n")
	b.must("sh", "-c", "install -d -o vitals -m 700 /run/vitals-agent && RUNTIME_DIRECTORY=/run/vitals-agent setsid setpriv --reuid vitals --regid vitals --init-groups vitals-agent >/dev/null 2>&1 </dev/null &")
	b.says("ok", "vitals-agent", "status")
	b.must("dpkg", "--purge", "vitals-agent", "vitals-relay")
	b.leavesNothing(before, "/run")

	b.must("sh", "-c", "userdel vitals; userdel vitals-relay")
	for _, path := range archived {
		b.must("tar", "-xzf", "/tmp/"+filepath.Base(path), "-C", "/")
	}
	b.must("sh", "/usr/lib/vitals/vitals-agent.setup")
	b.must("sh", "/usr/lib/vitals/vitals-relay.setup")
	ready("tar")
	b.must("sh", "/usr/lib/vitals/vitals-agent.setup") // once more changes nothing
	ready("tar, again")
}
