package tests

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// appendConfig adds text to the cluster's node file.
func (c *cluster) appendConfig(text string) {
	c.t.Helper()
	old, err := os.ReadFile(c.config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.file("node.toml", string(old)+text)
}

func TestBadConfigurationStartsNothing(t *testing.T) {
	t.Parallel()
	const output = "[[outputs.file]]\n"
	tests := []struct {
		name, program, text string
		want                []string // each is in what is printed
	}{
		{"misspelt agent option", "vitals-agent", "[agent]\n\nintervall = \"1s\"\n[[inputs.cpu]]\n" + output,
			[]string{"node.toml:3:1: agent.intervall", `"interval"`}},
		{"misspelt option of a collector", "vitals-agent", "[[inputs.cpu]]\n  percpux = true\n" + output,
			[]string{"node.toml:2:3: inputs.cpu.percpux", `"percpu"`}},
		{"wrong type in a collector", "vitals-agent", "[[inputs.cpu]]\n  percpu = \"yes\"\n" + output,
			[]string{"node.toml:2:3: inputs.cpu.percpu"}},
		{"nothing to run", "vitals-agent", "[[inputs.cpu]]\n[[inputs.exec]]\n  timeout = \"1s\"\n[[inputs.execd]]\n  command = []\n" + output,
			[]string{"node.toml:2:1: inputs.exec.commands: name the programs to run", "node.toml:5:3: inputs.execd.command: name the program to run"}},
		{"misspelt collector", "vitals-agent", "[[inputs.cpuu]]\n" + output,
			[]string{"node.toml:1:1: inputs.cpuu", "cpu"}},
		{"missing drop-in", "vitals-agent", "[agent]\nplugin_directory = [\"$DIR/a\", \"$DIR/b\"]\n[[inputs.barometer]]\n" + output,
			[]string{"node.toml:3:1: inputs.barometer", "/a/vitals-plugin-barometer", "/b/vitals-plugin-barometer"}},
		{"misspelt output", "vitals-agent", "[[inputs.cpu]]\n[[outputs.influxdb_v3]]\n",
			[]string{"node.toml:2:1: outputs.influxdb_v3", "influxdb_v2"}},
		{"misspelt output option", "vitals-agent", "[[inputs.cpu]]\n[[outputs.influxdb]]\n  url = [\"http://127.0.0.1:1\"]\n",
			[]string{"node.toml:3:3: outputs.influxdb.url", `"urls"`}},
		{"unknown table", "vitals-agent", "[[inputs.cpu]]\n" + output + "[rely]\n",
			[]string{"node.toml:3:1: rely", `"relay"`}},
		{"a filter that is no pattern", "vitals-agent", "[[inputs.cpu]]\n  namepass = [\"cpu[\"]\n" + output,
			[]string{"node.toml:2:3: inputs.cpu.namepass", `"cpu["`}},
		{"syntax", "vitals-agent", "[agent]\ninterval = 10s\n",
			[]string{"node.toml:2"}},
		{"no output", "vitals-agent", "[[inputs.cpu]]\n",
			[]string{"node.toml", "no output"}},
		{"no input", "vitals-agent", output,
			[]string{"node.toml", "no input"}},
		{"two mistakes at once", "vitals-agent", "[agent]\nintervall = 1\n[[inputs.cpu]]\npercpux = 1\n" + output,
			[]string{"node.toml:2:1: agent.intervall", "node.toml:4:1: inputs.cpu.percpux"}},
		{"misspelt relay option", "vitals-relay", "[relay]\nlisen = \"127.0.0.1:$PORT\"\n",
			[]string{"node.toml:2:1: relay.lisen", `"listen"`}},
		{"misspelt option of a destination", "vitals-relay", "[relay]\nlisten = \"127.0.0.1:$PORT\"\n[[relay.destinations]]\nname = \"a\"\nurl = \"http://127.0.0.1:1\"\n[[relay.destinations]]\nname = \"b\"\nurl = \"http://127.0.0.1:1\"\nversio = 2\n",
			[]string{"node.toml:9:1: relay.destinations.versio", `"version"`}},
		{"destination without a url", "vitals-relay", "[[relay.destinations]]\nname = \"a\"\n",
			[]string{"node.toml:1:1: relay.destinations.url"}},
		{"unknown table", "vitals-relay", "[relays]\n",
			[]string{"node.toml:1:1: relays", `"relay"`}},
	}
	for _, tt := range tests {
		t.Run(tt.program+" "+tt.name, func(t *testing.T) {
			m := newMachine(t)
			port := itoa(freePort(t))
			file := m.file("node.toml", strings.ReplaceAll(tt.text, "$PORT", port))
			stdout, stderr, code := run(t, m.command(tt.program, "--config", file))
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("it does not say %s:\n%s", want, stderr)
				}
			}
			if stdout != "" {
				t.Errorf("standard output: %s", stdout)
			}
			m.requireNothingStarted(port)
		})
	}
}

// requireNothingStarted fails if a program has made files, sockets or a
// listener.
func (m *machine) requireNothingStarted(port string) {
	m.t.Helper()
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "node.toml" {
			m.t.Errorf("%s was made", e.Name())
		}
	}
	for _, name := range []string{"agent.sock", "relay.sock"} {
		run := strings.TrimPrefix(m.env[len(m.env)-1], "RUNTIME_DIRECTORY=")
		if _, err := os.Stat(filepath.Join(run, name)); err == nil {
			m.t.Errorf("%s was made", name)
		}
	}
	if conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second); err == nil {
		conn.Close()
		m.t.Error("something listens")
	}
}

// commented matches the lines of the example that show a default, or a table
// that is not needed everywhere.
var commented = regexp.MustCompile(`(?m)^( *)#( +(?:\[\[?[a-z_.0-9]+\]\]?|[a-z_]+ = .*))$`)

// Everything that the example shows in comments is sound as well.
func TestExampleNodeFileIsSoundWhenUncommented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "config.example.toml"))
	if err != nil {
		t.Fatal(err)
	}
	all := commented.ReplaceAllString(string(text), "$1$2")
	m := newMachine(t)
	m.file("password", "secret\n")
	for _, name := range []string{"influxdb.password", "influxdb.token", "tls.crt", "tls.key", "clients-ca.crt", "ntfy.token", "telegram.token", "chat.key"} {
		all = strings.ReplaceAll(all, "/etc/vitals/"+name, "$DIR/password")
	}
	certificate, key := selfSigned(t)
	m.file("relay.pem", certificate)
	m.file("relay.key", key)
	all = strings.NewReplacer("/etc/vitals/ca.pem", "$DIR/relay.pem", "/etc/vitals/relay.", "$DIR/relay.").Replace(all)
	file := m.file("node.toml", all)
	m.env = append(m.env, "INFLUX_PASSWORD=a", "INFLUX_TOKEN=b")
	for _, want := range []string{"[[outputs.influxdb_v2]]", "[relay.queue]", "[relay.auth]", "[relay.tls]", "[[relay.destinations]]", "\n   replication = 3"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is still a comment", want)
		}
	}
	if _, stderr, code := run(t, m.command("vitals-agent", "config", "check", "--config", file)); code != 0 {
		t.Errorf("vitals-agent config check: exit code %d\n%s", code, stderr)
	}
	if _, stderr, code := run(t, m.command("vitals-relay", "config", "check", "--config", file)); code != 0 {
		t.Errorf("vitals-relay config check: exit code %d\n%s", code, stderr)
	}
}

func TestExampleNodeFileIsSound(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	example := filepath.Join(root, "config.example.toml")
	stdout, stderr, code := run(t, m.command("vitals-agent", "--config", example, "--test"))
	if code != 0 {
		t.Fatalf("vitals-agent --test: exit code %d\n%s", code, stderr)
	}
	for _, want := range []string{"> cpu,", "> mem,", "> swap,", "> node_info,"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no line begins with %s:\n%s", want, stdout)
		}
	}
	if _, stderr, code := run(t, m.command("vitals-relay", "config", "check", "--config", example)); code != 0 {
		t.Errorf("vitals-relay config check: exit code %d\n%s", code, stderr)
	}
}
