package program

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/program/programtest"
	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/plugins/proto"
)

// TestMain lets the test binary be the shim, and the plugins that tests run.
func TestMain(m *testing.M) {
	programtest.Main()
	if how := os.Getenv("ROGUE"); how != "" {
		(&rogue{how: how}).run()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "exec-plugin" {
		fmt.Fprintln(os.Stderr, Exec(os.Args[2:]))
		os.Exit(126)
	}
	if len(os.Args) > 1 && os.Args[1] == "agent" { // that is killed
		runtime.LockOSThread()
		child := exec.Command("/proc/self/exe", "exec-plugin", strconv.Itoa(os.Getpid()), "0", "/bin/sleep", "sleep", "600")
		if err := child.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(child.Process.Pid)
		select {}
	}
	os.Exit(m.Run())
}

// theDice is the example in Go, which is built once.
var theDice = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "vitals")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "dice")
	if out, err := exec.Command("go", "build", "-o", path, "../../plugins/examples/dice").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the example: %w\n%s", err, out)
	}
	return os.ReadFile(path)
})

// dice is the path of a copy of the example in Go.
func dice(t *testing.T) string {
	t.Helper()
	program, err := theDice()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(directory(t), "vitals-plugin-dice")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// directory is one that other users can enter, which t.TempDir is not.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vitals")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// command is how the agent runs the drop-in at path.
func command(t *testing.T, path string) Command {
	t.Helper()
	f, err := trust.Rules{Owner: os.Getuid()}.Verify(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return Command{
		Argv: []string{path}, Env: []string{"PATH=" + os.Getenv("PATH")}, Sockets: directory(t), Log: slog.New(slog.DiscardHandler),
		File: f, Shim: []string{"/proc/self/exe", "exec-plugin"},
	}
}

func run(t *testing.T, cmd Command) *Process {
	t.Helper()
	p, err := Start(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.End(EndTimeout) })
	return p
}

// of reads a file of a process in /proc.
func of(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// field is the rest of the line that begins with name.
func field(t *testing.T, text, name string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.Join(strings.Fields(rest), " ")
		}
	}
	t.Fatalf("no line %q in\n%s", name, text)
	return ""
}

func TestDropInIsHeldToItsLimits(t *testing.T) {
	path := dice(t)
	cmd := command(t, path)
	cmd.Limits.Memory = 300 << 20
	p := run(t, cmd)
	equal := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %q, should be %q", what, got, want)
		}
	}
	limits, status := of(t, p.PID(), "limits"), of(t, p.PID(), "status")
	equal("open files", field(t, limits, "Max open files"), "256 256 files")
	equal("core dumps", field(t, limits, "Max core file size"), "0 0 bytes")
	equal("memory", field(t, limits, "Max data size"), "314572800 314572800 bytes")
	equal("address space", field(t, limits, "Max address space"), "unlimited unlimited bytes")
	equal("no_new_privs", field(t, status, "NoNewPrivs:"), "1")
	equal("parent", field(t, status, "PPid:"), strconv.Itoa(os.Getpid()))
	equal("name", field(t, status, "Name:"), "vitals-plugin-dice"[:15])
	equal("oom_score_adj", of(t, p.PID(), "oom_score_adj"), "500\n")
	equal("command line", of(t, p.PID(), "cmdline"), path+"\x00")
	stat := of(t, p.PID(), "stat")
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+2:])
	ours, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	equal("nice", fields[18-2], strconv.Itoa(max(5, 20-ours))) // the call tells 20 - nice
	equal("session", fields[6-3], strconv.Itoa(p.PID()))
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%d", p.PID(), programFD)); err == nil {
		if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.PID(), programFD)); to == path {
			t.Error("the program has its own file open")
		}
	}
}

func TestWhatRunsIsWhatWasChecked(t *testing.T) {
	path := dice(t)
	cmd := command(t, path)
	// Another file takes its place between the check and the start.
	other := filepath.Join(filepath.Dir(path), "other")
	if err := os.WriteFile(other, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	p := run(t, cmd)
	if _, err := p.Collector("dice"); err != nil {
		t.Error(err)
	}
}

func TestScriptRunsThroughTheShim(t *testing.T) {
	dir := directory(t)
	real := dice(t)
	script := filepath.Join(dir, "vitals-plugin-script")
	text := "#!/bin/sh\nulimit -n >" + dir + "/files\nexec " + real + "\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	p := run(t, command(t, script))
	files, err := os.ReadFile(filepath.Join(dir, "files"))
	if err != nil || string(files) != "256\n" {
		t.Errorf("the script may open %q files, %v", files, err)
	}
	if got := of(t, p.PID(), "cmdline"); got != real+"\x00" {
		t.Errorf("it became %q", got)
	}
}

// A parent that is not the one named has died, and nobody else's orphan is to
// be left behind.
func TestShimDoesNotOutliveTheAgent(t *testing.T) {
	out, err := exec.Command("/proc/self/exe", "exec-plugin", "1", "0", "/bin/echo", "echo", "ran").CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 126 || !strings.Contains(string(out), "the agent is gone") {
		t.Errorf("%v: %s", err, out)
	}
}

// Nothing in a program's own hands is needed for its end with the agent's.
func TestProgramOfTheShimDiesWithTheAgent(t *testing.T) {
	agent := exec.Command("/proc/self/exe", "agent")
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	eventually(t, "the shim to become the program", func() bool {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return err == nil && string(name) == "sleep\n"
	})
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait()
	eventually(t, "its end", func() bool { return gone(pid) })
}

func TestMemoryIsBounded(t *testing.T) {
	run := func(limit string) (string, error) {
		out, err := exec.Command("/proc/self/exe", "exec-plugin", strconv.Itoa(os.Getpid()), limit,
			"/usr/bin/python3", "python3", "-c", "print(len(bytearray(200 << 20)))").CombinedOutput()
		return string(out), err
	}
	if out, err := run("0"); err != nil || out != "209715200\n" {
		t.Errorf("without a bound: %v\n%s", err, out)
	}
	if out, err := run("134217728"); err == nil || !strings.Contains(out, "MemoryError") {
		t.Errorf("beyond the bound: %v\n%s", err, out)
	}
}

func TestDropInRunsAsAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("only root can start programs as another user; run the tests as root")
	}
	path := dice(t)
	cmd := command(t, path)
	if err := os.Chmod(cmd.Sockets, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd.Limits.User = &User{UID: 12345, GID: 12346, Groups: []uint32{12347}}
	p := run(t, cmd)
	status := of(t, p.PID(), "status")
	for name, want := range map[string]string{
		"Uid:": "12345 12345 12345 12345", "Gid:": "12346 12346 12346 12346", "Groups:": "12347",
		"CapEff:": "0000000000000000", "CapBnd:": field(t, of(t, os.Getpid(), "status"), "CapBnd:"),
	} {
		if got := field(t, status, name); got != want {
			t.Errorf("%s %s, should be %s", name, got, want)
		}
	}
	if got := of(t, p.PID(), "oom_score_adj"); got != "500\n" {
		t.Errorf("oom_score_adj is %s", got)
	}
	reply, err := p.Configure(t.Context(), &proto.ConfigureRequest{InstanceId: "d", Collector: "dice"})
	if err != nil || len(reply.Errors) > 0 {
		t.Fatal(err, reply)
	}
	if _, err := p.Gather(t.Context(), &proto.GatherRequest{InstanceId: "d"}); err != nil {
		t.Error(err)
	}
}

// What the agent knows is not for its drop-ins: not in their environment, at no
// moment of their start, and not in the agent's where another user runs them.
func TestTokenInTheEnvironmentIsNotVisible(t *testing.T) {
	t.Setenv("INFLUX_TOKEN", "a-secret-token")
	dir := directory(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	real := dice(t)
	script := filepath.Join(directory(t), "vitals-plugin-spy")
	text := fmt.Sprintf("#!/bin/sh\ncat /proc/$$/environ /proc/%d/environ >%s/seen 2>&1\nexec %s\n", os.Getpid(), dir, real)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	seen := func(cmd Command) string {
		p := run(t, cmd)
		text, err := os.ReadFile(filepath.Join(dir, "seen"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + of(t, p.PID(), "environ")
	}
	cmd := command(t, script)
	cmd.Limits.User = &User{UID: 12345, GID: 12345}
	if got := seen(cmd); strings.Contains(got, "a-secret-token") || !strings.Contains(got, "PATH=") || !strings.Contains(got, "denied") {
		t.Errorf("the drop-in sees %q", got)
	}
}

func TestSocketsGoWithTheProcess(t *testing.T) {
	path := dice(t)
	left := func(dir string) []string {
		names, err := filepath.Glob(dir + "/*")
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	t.Run("running", func(t *testing.T) {
		cmd := command(t, path)
		p := run(t, cmd)
		if left := left(cmd.Sockets); len(left) > 0 {
			t.Errorf("a kill of the agent would leave %q", left)
		}
		if _, err := p.Describe(t.Context(), &proto.DescribeRequest{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("killed", func(t *testing.T) {
		cmd := command(t, path)
		p := run(t, cmd)
		if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-p.Exited()
		p.End(EndTimeout)
		if left := left(cmd.Sockets); len(left) > 0 {
			t.Errorf("there are still %q", left)
		}
	})
	t.Run("frozen", func(t *testing.T) {
		cmd := command(t, path)
		p := run(t, cmd)
		if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		p.End(50 * time.Millisecond)
		if left := left(cmd.Sockets); len(left) > 0 {
			t.Errorf("there are still %q", left)
		}
	})
	t.Run("not started", func(t *testing.T) {
		cmd := command(t, path)
		cmd.Shim = []string{"/nowhere"}
		if p, err := Start(t.Context(), cmd); err == nil {
			p.End(0)
			t.Error("it started")
		}
		if left := left(cmd.Sockets); len(left) > 0 {
			t.Errorf("there are still %q", left)
		}
	})
	t.Run("not prepared", func(t *testing.T) {
		cmd := command(t, path)
		cmd.File = &trust.File{File: cmd.File.File, Path: "/nowhere/../.."} // no name for a link
		if p, err := Start(t.Context(), cmd); err == nil {
			p.End(0)
			t.Error("it started")
		}
		if left := left(cmd.Sockets); len(left) > 0 {
			t.Errorf("there are still %q", left)
		}
	})
}
