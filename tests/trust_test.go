package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// stranger is a user of whom nothing is trusted, and whom nobody else is.
const stranger = 12345

const trustNode = `
[agent]
  interval = "2s"
  flush_interval = "200ms"
  hostname = "n1"
  buffer_directory = "$DIR/buffer"
  plugin_directory = ["$DIR/plugins", "$DIR/loose/plugins"]
  plugin_lock_file = "$DIR/etc/plugins.lock"
  # more
[[inputs.cpu]]
  percpu = false
[[outputs.file]]
  files = ["$DIR/lines"]
`

// newTrustBench has inputs of these names, each of whose lines has that name,
// in a folder that other users can enter, and more in its [agent] table.
func newTrustBench(t *testing.T, more string, names ...string) *bench {
	if os.Getuid() != 0 {
		t.Fatal("files and processes of several users are needed; run the tests as root")
	}
	dir, err := os.MkdirTemp("", "vitals")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{machine: newMachine(t), built: map[string][]byte{}, plugins: filepath.Join(dir, "plugins")}
	b.dir = dir
	for _, d := range []string{dir, b.plugins, filepath.Join(dir, "loose/plugins"), filepath.Join(dir, "seen"), filepath.Join(dir, "etc")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		b.chmod(d, 0o755)
	}
	node := strings.Replace(trustNode, "# more", more, 1)
	for _, name := range names {
		node += fmt.Sprintf("[[inputs.%s]]\n  name_override = %q\n", name, name)
	}
	b.config = b.file("node.toml", node)
	return b
}

func (b *bench) chmod(path string, mode os.FileMode) {
	b.t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		b.t.Fatal(err)
	}
}

// says waits until the agent's status holds a text, in which DIR stands for the
// machine's folder.
func (b *bench) says(want string) {
	b.t.Helper()
	eventually(b.t, 2*time.Minute, func() string {
		if s := strings.ReplaceAll(b.status(), b.dir, "DIR"); !strings.Contains(s, want) {
			return fmt.Sprintf("status does not say %q:\n%s", want, s)
		}
		return ""
	})
}

func TestRefusedPluginsAreShownWithTheirRemedy(t *testing.T) {
	t.Parallel()
	b := newTrustBench(t, "", "sound", "theirs", "group", "plain", "setuid", "link", "loose")
	code := b.program("1", "")
	for _, name := range []string{"sound", "theirs"} {
		b.put(name, code, 0o755)
	}
	if err := os.Chown(b.path("theirs"), stranger, stranger); err != nil {
		t.Fatal(err)
	}
	b.put("group", code, 0o775)
	b.put("plain", code, 0o644)
	b.put("setuid", code, 0o755|os.ModeSetuid)
	b.put("link", code, 0o755)
	b.moved("link")
	b.put("loose", code, 0o755)
	if err := os.Rename(b.path("loose"), filepath.Join(b.dir, "loose/plugins/vitals-plugin-loose")); err != nil {
		t.Fatal(err)
	}
	b.chmod(filepath.Join(b.dir, "loose"), 0o777)

	b.agent = b.start("vitals-agent", "--config", b.config)
	b.tells("sound", "1")
	remedy := regexp.MustCompile(`(?m)^(\S+): .* run: (.*)$`)
	for name, want := range map[string]string{
		"theirs": "DIR/plugins/vitals-plugin-theirs belongs to uid 12345, not to root; run: chown root:root DIR/plugins/vitals-plugin-theirs",
		"group":  "DIR/plugins/vitals-plugin-group is writable by its group (mode 0775); run: chmod go-w DIR/plugins/vitals-plugin-group",
		"plain":  "DIR/plugins/vitals-plugin-plain is not executable (mode 0644); run: chmod +x DIR/plugins/vitals-plugin-plain",
		"setuid": "has the set-user-ID or set-group-ID bit (mode 4755); run: chmod ug-s DIR/plugins/vitals-plugin-setuid",
		"link":   "is a symbolic link to DIR/elsewhere",
		"loose":  "DIR/loose is writable by everybody (mode 0777); run: chmod go-w DIR/loose",
	} {
		b.says(want)
		if lines := b.versions(name); len(lines) > 0 {
			t.Errorf("%s was run", name)
		}
	}
	for _, m := range remedy.FindAllStringSubmatch(b.status(), -1) {
		t.Logf("%s: %s", m[1], m[2])
		if out, err := exec.Command("sh", "-c", m[2]).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", m[2], err, out)
		}
	}
	// Nothing tells the agent of what has changed in directories further up.
	if out, err := b.command("vitals-agent", "plugins", "retry", "loose").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range []string{"theirs", "group", "plain", "setuid", "link", "loose"} {
		b.tells(name, "1")
	}
	b.agent.stop()
	b.requireEvery("cpu", nil)
	b.requireEvery("sound", nil)
}

// sha256sum pins files as an operator can without the agent.
func (b *bench) sha256sum(files ...string) {
	b.t.Helper()
	out, err := exec.Command("sha256sum", files...).Output()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "etc/plugins.lock"), out, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func TestOnlyPinnedPluginsAreRun(t *testing.T) {
	t.Parallel()
	b := newTrustBench(t, `plugin_policy = "pinned"`, "hot", "other")
	b.put("hot", b.program("1", ""), 0o755)
	b.put("other", b.program("1", ""), 0o755)
	b.agent = b.start("vitals-agent", "--config", b.config)
	b.says("DIR/plugins/vitals-plugin-hot is not pinned: there is no lock file DIR/etc/plugins.lock; run: vitals-agent plugins trust DIR/plugins/vitals-plugin-hot")
	b.sha256sum(b.path("hot"))
	b.tells("hot", "1")
	b.says("DIR/plugins/vitals-plugin-other is not pinned; run: vitals-agent plugins trust DIR/plugins/vitals-plugin-other")

	b.put("hot", b.program("2", ""), 0o755)
	b.staysAt("1", "has changed since it was pinned")
	b.sha256sum(b.path("hot"))
	b.tells("hot", "2")

	b.sha256sum(b.path("other"), b.path("hot"))
	b.chmod(filepath.Join(b.dir, "etc/plugins.lock"), 0o666)
	b.says("DIR/etc/plugins.lock is writable by everybody (mode 0666); run: chmod go-w DIR/etc/plugins.lock")
	b.chmod(filepath.Join(b.dir, "etc/plugins.lock"), 0o644)
	b.tells("other", "1")
	b.agent.stop()
	b.requireEvery("cpu", nil)
	b.requireEvery("hot", nil)
}

// of reads a file in /proc of the process of an input.
func (b *bench) of(input, file string) string {
	b.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", b.pids()[input], file))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// A collector in Go, one in Python and one that begins as a script run as
// another user, within the default limits, and see nothing of what the agent
// knows, however they look for it.
func TestDropInsAreHeldAndSeeNoSecret(t *testing.T) {
	t.Parallel()
	const token, password = "s3cret-of-the-environment", "s3cret-of-the-node-file"
	b := newTrustBench(t, `plugin_user = "nobody"`, "dice", "pydice", "spy")
	b.installPython(b.buildPlugin("dice", "./plugins/examples/dice"))
	seen := filepath.Join(b.dir, "seen")
	b.chmod(seen, 0o777)
	script := fmt.Sprintf("#!/bin/sh\n(id -u; cat /proc/$$/environ; cat /proc/$PPID/environ; cat %s; ls %s) >%s/spy 2>/dev/stderr\nexec %s\n",
		b.config, strings.TrimPrefix(b.env[len(b.env)-1], "RUNTIME_DIRECTORY="), seen, b.path("dice"))
	b.put("spy", []byte(script), 0o755)
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	b.file("node.toml", string(text)+"[[outputs.influxdb]]\n  urls = [\"http://127.0.0.1:1\"]\n  password = \""+password+"\"\n")
	b.env = append(b.env, "INFLUX_TOKEN="+token)
	b.agent = b.start("vitals-agent", "--config", b.config)
	for _, name := range []string{"dice", "pydice", "spy"} {
		eventually(t, 2*time.Minute, func() string {
			if len(b.versions(name)) < 3 {
				return "no lines of " + name + " yet:\n" + b.status()
			}
			return ""
		})
		for file, want := range map[string]string{
			"limits": `Max data size +536870912 +536870912|Max open files +256 +256|Max core file size +0 +0`,
			"status": `Uid:\s65534\s65534\s65534\s65534|NoNewPrivs:\s1|CapEff:\s0{16}\n`, "oom_score_adj": `^500\n$`,
		} {
			got := b.of(name, file)
			for _, expression := range strings.Split(want, "|") {
				if !regexp.MustCompile(expression).MatchString(got) {
					t.Errorf("%s of %s does not match %q:\n%s", file, name, expression, got)
				}
			}
		}
		if env := b.of(name, "environ"); strings.Contains(env, "s3cret") || !strings.Contains(env, "PATH=") {
			t.Errorf("%s sees %q", name, env)
		}
	}
	spied, err := os.ReadFile(filepath.Join(seen, "spy"))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(spied); strings.Contains(text, "s3cret") || !strings.HasPrefix(text, "65534\n") || !strings.Contains(text, "VITALS_LIFELINE_FD=") {
		t.Errorf("the drop-in has seen %q", text)
	}
	agent, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", b.agent.cmd.Process.Pid))
	if err != nil || !strings.Contains(string(agent), token) {
		t.Errorf("the agent itself has no token: %v", err)
	}
	b.agent.stop()
}

// A program that invents a series with every line fills neither the database
// nor the agent: the rest of what it says arrives.
func TestSeriesThatAreInventedAreDropped(t *testing.T) {
	t.Parallel()
	b := newTrustBench(t, "", "hot")
	b.put("hot", b.program("1", "invent"), 0o755)
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	b.file("node.toml", strings.Replace(string(text), "[[inputs.hot]]", "[[inputs.hot]]\n  max_series = 3\n  max_lines = 4\n", 1))
	b.agent = b.start("vitals-agent", "--config", b.config)
	b.tells("hot", "1")
	b.goesOn("hot")
	b.agent.stop()
	lines, err := os.ReadFile(filepath.Join(b.dir, "lines"))
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]bool{}
	for line := range strings.Lines(string(lines)) {
		if strings.HasPrefix(line, "hot,") {
			key, _, _ := strings.Cut(line, " ")
			series[key] = true
		}
	}
	if len(series) != 3 {
		t.Errorf("%d series, 3 are allowed: %v", len(series), series)
	}
	log, err := os.ReadFile(b.agent.log)
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"max_series", "max_lines"} {
		if n := strings.Count(string(log), option+" in the input's table is the bound"); n != 1 {
			t.Errorf("%s was told of %d times", option, n)
		}
	}
	b.requireEvery("hot", nil)
	b.requireEvery("cpu", nil)
}
