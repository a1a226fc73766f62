package tests

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// pty is a terminal with a program on it.
type pty struct {
	t       *testing.T
	master  *os.File
	slave   *os.File
	cmd     *exec.Cmd
	before  *unix.Termios
	mu      sync.Mutex
	screen  strings.Builder // all that was written to it
	done    chan struct{}
	writing sync.WaitGroup
}

// onTerminal starts a command on a terminal of a size.
func onTerminal(t *testing.T, cmd *exec.Cmd, columns, rows uint16) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{t: t, master: master, slave: slave, cmd: cmd, done: make(chan struct{})}
	p.resize(columns, rows)
	p.before = p.settings()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { cmd.Wait(); close(p.done) }()
	p.writing.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			p.mu.Lock()
			p.screen.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.done
		slave.Close()
		p.writing.Wait() // ends with an error once nobody has the other side
		master.Close()
	})
	return p
}

func (p *pty) resize(columns, rows uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pty) settings() *unix.Termios {
	p.t.Helper()
	s, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *pty) shown() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

// frames are what was drawn, one after the other.
func (p *pty) frames() []string { return strings.Split(p.shown(), "\x1b[H")[1:] }

// typed types something.
func (p *pty) typed(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// requireEnded requires that the program has ended by itself, and the terminal's
// settings are what they were. All that it has shown is there then.
func (p *pty) requireEnded() {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(5 * time.Minute):
		p.t.Fatalf("it does not end; it shows %q", p.shown())
	}
	if is := p.settings(); *is != *p.before {
		p.t.Errorf("the terminal's settings are %+v, not %+v", is, p.before)
	}
	p.slave.Close()
	p.writing.Wait()
}

// requireRestored requires that the program has ended well, and the terminal is
// as it was.
func (p *pty) requireRestored() {
	p.t.Helper()
	p.requireEnded()
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("exit code %d", code)
	}
	eventually(p.t, 30*time.Second, func() string {
		text := p.shown()
		_, after, left := strings.Cut(text, "\x1b[?25h\x1b[?7h\x1b[?1049l")
		if strings.Count(text, "\x1b[?1049h\x1b[?7l\x1b[?25l") != 1 || !left || !strings.Contains(after, "NODE") || strings.Contains(after, "\x1b[") {
			return fmt.Sprintf("it shows %q", text)
		}
		return ""
	})
}

// terminals is a relay with three nodes, one of which is down.
func terminals(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, "[relay.fleet]\n  late_after = \"5s\"\n  down_after = \"6s\"\n")
	r.run()
	now := time.Now().UnixNano()
	r.curl(fmt.Sprintf("mem,host=gone used_percent=9 %d\n", now))
	eventually(t, time.Minute, func() string {
		stdout, _, _ := run(t, r.command("vitals-relay", "nodes", "--state", "down"))
		if !strings.Contains(stdout, "gone") {
			return stdout
		}
		return ""
	})
	return r
}

// curl writes lines.
func (r *rig) curl(lines string) {
	r.t.Helper()
	stdout, stderr, code := run(r.t, r.command("curl", "-sf", r.url()+"/write?db=node_vitals", "--data-binary", lines))
	if code != 0 {
		r.t.Fatal(stdout, stderr)
	}
}

// The terminal is as it was after whatever ends the view of it.
func TestTheTerminalIsRestored(t *testing.T) {
	t.Parallel()
	r := terminals(t)
	for _, tt := range []struct {
		name string
		args []string
		end  func(p *pty)
	}{
		{"top, q", []string{"top"}, func(p *pty) { p.typed("q") }},
		{"top, Ctrl-C", []string{"top"}, func(p *pty) { p.typed("\x03") }},
		{"top, SIGTERM", []string{"top"}, func(p *pty) { p.cmd.Process.Signal(syscall.SIGTERM) }},
		{"nodes --watch, q", []string{"nodes", "--watch"}, func(p *pty) { p.typed("xyzq") }},
		{"nodes --watch, Ctrl-C", []string{"nodes", "--watch", "--state", "down"}, func(p *pty) { p.typed("\x03") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := onTerminal(t, r.command("vitals-relay", tt.args...), 200, 50)
			p.t = t
			eventually(t, time.Minute, func() string {
				if len(p.frames()) < 2 || !strings.Contains(p.shown(), "gone") {
					return fmt.Sprintf("it shows %q", p.shown())
				}
				return ""
			})
			tt.end(p)
			p.requireRestored()
		})
	}
}

// A small terminal is not written over its edges, also when it becomes small.
func TestTopFitsTheTerminal(t *testing.T) {
	t.Parallel()
	r := terminals(t)
	p := onTerminal(t, r.command("vitals-relay", "top"), 200, 60)
	want := "gone"
	for i := range 30 {
		want += fmt.Sprintf(" pi-%02d", 29-i)
	}
	names := regexp.MustCompile(`gone|pi-\d\d`)
	eventually(t, time.Minute, func() string { // those that are up, too, are soon down
		var lines strings.Builder
		for i := range 30 {
			fmt.Fprintf(&lines, "cpu,host=pi-%02d,cpu=cpu-total usage_idle=%d %d\n", i, 90-i, time.Now().UnixNano())
		}
		r.curl(lines.String())
		frames := p.frames()
		for _, frame := range frames[max(0, len(frames)-5):] {
			if got := strings.Join(names.FindAllString(frame, -1), " "); got == want {
				return ""
			}
		}
		return fmt.Sprintf("what is wrong comes not first, and what is busy not before what idles: %q", p.shown())
	})
	drawn := len(p.frames())
	p.resize(30, 8)
	p.cmd.Process.Signal(syscall.SIGWINCH)
	eventually(t, time.Minute, func() string {
		frames := p.frames()
		if len(frames) < drawn+3 { // one was under way
			return fmt.Sprintf("%d frames", len(frames))
		}
		rows := strings.Split(frames[len(frames)-2], "\r\n")
		for _, row := range rows {
			if text := strings.TrimRight(escapes.ReplaceAllString(row, ""), "\r"); utf8.RuneCountInString(text) > 30 {
				return fmt.Sprintf("%q is drawn", text)
			}
		}
		if len(rows) != 8 {
			return fmt.Sprintf("%d rows are drawn", len(rows))
		}
		return ""
	})
	p.typed("q")
	p.requireRestored()
}

// What scripts see of the nodes: tables and JSON once, and exit codes.
func TestNodesForScripts(t *testing.T) {
	t.Parallel()
	r := terminals(t)
	now := time.Now().UnixNano()
	r.curl(fmt.Sprintf(`cpu,host=pi-1,cpu=cpu-total usage_idle=90 %[1]d
system,host=pi-1 load1=0.25,n_cpus=4i %[1]d
mem,host=pi-1 total=4000000000i,used=1000000000i,available=3000000000i,used_percent=25 %[1]d
disk,host=pi-1,path=/ total=100i,used=93i,used_percent=93 %[1]d
`, now))
	f := func(code int, want []string, args ...string) {
		t.Helper()
		eventually(t, time.Minute, func() string {
			stdout, stderr, got := run(t, r.command("vitals-relay", args...))
			if strings.Contains(stdout+stderr, "\x1b") {
				t.Fatal("escapes are printed to what is no terminal")
			}
			for _, w := range want {
				if got != code || !strings.Contains(stdout+stderr, w) {
					return fmt.Sprintf("%v: exit code %d, no %q\n%s%s", args, got, w, stdout, stderr)
				}
			}
			return ""
		})
	}
	f(0, []string{"LOAD", "0.25", "93%", "disk full", "gone"}, "nodes")
	f(0, []string{"--watch needs a terminal; this is printed once", "gone"}, "nodes", "--watch")
	f(0, []string{`"name": "pi-1"`, `"load1": 0.25`}, "nodes", "--json")
	f(0, []string{"disk percent", "93", "state", "load1"}, "nodes", "show", "pi-1")
	f(1, []string{"there is no node of this name"}, "nodes", "show", "pi-9")
	f(2, []string{"must be up, late, down or retired"}, "nodes", "--state", "dead")
	f(2, []string{"top needs a terminal"}, "top")
	f(0, []string{"gone  down  is down"}, "events")
	f(0, []string{`"kind":"down"`}, "events", "--json")
	f(0, []string{"gone is retired until it writes again"}, "nodes", "retire", "gone")
	f(0, []string{"retired"}, "nodes", "--state", "retired")
	f(1, []string{"there is no node of this name"}, "nodes", "retire", "pi-9")
	write := func() { // a node that is late gets no job
		r.curl(strings.ReplaceAll(fmt.Sprintf("cpu,host=pi-1,cpu=cpu-total usage_idle=90 NOW\n"), "NOW", fmt.Sprint(time.Now().UnixNano())))
	}
	eventually(t, time.Minute, func() string {
		write()
		stdout, stderr, code := run(t, r.command("vitals-relay", "placement", "--cpus", "2", "--ram", "512MB"))
		if code != 0 || !strings.Contains(stdout, "of 4 CPUs free") {
			return fmt.Sprintf("exit code %d\n%s%s", code, stdout, stderr)
		}
		return ""
	})
	f(1, []string{`"fits": false`}, "placement", "--cpus", "64", "--json")
	f(2, []string{`--cpus "many": write how many CPUs the job needs`}, "placement", "--cpus", "many")
}

// Events are printed as they come.
func TestEventsAreFollowed(t *testing.T) {
	t.Parallel()
	r := terminals(t)
	p := r.start("vitals-relay", "events", "--follow") // its log is the relay's
	eventually(t, time.Minute, func() string {
		r.curl(fmt.Sprintf("mem,host=late-comer used_percent=9 %d\n", time.Now().UnixNano()))
		if text := r.read("vitals-relay.log"); !strings.Contains(text, "late-comer  new  ") {
			return text
		}
		return ""
	})
	p.stop()
}

// escapes are what steers a terminal.
var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]`)
