package tests

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kept runs plugins check on a file and fails unless it has nothing to say.
func (m *machine) kept(file string, args ...string) {
	m.t.Helper()
	stdout, stderr, code := run(m.t, m.command("vitals-agent", append([]string{"plugins", "check", file}, args...)...))
	if code != 0 || !strings.HasSuffix(stdout, " ok, 0 warnings, 0 failed\n") {
		m.t.Errorf("%s: exit code %d\n%s%s", file, code, stdout, stderr)
	}
}

// prints runs a test gather of one input and fails unless its only line is
// like want.
func (m *machine) prints(config, input, want string) {
	m.t.Helper()
	stdout, stderr, code := run(m.t, m.command("vitals-agent", "--config", config, "--test", "--input-filter", input))
	if code != 0 || !regexp.MustCompile(`^(> `+want+`\n)+$`).MatchString(stdout) {
		m.t.Errorf("%s: exit code %d, no line like %s\n%s%s", input, code, want, stdout, stderr)
	}
}

// newcomer lets Go work as it does for an author: what the new module needs
// besides this one's modules it fetches.
func (m *machine) newcomer(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(cmd.Env, "GOSUMDB=off", "GOFLAGS=-mod=mod", "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
	return cmd
}

// A collector from nothing to its first line, as the guide has it.
func TestACollectorIsWrittenBuiltCheckedAndRun(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	stdout, stderr, code := run(t, m.command("vitals-agent", "plugins", "new", "barometer_2", "--vitals", root))
	if code != 0 || !strings.Contains(stdout, "\n  cd barometer_2\n  make test && make ") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	_, stderr, code = run(t, m.command("vitals-agent", "plugins", "new", "barometer_2"))
	if code != 1 || !strings.Contains(stderr, "barometer_2 is not empty, and nothing is overwritten") {
		t.Errorf("a second time: exit code %d\n%s", code, stderr)
	}
	for _, target := range [][]string{{"test"}, {"build"}, {"check"}, {"install", "DIRECTORY=" + m.dir + "/plugins"}} {
		make := m.newcomer(m.command("make", target...))
		make.Dir = filepath.Join(m.dir, "barometer_2")
		if stdout, stderr, code := run(t, make); code != 0 {
			t.Fatalf("make %v: exit code %d\n%s%s", target, code, stdout, stderr)
		}
	}
	again := m.newcomer(m.command("make", "build"))
	again.Dir = filepath.Join(m.dir, "barometer_2")
	if stdout, stderr, code := run(t, again); code != 0 || strings.Contains(stdout, "go mod tidy") {
		t.Errorf("a second make: exit code %d\n%s%s", code, stdout, stderr)
	}
	config := m.file("node.toml", "[agent]\n  hostname = \"n1\"\n  plugin_directory = [\"$DIR/plugins\"]\n[[inputs.barometer_2]]\n[[outputs.file]]\n")
	m.prints(config, "barometer_2", `barometer_2,host=n1,path=/proc/loadavg value=[0-9.]+ \d+`)
	left, err := filepath.Glob(m.dir + "/plugins/.*")
	if err != nil || len(left) > 0 {
		t.Errorf("make install leaves %v, %v", left, err)
	}
}

// A lock file that anybody may write to would pin nothing.
func TestPinningNeedsTheOwner(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	open, err := os.MkdirTemp("", "vitals") // where another user may go, unlike t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(open) })
	agent, file, lock := filepath.Join(open, "vitals-agent"), filepath.Join(open, "vitals-plugin-x"), filepath.Join(open, "lock")
	config := filepath.Join(open, "node.toml")
	program, err := os.ReadFile(filepath.Join(root, "bin", "vitals-agent"))
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		agent: program, file: []byte("#!/bin/sh\n"),
		config: []byte("[agent]\n  plugin_lock_file = \"" + lock + "/plugins.lock\"\n[[inputs.cpu]]\n"),
	} {
		if err := writeFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(open, 0o755), os.Mkdir(lock, 0o555)); err != nil {
		t.Fatal(err)
	}
	cmd := m.command(agent, "plugins", "trust", file, "--config", config)
	if cmd.Dir = open; os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	_, stderr, code := run(t, cmd)
	if code != 1 || !strings.Contains(stderr, "permission denied") || !strings.Contains(stderr, "try again with sudo") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// installNode puts the files of the Node.js example, and what they need, beside
// each other in a plugin directory.
func (m *machine) installNode(dir string) {
	m.t.Helper()
	for _, from := range []string{"plugins/examples/node/package.json", "plugins/examples/node/package-lock.json", "plugins/examples/node/.npmrc",
		"plugins/examples/node/vitals.js", "plugins/examples/node/vitals-plugin-nodedice", "plugins/proto/collector.proto"} {
		text, err := os.ReadFile(filepath.Join(root, from))
		if err == nil {
			err = writeFile(filepath.Join(dir, filepath.Base(from)), text, 0o755)
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
	npm := m.command("npm", "ci", "--no-audit", "--no-fund")
	npm.Dir = dir
	if stdout, stderr, code := run(m.t, npm); code != 0 {
		m.t.Fatalf("npm ci: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// Each example is a collector to the agent as any other.
func TestExamples(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	dir := m.buildPlugin("dice", "./plugins/examples/dice")
	m.installPython(dir)
	m.installNode(dir)
	config := m.file("node.toml", "[agent]\n  hostname = \"n1\"\n  plugin_directory = [\"$DIR/plugins\"]\n[[outputs.file]]\n"+
		"[[inputs.dice]]\n  sides = 1\n[[inputs.pydice]]\n  sides = 1\n[[inputs.nodedice]]\n  sides = 1\n")
	for name, line := range map[string]string{"dice": "dice,host=n1", "pydice": "dice,host=n1,made_in=python", "nodedice": "dice,host=n1,made_in=node"} {
		m.kept(filepath.Join(dir, "vitals-plugin-"+name))
		m.prints(config, name, line+` value=1i \d+`)
	}
}

// What vitals.js makes of awkward values is what InfluxDB reads back.
func TestLinesOfNode(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	dir := filepath.Join(m.dir, "plugins")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m.installNode(dir)
	m.file("plugins/vitals-plugin-odd", `#!/usr/bin/env node
const { serve, Collector } = require('./vitals.js');
class Odd extends Collector {
  static collector = 'odd';
  static options = { fails: false };
  async gather(batch) {
    console.log('printed');
    batch.point('a b', { 'x,y': 'q"\\', n: NaN, u: undefined, i: 5n, o: true, f: 1.5 }, { 't=1': 'v,w', b: 'c\\', a: '', z: 'line\nbreak' }, 1700000000000000000n);
    batch.point('nothing', { n: null });
    if (this.fails) throw new Error('out of order');
  }
}
serve(Odd);
`)
	if err := os.Chmod(filepath.Join(dir, "vitals-plugin-odd"), 0o755); err != nil {
		t.Fatal(err)
	}
	const node = "[agent]\n  omit_hostname = true\n  plugin_directory = [\"$DIR/plugins\"]\n[[inputs.odd]]\n"
	want := `> a\ b,b=c,t\=1=v\,w,z=line\nbreak x\,y="q\"\\",i=5i,o=true,f=1.5 1700000000000000000` + "\n"
	stdout, stderr, code := run(t, m.command("vitals-agent", "--config", m.file("node.toml", node), "--test"))
	if stdout != want || code != 0 {
		t.Errorf("exit code %d\n got %swant %s%s", code, stdout, want, stderr)
	}
	stdout, stderr, code = run(t, m.command("vitals-agent", "--config", m.file("fails.toml", node+"  fails = true\n"), "--test"))
	if stdout != want || code != 1 || !strings.Contains(stderr, "odd: Error: out of order") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// Programs that cannot speak gRPC are run by exec and execd.
func TestShellExamples(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	tables, err := os.ReadFile(filepath.Join(root, "plugins/examples/shell/inputs.toml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(tables), "/usr/local/lib/vitals", filepath.Join(root, "plugins/examples/shell"))
	config := m.file("node.toml", "[agent]\n  interval = \"1s\"\n  flush_interval = \"1s\"\n  hostname = \"n1\"\n  buffer_directory = \"$DIR/buffer\"\n"+
		text+"[[outputs.file]]\n  files = [\"$DIR/lines\"]\n")
	agent := m.start("vitals-agent", "--config", config)
	eventually(t, 30*time.Second, func() string {
		lines, _ := os.ReadFile(filepath.Join(m.dir, "lines"))
		for _, want := range []string{`(?m)^shell_processes,host=n1 total=\d+i \d+$`, `(?m)^shell_counter,host=n1,made_in=sh count=1i \d+$`,
			`(?m)^shell_counter,host=n1,made_in=sh count=3i \d+$`} {
			if !regexp.MustCompile(want).Match(lines) {
				return "no line like " + want + " in\n" + string(lines)
			}
		}
		return ""
	})
	agent.stop()
	log, err := os.ReadFile(agent.log)
	if err != nil || !strings.Contains(string(log), "level=INFO msg=counting") {
		t.Errorf("%v, what it says is not in the log:\n%s", err, log)
	}
}
