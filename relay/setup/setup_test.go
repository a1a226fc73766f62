package setup

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rpicluster/vitals/relay/config"
)

const (
	nodeFile    = "-rw-r--r-- etc/node.toml"
	certificate = "-rw------- state/tls/certificate.pem"
	key         = "-rw------- state/tls/key.pem"
	token       = "-rw------- etc/secrets/relay"
)

func TestAMachineIsSetUpAndNothingIsDoneTwice(t *testing.T) {
	m := newMachine(t, true)
	done := m.must(nil)
	m.wantFiles(nodeFile, certificate, key, token)
	if !done.Running || len(done.Todo) > 0 || !slices.Equal(m.starts, []string{relayUnit, agentUnit}) {
		t.Errorf("%+v, %q", done, m.starts)
	}
	for _, undo := range []string{"rm " + m.path("etc/node.toml"), "disable --now vitals-relay", "disable --now vitals-agent", "token revoke a", "rm -r " + m.path("state/tls")} {
		if !says(&done, undo) {
			t.Errorf("it does not say how to undo: %s", undo)
		}
	}
	if got := m.read("etc/secrets/relay"); got != "vt_a_secret_of_primary\n" {
		t.Errorf("%q", got)
	}
	c, err := config.Load(m.path("etc/node.toml"))
	if err != nil || !c.TLS.OwnKey || c.Auth.Mode != "required" || len(c.Destinations) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	before, keyBefore := m.read("etc/node.toml"), m.read("state/tls/key.pem")
	if !strings.Contains(before, "tls_pin = \"sha256//") || !strings.Contains(before, `urls = ["https://127.0.0.1`+c.Listen+`"]`) || strings.Contains(before, "secret_of") {
		t.Errorf("%s", before)
	}
	done = m.must(nil)
	if m.read("etc/node.toml") != before || m.read("state/tls/key.pem") != keyBefore || m.made != 1 || len(m.starts) != 2 || !done.Running || !says(&done, "left alone") {
		t.Errorf("the second time: %+v, %d tokens, started %q", done, m.made, m.starts)
	}
	m.tokens = nil // somebody has revoked it
	done = m.must(nil)
	if m.made != 2 || !slices.Equal(m.starts, []string{relayUnit, agentUnit, agentUnit}) {
		t.Errorf("after the token was revoked: %+v, %d tokens, started %q", done, m.made, m.starts)
	}
}

func TestWithoutSystemdItSaysWhatToStart(t *testing.T) {
	m := newMachine(t, false)
	done := m.must(nil)
	want := []string{"vitals-relay --config " + m.path("etc/node.toml"), "vitals-agent --config " + m.path("etc/node.toml")}
	if done.Running || !slices.Equal(done.Todo, want) || len(m.starts) > 0 {
		t.Errorf("%+v", done)
	}
	m.wantFiles(nodeFile, certificate, key)
	m.relayRuns = true
	done = m.must(nil)
	if !done.Running || !slices.Equal(done.Todo, want[1:]) {
		t.Errorf("the relay runs: %+v", done)
	}
	m.wantFiles(nodeFile, certificate, key, token)
	done = m.must(nil)
	if !done.Running || len(done.Todo) > 0 {
		t.Errorf("all is done: %+v", done)
	}
}

func TestForThisMachineAloneThereIsNoKey(t *testing.T) {
	m := newMachine(t, false)
	m.must(func(c *Config) { c.Listen = "127.0.0.1" + c.Listen })
	m.wantFiles(nodeFile)
	if text := m.read("etc/node.toml"); strings.Contains(text, "tls") || !strings.Contains(text, `urls = ["http://127.0.0.1:`) {
		t.Error(text)
	}
}

func TestACertificateOfYourOwn(t *testing.T) {
	m := newMachine(t, false)
	file := m.file("certificate", "x", 0o600)
	m.must(func(c *Config) { c.CertFile, c.KeyFile = file, file })
	m.wantFiles(nodeFile, "-rw------- certificate")
	if text := m.read("etc/node.toml"); strings.Contains(text, "own_key") || !strings.Contains(text, "cert_file = \""+file) || !strings.Contains(text, "https://127.0.0.1:") {
		t.Error(text)
	}
	if _, err := newMachine(t, false).run(func(c *Config) { c.CertFile = file }); err == nil {
		t.Error("a certificate without a key")
	}
}

func TestAnAgentsNodeFileGetsTheRelaysPart(t *testing.T) {
	const agents = "[[inputs.cpu]]\n[[outputs.influxdb]]\n  urls = [\"http://influx:8086\"]"
	m := newMachine(t, true)
	m.file("etc/node.toml", agents, 0o640)
	done := m.must(nil)
	m.wantFiles("-rw-r----- etc/node.toml", "-rw-r----- etc/node.toml.before-init", certificate, key)
	text := m.read("etc/node.toml")
	if !strings.HasPrefix(text, agents+"\n\n[relay]\n") || m.read("etc/node.toml.before-init") != agents || m.made != 0 {
		t.Errorf("%s", text)
	}
	if !says(&done, "mv "+m.path("etc/node.toml.before-init")) {
		t.Errorf("%+v", done)
	}
	again := m.must(nil)
	if m.read("etc/node.toml") != text || !says(&again, "left alone") {
		t.Errorf("%+v", again)
	}
	// Set up anew by hand, the copy of the first time is not lost.
	m.file("etc/node.toml", agents+"\n# and more\n", 0o640)
	m.must(nil)
	copies, err := filepath.Glob(m.path("etc/node.toml.before-init*"))
	if err != nil || len(copies) != 2 || m.read("etc/node.toml.before-init") != agents {
		t.Errorf("%q, %v", copies, err)
	}
}

func TestARelaysNodeFileIsLeftAlone(t *testing.T) {
	const mine = "[relay]\n  listen = \"127.0.0.1:0\"\n# mine\n"
	m := newMachine(t, true)
	m.file("etc/node.toml", mine, 0o600)
	done := m.must(func(c *Config) { c.Influx.URL = "http://influx:8086" })
	m.wantFiles("-rw------- etc/node.toml")
	if m.read("etc/node.toml") != mine || !says(&done, "left alone") || !says(&done, "http://influx:8086 was not added") || m.made != 0 || !done.Running {
		t.Errorf("%+v", done)
	}
}

// An --influx that the node file does not get is told of, unless it has it.
func TestAnInfluxDBThatIsNotAdded(t *testing.T) {
	m := newMachine(t, true)
	m.file("etc/node.toml", "[relay]\n  listen = \"127.0.0.1:0\"\n[[relay.destinations]]\n  name = \"a\"\n  url = \"http://a:8086\"\n", 0o600)
	f := func(url string, want bool) {
		t.Helper()
		done := m.must(func(c *Config) { c.Influx.URL = url })
		if says(&done, "was not added") != want {
			t.Errorf("%s: %+v", url, done)
		}
	}
	f("http://a:8086", false)
	f("http://a:8086/", false)
	f("none", false)
	f("", false)
	f("http://b:8086", true)
}

func TestMistakesChangeNothing(t *testing.T) {
	var asked []string
	influx := Influx{URL: scripted(t, "1.8.10", 204, &asked)}
	f := func(what, want string, prepare func(*machine), change func(*Config)) {
		t.Helper()
		m := newMachine(t, true)
		if prepare != nil {
			prepare(m)
		}
		before := m.read("etc/node.toml")
		_, err := m.run(change)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
		if m.read("etc/node.toml") != before || len(m.starts) > 0 || m.made > 0 || len(asked) > 0 {
			t.Errorf("%s: something was changed", what)
		}
	}
	option := func(what, want string, change func(*Config)) {
		t.Helper()
		f(what, want, nil, change)
		var mistake OptionError
		if _, err := newMachine(t, true).run(change); !errors.As(err, &mistake) {
			t.Errorf("%s: no mistake in an option: %v", what, err)
		}
	}
	option("no address", `--listen "8186"`, func(c *Config) { c.Listen, c.Influx = "8186", influx })
	option("no port", "--listen", func(c *Config) { c.Listen, c.Influx = ":0", influx })
	option("half a certificate", "go together", func(c *Config) { c.CertFile, c.Influx = "/x", influx })
	option("no URL", "write it like", func(c *Config) { c.Influx.URL = "influx" })
	option("a secret", "everybody sees command lines", func(c *Config) { c.Influx.URL = "http://u:p@h" })
	option("half of a user", "go together", func(c *Config) { c.Influx = Influx{URL: influx.URL, Username: "u"} })
	if len(asked) > 0 {
		t.Errorf("InfluxDB was asked %q", asked)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f("taken", "--listen names another address", nil, func(c *Config) { c.Listen = taken.Addr().String() })
	f("a broken node file", "mend it, or move it away", func(m *machine) { m.file("etc/node.toml", "[agent\n", 0o600) }, nil)
	f("a mistake in it", "mend it, or move it away", func(m *machine) { m.file("etc/node.toml", "[relay]\nlisen = 1\n", 0o600) }, nil)
	f("a certificate that is not there", "the node file would not be sound", nil, func(c *Config) { c.CertFile, c.KeyFile = "/absent", "/absent" })
	f("a directory that is a file", "etc", func(m *machine) { m.file("etc", "", 0o600) }, nil)
	f("data that is a file", "is no directory", func(m *machine) { m.file("state", "", 0o600) }, nil)
}

// Whatever step it is interrupted at, once more completes it.
func TestAnInterruptedSetupIsCompleted(t *testing.T) {
	var steps []string
	reference := newMachine(t, true)
	reference.must(func(c *Config) { c.Progress = func(step string) { steps = append(steps, step) } })
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if shown := "vitals-relay: " + strings.Join(steps, "\nvitals-relay: ") + "\nkey  "; len(steps) != 8 || !strings.Contains(string(readme), "\n"+shown) {
		t.Fatalf("the README does not show\n%s", shown)
	}
	for _, at := range steps {
		t.Run(at, func(t *testing.T) {
			m := newMachine(t, true)
			t.Setenv("STATE_DIRECTORY", m.path("state"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			address := freeAddress(t)
			c := Config{
				NodeFile: m.path("etc/node.toml"), Listen: address, Influx: Influx{URL: "none"}, Secrets: m.path("etc/secrets"), Node: "primary",
				Services: m, Relay: m, Progress: func(step string) {
					if step == at {
						cancel()
					}
				},
			}
			if _, err := Run(ctx, c); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "completes what is left") {
				t.Fatal(err)
			}
			done := m.must(func(c *Config) { c.Listen = address })
			m.wantFiles(nodeFile, certificate, key, token)
			if !done.Running || !m.active[agentUnit] || m.made != 1 || !strings.Contains(m.read("etc/node.toml"), `listen = "`+address+`"`) {
				t.Errorf("%+v, %q, %d tokens", done, m.starts, m.made)
			}
		})
	}
}

// Whatever fails, mending it and once more completes it.
func TestAFailedSetupIsCompleted(t *testing.T) {
	f := func(what, want string, damage, mend func(*machine)) {
		t.Helper()
		m := newMachine(t, true)
		damage(m)
		address := freeAddress(t)
		change := func(c *Config) { c.Listen = address }
		if _, err := m.run(change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
		mend(m)
		done, err := m.run(change)
		if err != nil || !done.Running || !m.active[relayUnit] || !m.active[agentUnit] {
			t.Errorf("%s, mended: %+v, %v", what, done, err)
		}
		m.wantFiles(nodeFile, certificate, key, token)
	}
	remove := func(name string) func(*machine) {
		return func(m *machine) {
			if err := os.RemoveAll(m.path(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	f("the key cannot be kept", "key.pem", func(m *machine) { m.file("state/tls/key.pem/x", "", 0o600) }, remove("state/tls"))
	f("the certificate cannot be kept", "certificate", func(m *machine) { m.file("state/tls/certificate.pem/x", "", 0o600) }, remove("state/tls"))
	f("the node file cannot be written", "node file", func(m *machine) { m.file("etc/node.toml.trial/x", "", 0o600) }, remove("etc/node.toml.trial"))
	f("systemd does not start the relay", "start the relay", func(m *machine) { m.refuses = relayUnit }, func(m *machine) { m.refuses = "" })
	f("the relay does not come up", "journalctl -u vitals-relay", func(m *machine) { m.dead = true }, func(m *machine) { m.dead = false })
	f("the relay makes no token", "the disk is full", func(m *machine) { m.noToken = errors.New("the disk is full") }, func(m *machine) { m.noToken = nil })
	f("systemd does not start the agent", "start the agent", func(m *machine) { m.refuses = agentUnit }, func(m *machine) { m.refuses = "" })
	f("the agent's token cannot be kept", "secrets", func(m *machine) { m.file("etc/secrets", "", 0o600) }, remove("etc/secrets"))
}

// Where only root may write it is said so before anybody is asked anything, and
// before InfluxDB gets a database.
func TestWhoMayNotWriteThereIsToldFirst(t *testing.T) {
	m := newMachine(t, true)
	if err := errors.Join(os.Chmod(filepath.Dir(m.dir), 0o755), os.Chmod(m.dir, 0o755), os.Mkdir(m.path("etc"), 0o755)); err != nil {
		t.Fatal(err)
	}
	var asked []string
	address := scripted(t, "1.8.10", 204, &asked)
	if os.Geteuid() == 0 {
		if err := syscall.Seteuid(65533); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := syscall.Seteuid(0); err != nil {
				panic(err)
			}
		}()
	} else if err := os.Chmod(m.path("etc"), 0o555); err != nil {
		t.Fatal(err)
	}
	var steps []string
	_, err := m.run(func(c *Config) {
		c.Influx, c.Progress = Influx{URL: address}, func(step string) { steps = append(steps, step) }
	})
	if err == nil || !strings.Contains(err.Error(), "sudo vitals-relay init") || len(asked) > 0 || len(steps) > 0 {
		t.Errorf("%v; it asked %q after %q", err, asked, steps)
	}
}

func TestOneSetupAtATime(t *testing.T) {
	m := newMachine(t, true)
	unlock, err := lock(m.path("etc"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.run(nil); err == nil || !strings.Contains(err.Error(), "another vitals-relay init runs") {
		t.Error(err)
	}
	unlock()
	m.must(nil)
}

func TestRemedies(t *testing.T) {
	for err, want := range map[error]string{
		&os.PathError{Op: "open", Path: "/x", Err: syscall.ENOSPC}: "make room there",
		&os.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}: "sudo vitals-relay init",
		&os.PathError{Op: "open", Path: "/x", Err: syscall.EROFS}:  "remount,rw",
	} {
		if got := explain(err); !strings.Contains(got.Error(), want) || !errors.Is(got, err) {
			t.Errorf("%v", got)
		}
	}
}
