//go:build linux

package plugins

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEnviron(t *testing.T) {
	t.Setenv("VITALS_PLUGIN", "collector")
	t.Setenv("VITALS_LIFELINE_FD", "3")
	t.Setenv("PLUGIN_MIN_PORT", "1")
	t.Setenv("GOGC", "50")
	t.Setenv("MINE", "1")
	t.Setenv("VITALS_PLUGIN_ADDED", "GOGC,GOMAXPROCS")
	env := Environ("A=1", "MINE=2")
	for _, kv := range env {
		for _, gone := range []string{"VITALS_", "PLUGIN_", "GOGC="} {
			if strings.HasPrefix(kv, gone) {
				t.Error(kv)
			}
		}
	}
	if !slices.Contains(env, "MINE=1") || !slices.Equal(env[len(env)-2:], []string{"A=1", "MINE=2"}) {
		t.Errorf("%q", env)
	}
}

func TestCheckEnvironment(t *testing.T) {
	if err := CheckEnvironment([]string{"A=", "B=c=d", "c d=1"}); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "A", "=1", "A=\x00"} {
		if CheckEnvironment([]string{"A=1", bad}) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func startShell(t *testing.T, text string, stdin bool) *Program {
	t.Helper()
	p, err := StartProgram([]string{"sh", "-c", text}, os.Environ(), stdin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.End(0)
		p.Close()
	})
	return p
}

func TestProgram(t *testing.T) {
	p := startShell(t, "read line; echo got $line; echo bad >&2; exit 4", true)
	if _, err := p.Stdin.WriteString("it\n"); err != nil {
		t.Fatal(err)
	}
	out, errOut := io.ReadAll(p.Stdout)
	if string(out) != "got it\n" || errOut != nil {
		t.Errorf("%q %v", out, errOut)
	}
	var exit *exec.ExitError
	for range 2 { // asking twice changes nothing
		if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 4 {
			t.Error(err)
		}
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	p.Kill(syscall.SIGKILL)
}

func TestAProgramThatDoesNotStartLeavesNothingOpen(t *testing.T) {
	count := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	before := count()
	for range 20 {
		if _, err := StartProgram([]string{"/nowhere/at/all"}, nil, true); !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	eventually(t, "descriptors to be closed", func() bool { return count() <= before })
}

// number waits for the number that a program leaves in a file.
func number(t *testing.T, file string) (pid int) {
	t.Helper()
	eventually(t, file, func() bool {
		text, err := os.ReadFile(file)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	return pid
}

// dead reports whether a process is gone, or only not reaped by its parent.
func dead(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestEndTakesTheGroupAlong(t *testing.T) {
	dir := t.TempDir()
	p := startShell(t, "trap '' TERM; sleep 600 & echo $! >"+dir+"/child; while :; do sleep 600; done", false)
	child := number(t, dir+"/child")
	if err := p.End(10 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Error(err)
	}
	eventually(t, "the child to die", func() bool { return dead(child) })
}

// What a program leaves in its group can be killed after it has ended: its
// number is not given to another before Wait.
func TestAGroupOutlivesItsLeader(t *testing.T) {
	dir := t.TempDir()
	p := startShell(t, "sleep 600 & echo $! >"+dir+"/child", false)
	child := number(t, dir+"/child")
	<-p.Exited()
	if dead(child) {
		t.Fatal("it is dead already")
	}
	p.Kill(syscall.SIGKILL)
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	eventually(t, "the child to die", func() bool { return dead(child) })
}

func TestEndSession(t *testing.T) {
	dir := t.TempDir()
	// A session of its own, within it a process in another group.
	p := startShell(t, "exec setsid -w sh -c 'echo $$ >"+dir+"/leader; setsid sleep 600 & echo $! >"+dir+"/other; "+
		"sh -c \"echo \\$\\$ >"+dir+"/member; exec sleep 600\" & wait'", false)
	leader, member, other := number(t, dir+"/leader"), number(t, dir+"/member"), number(t, dir+"/other")
	t.Cleanup(func() { _ = syscall.Kill(other, syscall.SIGKILL) })
	EndSession(leader)
	eventually(t, "the member to die", func() bool { return dead(member) })
	if dead(other) {
		t.Error("a process of another session was killed")
	}
	_ = syscall.Kill(leader, syscall.SIGKILL)
	_ = p.Wait()
}

// A plugin whose host is gone ends what its collectors have running, also what
// that has started in turn.
func TestLifelineEndsPrograms(t *testing.T) {
	dir := t.TempDir()
	cmd := self()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	h := start(t, cmd)
	h.configure(t, "a", "probe", `mode = "program"`+"\nnames = ["+strconv.Quote(dir)+"]")
	if _, failure := h.gather(t, "a"); failure != "" {
		t.Fatal(failure)
	}
	leader, child := number(t, filepath.Join(dir, "leader")), number(t, filepath.Join(dir, "child"))
	h.lifeline.Close()
	for _, pid := range []int{leader, child, h.pid} {
		eventually(t, "all to end", func() bool { return dead(pid) })
	}
}

func TestReadLog(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		var got []string
		ReadLog(strings.NewReader(text), func(line string) { got = append(got, line) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	f("")
	f("a\n\nb\r\nc", "a", "b", "c")
	f("\xff\n", "\uFFFD")
	f(strings.Repeat("x", 10*maxLogLine)+"\nnext\n", strings.Repeat("x", maxLogLine), "next")
	f(strings.Repeat("x", 10*maxLogLine), strings.Repeat("x", maxLogLine))
}

func TestProgramLog(t *testing.T) {
	var out strings.Builder
	var programs ProgramLog
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: levelTrace, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	for _, line := range []string{"E! a", "W! b", "I! c", "D! d", "T! e", "I!", "I! ", "plain", "Q! x"} {
		programs.Line(log, line)
	}
	want := "level=ERROR msg=a\nlevel=WARN msg=b\nlevel=INFO msg=c\nlevel=DEBUG msg=d\nlevel=DEBUG-4 msg=e\n" +
		`level=ERROR msg="stderr: \"I!\""` + "\n" + `level=ERROR msg="stderr: \"I! \""` + "\n" +
		`level=ERROR msg="stderr: \"plain\""` + "\n" + `level=ERROR msg="stderr: \"Q! x\""` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestProgramLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		var programs ProgramLog
		log := slog.New(slog.NewTextHandler(&out, nil))
		said := func(n int) int {
			for range n {
				programs.Line(log, "D! nobody listens")
				programs.Line(log, "I! again")
			}
			defer out.Reset()
			return strings.Count(out.String(), "msg=again")
		}
		if n := said(1000); n != programBurst {
			t.Errorf("%d lines at once", n)
		}
		time.Sleep(10 * time.Second)
		programs.Line(log, "I! first")
		if !strings.Contains(out.String(), "lines=970\n") {
			t.Error(out.String())
		}
		out.Reset()
		if n := said(1000); n != 4 {
			t.Errorf("%d lines more after 10 s", n)
		}
		time.Sleep(time.Hour)
		if n := said(1000); n != programBurst {
			t.Errorf("%d lines after an hour", n)
		}
	})
}

func TestLines(t *testing.T) {
	var b Batch
	b.Point("p").Int("x", 1)
	b.Lines(nil)
	b.Lines([]byte("a x=\"1\n2\""))
	b.Lines([]byte("b x=1\n"))
	for range 2 {
		if got := string(b.Bytes()); got != "a x=\"1\n2\"\nb x=1\np x=1i\n" {
			t.Errorf("%q", got)
		}
	}
	b.Lines(make([]byte, maxKept+1))
	b.Fail(errors.New("x"))
	b.Reset()
	if len(b.Bytes()) > 0 || b.join(nil) != nil || cap(b.raw) > maxKept {
		t.Error("Reset keeps something")
	}
}

func TestNow(t *testing.T) {
	b := Batch{unit: time.Hour}
	if now := b.Now(); now.UnixNano()%int64(time.Hour) != 0 || time.Since(now) > 2*time.Hour {
		t.Error(now)
	}
	b.unit = 0
	before := time.Now()
	if now := b.Now(); now.Before(before) {
		t.Error(now)
	}
}
