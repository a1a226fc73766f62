package tests

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bench is an agent that writes to a file, with a drop-in that is replaced
// while it runs.
type bench struct {
	*machine
	agent   *process
	config  string
	plugins string // the plugin directory
	built   map[string][]byte
}

const hotNode = `
[agent]
  interval = "2s"
  flush_interval = "200ms"
  hostname = "n1"
  buffer_directory = "$DIR/buffer"
  plugin_directory = ["$DIR/plugins"]
[[inputs.cpu]]
  percpu = false
[[inputs.hot]]
[[outputs.file]]
  files = ["$DIR/lines"]
`

func newBench(t *testing.T, node string) *bench {
	b := &bench{machine: newMachine(t), built: map[string][]byte{}}
	b.plugins = filepath.Join(b.dir, "plugins")
	if err := os.MkdirAll(b.plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	b.config = b.file("node.toml", node)
	return b
}

// program is the hot plugin, built as asked for.
func (b *bench) program(version, does string) []byte {
	b.t.Helper()
	if code := b.built[version+does]; code != nil {
		return code
	}
	path := filepath.Join(b.dir, "built")
	build := exec.Command("go", "build", "-tags", "grpcnotrace", "-o", path,
		"-ldflags", "-s -w -X main.version="+version+" -X main.does="+does, "./tests/hot")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	code, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	b.built[version+does] = code
	return code
}

func (b *bench) path(name string) string { return filepath.Join(b.plugins, "vitals-plugin-"+name) }

// put makes a plugin's file as it should be done: under another name first.
func (b *bench) put(name string, code []byte, mode os.FileMode) {
	b.t.Helper()
	fresh := filepath.Join(b.plugins, ".fresh")
	if err := writeFile(fresh, code, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(fresh, mode); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(fresh, b.path(name)); err != nil {
		b.t.Fatal(err)
	}
}

// versions are those that the lines of a measurement tell, by their second.
func (b *bench) versions(measurement string) map[int64]string {
	b.t.Helper()
	text, _ := os.ReadFile(filepath.Join(b.dir, "lines"))
	at := map[int64]string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if name, _, _ := strings.Cut(line, ","); name != measurement || len(fields) != 3 || !strings.HasSuffix(line, "\n") {
			continue
		}
		var nano int64
		if _, err := fmt.Sscan(fields[2], &nano); err != nil {
			b.t.Fatalf("%q: %v", line, err)
		}
		at[nano/int64(time.Second)] = fields[1]
	}
	return at
}

// tells waits until the newest line of a measurement has the version.
func (b *bench) tells(measurement, version string) {
	b.t.Helper()
	want := fmt.Sprintf("version=%q", version)
	eventually(b.t, 30*time.Second, func() string {
		if got := b.versions(measurement)[b.last(measurement)]; got != want {
			return fmt.Sprintf("the newest line of %s says %s, want %s", measurement, got, want)
		}
		return ""
	})
}

// status is what the agent says of itself.
func (b *bench) status() string {
	out, _ := b.command("vitals-agent", "status").Output()
	return string(out)
}

// staysAt is the state after a file was put that may not take over: the agent
// says why, and the version before goes on.
func (b *bench) staysAt(version, why string) {
	b.t.Helper()
	eventually(b.t, 30*time.Second, func() string {
		if s := b.status(); !strings.Contains(s, "goes on") || !strings.Contains(s, why) {
			return fmt.Sprintf("status does not say %q:\n%s", why, s)
		}
		return ""
	})
	b.goesOn("hot")
	b.tells("hot", version)
}

// goesOn waits for the lines of two more ticks of a measurement, of which the
// second has begun after what was before.
func (b *bench) goesOn(measurement string) {
	b.t.Helper()
	before := b.last(measurement)
	eventually(b.t, 30*time.Second, func() string {
		if now := b.last(measurement); now < before+2*every {
			return fmt.Sprintf("the newest line of %s is of second %d, and was of %d", measurement, now, before)
		}
		return ""
	})
}

// comesBack waits until an input has another process than before.
func (b *bench) comesBack(input string, before int) {
	b.t.Helper()
	eventually(b.t, 30*time.Second, func() string {
		if now := b.pids()[input]; now == 0 || now == before {
			return fmt.Sprintf("%s has process %d, before %d", input, now, before)
		}
		return ""
	})
}

// last is the second of the newest line of a measurement.
func (b *bench) last(measurement string) (newest int64) {
	b.t.Helper()
	for s := range b.versions(measurement) {
		newest = max(newest, s)
	}
	return newest
}

// requireEvery asserts that no tick is missing from the first line of a
// measurement to its last, but those that except allows.
func (b *bench) requireEvery(measurement string, except func(second int64) bool) {
	b.t.Helper()
	counts := map[int64]int{}
	for s := range b.versions(measurement) {
		counts[s] = 1
	}
	n := requireEveryTick(b.t, measurement, counts, except)
	b.t.Logf("%s: %d ticks, none missing", measurement, n)
}

func pluginsAreReplacedUnderARunningAgent(t *testing.T) {
	t.Parallel()
	b := newBench(t, hotNode)
	b.put("hot", b.program("1", ""), 0o755)
	b.agent = b.start("vitals-agent", "--config", b.config)
	b.tells("hot", "1")

	b.put("hot", b.program("2", ""), 0o755)
	b.tells("hot", "2")
	b.put("hot", b.program("3", "exit"), 0o755)
	b.staysAt("2", "go-plugin handshake")
	b.put("hot", b.program("3", "fail"), 0o755)
	b.staysAt("2", "nothing to be read")
	b.put("hot", b.program("3", "")[:len(b.program("3", ""))/2], 0o755)
	b.staysAt("2", "half")
	b.put("hot", foreign(b.program("3", "")), 0o755)
	b.staysAt("2", "ARM")
	b.put("hot", b.program("3", ""), 0o757)
	b.staysAt("2", "chmod go-w "+b.path("hot"))

	// The program that runs is held: killed, it comes back although its file
	// has been replaced by one that may not be used.
	before := b.pids()["hot"]
	b.goesOn("hot") // so that it is long until the next tick
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.comesBack("hot", before)
	b.goesOn("hot")
	b.tells("hot", "2")

	if err := os.Chmod(b.path("hot"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.tells("hot", "3")
	b.copySlowly("hot", b.program("4", ""))
	b.tells("hot", "4")

	b.moved("hot")
	b.staysAt("4", "symbolic link")

	from := time.Now().Unix() // what is under way may be lost
	if err := os.Remove(b.path("hot")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() string {
		if s := b.status(); !strings.Contains(s, "its file is gone") {
			return s
		}
		return ""
	})
	gone := time.Now().Unix()
	time.Sleep(2 * every * time.Second)
	back := time.Now().Unix()
	b.put("hot", b.program("5", ""), 0o755)
	b.tells("hot", "5")
	b.agent.stop()

	again := int64(math.MaxInt64)
	for s, version := range b.versions("hot") {
		if s > gone && s < back {
			t.Errorf("a line of second %d, when there was no program", s)
		}
		if version == `version="5"` {
			again = min(again, s)
		}
	}
	b.requireEvery("hot", func(s int64) bool { return s >= from-every && s < again })
	b.requireEvery("cpu", nil)
}

// foreign is the program as if it were built for 64-bit ARM.
func foreign(code []byte) []byte {
	code = append([]byte(nil), code...)
	machine := uint16(0xb7) // AArch64
	if binary.LittleEndian.Uint16(code[18:]) == machine {
		machine = 0x3e // x86-64
	}
	binary.LittleEndian.PutUint16(code[18:], machine)
	return code
}

// copySlowly puts a file as cp does over a slow line: it lies there half done
// for longer than the agent waits.
func (b *bench) copySlowly(name string, code []byte) {
	b.t.Helper()
	if err := os.Remove(b.path(name)); err != nil {
		b.t.Fatal(err)
	}
	f, err := os.OpenFile(b.path(name), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	for _, part := range [][]byte{code[:len(code)/3], code[len(code)/3 : len(code)/2], code[len(code)/2:]} {
		time.Sleep(3 * time.Second)
		if _, err := f.Write(part); err != nil {
			b.t.Fatal(err)
		}
	}
}

// moved puts the program elsewhere and a link to it in its place.
func (b *bench) moved(name string) {
	b.t.Helper()
	target := filepath.Join(b.dir, "elsewhere")
	if err := os.Rename(b.path(name), target); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Symlink(target, b.path(name)); err != nil {
		b.t.Fatal(err)
	}
}

// edit changes the node file.
func (b *bench) edit(old, new string) {
	b.t.Helper()
	text, err := os.ReadFile(b.config)
	if err != nil {
		b.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		b.t.Fatalf("no %q in the node file", old)
	}
	b.file("node.toml", strings.Replace(string(text), old, new, 1))
}

func (b *bench) hangup() {
	b.t.Helper()
	if err := b.agent.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		b.t.Fatal(err)
	}
}

func TestTheNodeFileIsReloaded(t *testing.T) {
	t.Parallel()
	b := newBench(t, hotNode)
	b.put("hot", b.program("1", ""), 0o755)
	b.agent = b.start("vitals-agent", "--config", b.config)
	b.tells("hot", "1")
	pids := b.pids()

	// A collector whose program comes after it was asked for.
	b.edit("[[outputs.file]]", "[[inputs.second]]\n  name_override = \"second\"\n[[outputs.file]]")
	b.hangup()
	eventually(t, 10*time.Second, func() string {
		if s := b.status(); !strings.Contains(s, "not reloaded") || !strings.Contains(s, "inputs.second") {
			return s
		}
		return ""
	})
	b.put("second", b.program("2", ""), 0o755)
	b.tells("second", "2")

	// A mistake changes nothing and is told of.
	b.edit("percpu = false", "percpuu = false")
	_, stderr, code := run(t, b.command("vitals-agent", "reload"))
	if code != 1 || !strings.Contains(stderr, `node.toml:9:3: inputs.cpu.percpuu`) || !strings.Contains(stderr, "goes on as it was") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	b.edit("percpuu = false", "percpu = false")

	// A changed table and one that is gone; the others are not touched.
	b.edit("[[inputs.second]]\n  name_override = \"second\"\n", "")
	b.edit("[[inputs.hot]]", "[[inputs.hot]]\n  name_suffix = \"_too\"")
	stdout, stderr, code := run(t, b.command("vitals-agent", "reload"))
	if code != 0 || !strings.Contains(stdout, "inputs: 1 kept, changed hot, stopped second") || !strings.Contains(stdout, "outputs: 1 kept") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	b.tells("hot_too", "1")
	if now := b.pids(); now["cpu"] != pids["cpu"] || now["hot"] != pids["hot"] || now["second"] != 0 {
		t.Errorf("processes %v, before %v", now, pids)
	}
	// An output under another name writes to another file from now on.
	b.edit(`files = ["`+b.dir+`/lines"]`, `files = ["`+b.dir+`/lines", "`+b.dir+`/copy"]`)
	b.hangup()
	eventually(t, 10*time.Second, func() string {
		if text, _ := os.ReadFile(filepath.Join(b.dir, "copy")); !strings.Contains(string(text), "hot_too") {
			return "the second file has no lines"
		}
		return ""
	})
	b.agent.stop()
	b.requireEvery("cpu", nil)
}

func TestTrustingAPluginLetsItRunAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, strings.Replace(hotNode, "[[inputs.cpu]]", "  plugin_policy = \"pinned\"\n  plugin_lock_file = \"$DIR/etc/plugins.lock\"\n[[inputs.cpu]]", 1))
	b.file("etc/README", "of the lock file's directory\n")
	trust := func() {
		t.Helper()
		if _, stderr, code := run(t, b.command("vitals-agent", "--config", b.config, "plugins", "trust", b.path("hot"))); code != 0 {
			t.Fatal(stderr)
		}
	}
	b.put("hot", b.program("1", ""), 0o755)
	b.agent = b.start("vitals-agent", "--config", b.config)
	eventually(t, 20*time.Second, func() string {
		if s := b.status(); !strings.Contains(s, "failed") || !strings.Contains(s, "vitals-agent plugins trust "+b.path("hot")) {
			return s
		}
		return ""
	})
	if n := len(b.versions("hot")); n > 0 {
		t.Errorf("%d lines of a program that is not pinned", n)
	}
	trust()
	b.tells("hot", "1")
	b.put("hot", b.program("2", ""), 0o755)
	b.staysAt("1", "pinned")
	trust()
	b.tells("hot", "2")
	b.agent.stop()
	b.requireEvery("hot", nil)
	b.requireEvery("cpu", nil)
}

// An upgrade replaces the agent's own file. Its built-in collectors and its
// drop-ins come back from the version that runs, until that is restarted.
func TestTheAgentIsReplacedUnderItself(t *testing.T) {
	t.Parallel()
	b := newBench(t, hotNode)
	b.put("hot", b.program("1", ""), 0o755)
	code, err := os.ReadFile(filepath.Join(root, "bin", "vitals-agent"))
	if err != nil {
		t.Fatal(err)
	}
	path := b.file("agent/vitals-agent", string(code))
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	b.agent = b.start(path, "--config", b.config)
	b.tells("hot", "1")
	if err := os.Rename(b.file("agent/fresh", "#!/bin/sh\nexit 1\n"), path); err != nil {
		t.Fatal(err)
	}
	before := b.pids()
	b.goesOn("hot") // so that it is long until the next tick
	for _, name := range []string{"cpu", "hot"} {
		if err := syscall.Kill(before[name], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cpu", "hot"} {
		b.comesBack(name, before[name])
	}
	b.goesOn("hot")
	b.goesOn("cpu")
	b.agent.stop()
	b.requireEvery("cpu", nil)
	b.requireEvery("hot", nil)
}
