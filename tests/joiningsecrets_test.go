package tests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shell is an interactive shell of a machine on a terminal. What it and its
// children execute is written down with all arguments and environments.
type shell struct {
	*pty
	m *island
}

const shellPrompt = "ready> "

func (m *island) shell() *shell {
	m.t.Helper()
	cmd := m.command("exec strace -f -qq -v -s 100000 -e trace=execve -e signal=none -o /run/executed bash --norc -i")
	cmd.Env = append(cmd.Env, "PS1="+shellPrompt, "HISTFILE=/root/.bash_history")
	s := &shell{onTerminal(m.t, cmd, 250, 50), m}
	s.waits(shellPrompt, 1)
	return s
}

// waits waits until something was shown n times.
func (s *shell) waits(what string, n int) {
	s.m.t.Helper()
	eventually(s.m.t, 5*time.Minute, func() string {
		if got := strings.Count(s.shown(), what); got < n {
			return fmt.Sprintf("%q was shown %d times, want %d:\n%s", what, got, n, s.shown())
		}
		return ""
	})
}

// enters types a line, waits until it is done, and returns what it has shown.
// Codes are typed one after the other when they are asked for.
func (s *shell) enters(line string, codes ...string) string {
	s.m.t.Helper()
	before := s.shown()
	prompts := strings.Count(before, shellPrompt)
	s.typed(line + "\r")
	for i, code := range codes {
		s.waits("(it is not shown)", i+1)
		s.typed(code + "\r")
	}
	s.waits(shellPrompt, prompts+1)
	return s.shown()[len(before):]
}

// written are all files that were changed on a machine, by name and mode.
func (m *island) written() map[string]string {
	m.t.Helper()
	all := map[string]string{}
	for _, top := range []string{m.path(m.layers + "/up"), m.path("/run")} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && path != top {
				return nil // who has made it runs, and has done with it
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			all[fmt.Sprintf("%s %#o", strings.TrimPrefix(path, top), info.Mode().Perm())] = string(text)
			return err
		})
		if err != nil {
			m.t.Fatal(err)
		}
	}
	return all
}

// processes are the command lines and environments of all processes but this.
func processes(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob("/proc/[0-9]*/[ce][mn][dv][li]*") // cmdline, environ
	if err != nil || len(files) == 0 {
		t.Fatalf("no processes: %v", err)
	}
	for _, file := range files {
		if !strings.HasPrefix(file, fmt.Sprintf("/proc/%d/", os.Getpid())) {
			text, _ := os.ReadFile(file) // it may have ended
			all[file] = string(text)
		}
	}
	return all
}

// While machines join, upgrade and leave by the lines of the documents, typed
// into a shell, nothing shows a token or a code to anybody but whom it is for.
func TestJoiningTellsNoSecrets(t *testing.T) {
	t.Parallel()
	agent, next := agentAs(t, "v0.1.0"), agentAs(t, "v0.2.0")
	all := archipelago(t, "pi-1", "pi-2")
	p, m := newHub(all[0], "none", agent, debianPackage(t, agent, "0.1.0", debianArch())), all[1]
	first := p.relay
	first.stop()
	p.run += " --log-level debug"
	p.runs()
	hub, node := p.island.shell(), m.shell()

	shown := hub.enters("sudo vitals-relay invite --uses 2")
	line, code := inviteIn(t, shown)
	node.enters(line, "0000-0000-0000-0000", code) // wrong once, then right
	node.waits("stored its first lines", 1)
	token := strings.TrimSpace(m.read("/etc/vitals/secrets/relay"))
	running := m.start("vitals-agent --config /etc/vitals/node.toml --debug")
	node.enters("sudo vitals-agent status")
	next = debianPackage(t, next, "0.2.0", debianArch())
	p.bring(next, "/usr/share/vitals/packages/"+filepath.Base(next))
	if said := node.enters("sudo vitals-agent upgrade"); !strings.Contains(said, "v0.2.0 now") {
		t.Errorf("upgrade: %s", said)
	}
	seen := processes(t)
	told := map[string]string{}
	for name, text := range m.written() {
		told["joined: "+name] = text
	}
	running.stop()
	if said := node.enters("sudo vitals-agent leave"); !strings.Contains(said, "are removed") {
		t.Errorf("leave: %s", said)
	}
	for _, s := range []*shell{hub, node} {
		s.typed("exit\r")
		s.requireEnded()
	}

	for name, text := range seen {
		told["processes: "+name] = text
	}
	for _, machine := range all {
		for name, text := range machine.written() {
			told[machine.name+": "+name] = text
		}
	}
	for _, process := range []*process{first, p.relay, running} {
		text, err := os.ReadFile(process.log)
		if err != nil {
			t.Fatal(err)
		}
		told["log of "+process.log] = string(text)
	}
	told["terminal of the node"] = node.shown()
	for what, where := range map[string]string{"vitals-agent": "pi-2: /executed 0644", "curl -fsSk": "pi-2: /root/.bash_history 0600", "vitals-relay invite": "pi-1: /root/.bash_history 0600", "level=DEBUG": "log of " + running.log, "wants to join with a wrong code": "log of " + p.relay.log} {
		if !strings.Contains(told[where], what) {
			t.Errorf("%s does not even tell of %s:\n%s", where, what, told[where])
		}
	}
	own := strings.TrimSpace(p.read("/etc/vitals/secrets/relay"))
	secrets := []string{code, strings.ReplaceAll(code, "-", ""), strings.ToLower(code), token, secretOf(token), own, secretOf(own), p.admin, secretOf(p.admin)}
	meant := map[string]bool{}
	for where, text := range told {
		for _, secret := range secrets {
			if !strings.Contains(text, secret) {
				continue
			}
			if strings.HasSuffix(where, "/etc/vitals/secrets/relay 0600") {
				meant[where] = true
				continue
			}
			t.Errorf("%s tells %s", where, secret)
		}
	}
	if len(meant) != 2 {
		t.Errorf("the tokens are in %v, so who knows whether they were looked for", meant)
	}
}

// secretOf is the part of a token that is not its ID.
func secretOf(token string) string { return token[strings.LastIndex(token, "_")+1:] }
