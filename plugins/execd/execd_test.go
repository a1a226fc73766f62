//go:build linux

package execd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
	"github.com/rpicluster/vitals/plugins/proto"
)

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

func TestOptions(t *testing.T) {
	f := func(options, option, message string) {
		t.Helper()
		if !strings.HasPrefix(options, "command") {
			options += "\ncommand = [\"cat\"]"
		}
		errs := plugins.Check(Description(), []byte(options))
		if len(errs) != 1 || errs[0].Option != option || !strings.Contains(errs[0].Message, message) {
			t.Errorf("%s: %v", options, errs)
		}
	}
	f(`data_format = "json"`, "data_format", `only "influx"`)
	f(`signal = "SIGKILL"`, "signal", `"SIGUSR1"`)
	f(`restart_delay = "-1s"`, "restart_delay", "negative")
	f(`buffer_size = 1`, "buffer_size", `"1KiB"`)
	f(`buffer_size = "2MiB"`, "buffer_size", `"1MiB"`)
	f(`buffer_size = "many"`, "buffer_size", `"64KiB"`)
	f(`environment = ["A"]`, "environment", "NAME=value")
	f(`command = [""]`, "command", "name the program to run")
	f(`command = []`, "command", "name the program to run")
	if errs := plugins.Check(Description(), nil); len(errs) != 1 || errs[0].Option != "command" {
		t.Error(errs)
	}
	f(`command = "cat"`, "command", "expected a list")
	for _, good := range []string{"", `buffer_size = "64KiB"`, `buffer_size = 4096`, `buffer_size = "64kB"`, `buffer_size = "64Kib"`, `buffer_size = "2048B"`, `signal = "STDIN"`} {
		if errs := plugins.Check(Description(), []byte(good+"\ncommand = [\"cat\"]")); len(errs) > 0 {
			t.Errorf("%s: %v", good, errs)
		}
	}
}

// stream is the host's end of a stream, and everything it has received.
type stream struct {
	grpc.ServerStream
	t      *testing.T
	server proto.CollectorServer
	ctx    context.Context
	stop   func() // ends the stream; returns when all of it has ended
	log    buffer

	mu       sync.Mutex
	received strings.Builder
	failures []string
	failing  string
	held     chan struct{} // replies are taken once it is closed; nil: at once
}

type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) Send(r *proto.GatherReply) error {
	if s.held != nil {
		<-s.held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received.Write(r.Lines)
	if s.failing = r.Error; r.Error != "" {
		s.failures = append(s.failures, r.Error)
	}
	return nil
}

// start streams a shell script until the test ends. options come before it.
func start(t *testing.T, options, script string) *stream {
	t.Helper()
	return begin(t, options+fmt.Sprintf("\ncommand = [\"sh\", \"-c\", '''%s''']\n", script))
}

func begin(t *testing.T, options string) *stream {
	t.Helper()
	return (&stream{t: t}).begin(options)
}

func (s *stream) begin(options string) *stream {
	t := s.t
	t.Helper()
	s.server = plugins.NewServer(slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug - 4})), Description())
	r, err := s.server.Configure(t.Context(), &proto.ConfigureRequest{Collector: "execd", ConfigToml: []byte(options), LogLevel: "trace"})
	if err != nil || len(r.Errors) > 0 {
		t.Fatal(err, r.Errors)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	done := make(chan error, 1)
	go func() { done <- s.server.Stream(&proto.StreamRequest{}, s) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("received %q, failures %q, log:\n%.4000s", s.text(), s.failed(), s.log.String())
		}
	})
	return s
}

func (s *stream) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received.String()
}

func (s *stream) failed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.failures, "\n")
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain waited for " + what)
		}
	}
}

// gets waits for text to be received.
func (s *stream) gets(text string) {
	s.t.Helper()
	eventually(s.t, text, func() bool { return strings.Contains(s.text(), text) })
}

func (s *stream) fails(with string) {
	s.t.Helper()
	eventually(s.t, with, func() bool { return strings.Contains(s.failed(), with) })
}

func (s *stream) prompt() error {
	s.t.Helper()
	r, err := s.server.Gather(s.t.Context(), &proto.GatherRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(r.Lines) > 0 {
		s.t.Errorf("a prompt is answered with %q", r.Lines)
	}
	if r.Error != "" {
		return fmt.Errorf("%s", r.Error)
	}
	return nil
}

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

func dead(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestLinesArePassedOnAsTheyCome(t *testing.T) {
	s := start(t, "environment = [\"A=b\"]", `echo "m a=\"$A\" 1"; printf "n s=\"x\ny\" 2\nbad\n\n# no\n"; echo "o v=1"; read wait`)
	s.gets("m a=\"b\" 1\nn s=\"x\ny\" 2\nbad\n")
	eventually(t, "the unstamped line", func() bool { return strings.Contains(s.text(), "o v=1 1") && strings.HasSuffix(s.text(), "\n") })
	_, after, _ := strings.Cut(s.text(), "o v=1 ")
	nano, err := strconv.ParseInt(strings.TrimSpace(after), 10, 64)
	if age := time.Since(time.Unix(0, nano)); err != nil || age < 0 || age > time.Minute {
		t.Errorf("stamped %v ago, %v", age, err)
	}
	if s.failed() != "" {
		t.Error(s.failed())
	}
}

func TestPrompts(t *testing.T) {
	f := func(signal, script string) {
		t.Run(signal, func(t *testing.T) {
			s := start(t, "signal = \""+signal+"\"", script)
			s.gets("ready v=1 1\n")
			for n := 1; n <= 3; n++ {
				if err := s.prompt(); err != nil {
					t.Fatal(err)
				}
				s.gets(fmt.Sprintf("count n=%di 1\n", n))
			}
		})
	}
	f("STDIN", `n=0; echo ready v=1 1; while read line; do n=$((n+1)); echo "count n=${n}i 1"; done`)
	for _, signal := range []string{"HUP", "USR1", "USR2"} {
		f("SIG"+signal, `n=0; trap 'n=$((n+1)); echo "count n=${n}i 1"' `+signal+`
			echo ready v=1 1; while :; do sleep 0.02; done`)
	}
}

func TestPromptsInPython(t *testing.T) {
	program := filepath.Join(t.TempDir(), "counter.py")
	text := "import sys\nprint('ready v=1 1', flush=True)\nfor n, _ in enumerate(sys.stdin):\n    print(f'count n={n}i 1', flush=True)\n"
	if err := os.WriteFile(program, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := begin(t, fmt.Sprintf("signal = \"STDIN\"\ncommand = [\"/usr/bin/python3\", %q]", program))
	s.gets("ready")
	for n := range 3 {
		if err := s.prompt(); err != nil {
			t.Fatal(err)
		}
		s.gets(fmt.Sprintf("count n=%di 1\n", n))
	}
}

// A script in Python that does not flush is heard all the same, unless its owner
// has it otherwise.
func TestPythonPrintsAtOnce(t *testing.T) {
	t.Setenv("PYTHONUNBUFFERED", "") // so that it is put back
	os.Unsetenv("PYTHONUNBUFFERED")
	program := filepath.Join(t.TempDir(), "slow.py")
	text := "import os, sys\nprint('m u=\"' + os.environ['PYTHONUNBUFFERED'] + '\" 1')\nsys.stdin.read()\n"
	if err := os.WriteFile(program, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := fmt.Sprintf("command = [\"/usr/bin/python3\", %q]", program)
	begin(t, command).gets("m u=\"1\" 1\n")
	begin(t, command+"\nenvironment = [\"PYTHONUNBUFFERED=2\"]").gets("m u=\"2\" 1\n")
}

// A program that has no handler yet would be ended by the signal.
func TestASignalIsHeldBackUntilItIsHandled(t *testing.T) {
	dir := t.TempDir()
	s := start(t, `signal = "SIGUSR1"`, "echo ready v=1 1; while [ ! -e "+dir+"/go ]; do sleep 0.02; done; "+
		"trap 'echo count v=1 1' USR1; echo armed v=1 1; while :; do sleep 0.02; done")
	s.gets("ready v=1 1\n")
	for range 3 {
		if err := s.prompt(); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.gets("armed v=1 1\n")
	eventually(t, "an answer", func() bool { return s.prompt() == nil && strings.Contains(s.text(), "count v=1 1\n") })
	if s.failed() != "" {
		t.Error(s.failed())
	}
}

func TestWithoutAPromptItIsNotAsked(t *testing.T) {
	f := func(options string, want bool) {
		t.Helper()
		server := plugins.NewServer(slog.New(slog.DiscardHandler), Description())
		r, err := server.Configure(t.Context(), &proto.ConfigureRequest{Collector: "execd", ConfigToml: []byte(options + "\ncommand = [\"cat\"]")})
		if err != nil || r.Prompted != want {
			t.Errorf("%s: %v, %v", options, r, err)
		}
	}
	f("", false)
	f(`signal = "none"`, false)
	f(`signal = "STDIN"`, true)
	f(`signal = "SIGHUP"`, true)
}

func TestAProgramThatDoesNotRead(t *testing.T) {
	s := start(t, `signal = "STDIN"`, "exec <&-; echo ready v=1 1; while :; do sleep 0.02; done")
	s.gets("ready")
	if err := s.prompt(); err == nil || !strings.Contains(err.Error(), "does not read its standard input") {
		t.Error(err)
	}
}

func TestItIsStartedAgain(t *testing.T) {
	f := func(name, script, failure string) {
		t.Run(name, func(t *testing.T) {
			count := filepath.Join(t.TempDir(), "count")
			s := start(t, `restart_delay = "0s"`, "echo x >>"+count+"; echo run n=$(wc -l <"+count+")i 1; "+script)
			s.gets("run n=1i 1\n")
			s.gets("run n=3i 1\n")
			s.fails(failure)
		})
	}
	f("exit code 0", "exit 0", "program sh ended: exit status 0; it is started again 100ms later")
	f("exit code 3", "exit 3", "exit status 3")
	f("killed", "kill -9 $$", "signal: killed")
	f("a grandchild holds its pipes", "sleep 600 & exit 5", "exit status 5")
	f("it closes its output", "exec >&-; while :; do sleep 0.02; done", "it has closed its output")
}

func TestAStartThatFailsIsTriedAgain(t *testing.T) {
	program := filepath.Join(t.TempDir(), "late")
	s := begin(t, fmt.Sprintf("signal = \"STDIN\"\nrestart_delay = \"0s\"\ncommand = [%q]", program))
	s.fails("no such file or directory; it is started again")
	if err := s.prompt(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	text := "#!/bin/sh\necho here v=1 1\nread wait\n"
	if err := os.WriteFile(program+".new", []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(program+".new", program); err != nil {
		t.Fatal(err)
	}
	s.gets("here v=1 1\n")
	eventually(t, "the failure to be over", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.failing == "" })
}

func TestStopOnError(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	s := start(t, "restart_delay = \"0s\"\nstop_on_error = true",
		"echo x >>"+count+"; n=$(wc -l <"+count+"); echo run n=${n}i 1; [ $n -lt 3 ] || exit 9")
	s.gets("run n=1i 1\n")
	s.fails("exit status 9; it stays so")
	if !strings.Contains(s.text(), "run n=3i 1\n") || strings.Contains(s.text(), "run n=4i") {
		t.Error(s.text())
	}
}

// The last line of a program that has ended well needs no newline; one of a
// program that was cut off may be half a number.
func TestTheLastLine(t *testing.T) {
	s := start(t, `restart_delay = "1h"`, `printf "m v=1 1"`)
	s.gets("m v=1 1\n")
	s = start(t, `restart_delay = "1h"`, `printf "n v=1 1\nm v=1 1"; exit 1`)
	s.fails("exit status 1")
	if got := s.text(); got != "n v=1 1\n" {
		t.Errorf("%q", got)
	}
}

// A host that takes its time gets all of it, also what a program has printed
// just before its end.
func TestAHostThatIsSlowLosesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "leader")
	s := &stream{t: t, held: make(chan struct{})}
	s.begin(`restart_delay = "1h"` + fmt.Sprintf("\ncommand = [\"sh\", \"-c\", '''%s''']\n", "echo m n=0i 1; echo $$ >"+file+"; seq -f 'm n=%.0fi 1' 4000"))
	leader := number(t, file)
	eventually(t, "the program to end", func() bool { return dead(leader) })
	time.Sleep(3 * drainTime) // until nobody waits for its output any more
	close(s.held)
	s.fails("exit status 0")
	if got := strings.Count(s.text(), "\n"); got != 4001 || !strings.HasSuffix(s.text(), "\nm n=4000i 1\n") {
		t.Errorf("%d lines", got)
	}
}

func TestStopping(t *testing.T) {
	f := func(name, script string) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := start(t, "", "echo $$ >"+dir+"/leader; sleep 600 & echo $! >"+dir+"/child; "+script)
			leader, child := number(t, dir+"/leader"), number(t, dir+"/child")
			s.gets("ready v=1 1\n")
			s.stop()
			eventually(t, "all to end", func() bool { return dead(leader) && dead(child) })
		})
	}
	f("it reads its standard input", "echo ready v=1 1; while read line; do :; done")
	f("it does not", "echo ready v=1 1; while :; do sleep 0.02; done")
	f("it ignores SIGTERM", "trap '' TERM; echo ready v=1 1; while :; do sleep 0.02; done")
	f("it prints without end", "echo ready v=1 1; yes '# pushing'")
	f("it ignores SIGTERM and prints", "trap '' TERM; echo ready v=1 1; while :; do echo m v=1; done")
}

// A program gets the chance to end well: its standard input ends first.
func TestStandardInputEndsFirst(t *testing.T) {
	dir := t.TempDir()
	s := start(t, "", "trap 'echo TERM >"+dir+"/how' TERM; echo ready v=1 1; while read line; do :; done; echo EOF >"+dir+"/how")
	s.gets("ready")
	s.stop()
	eventually(t, "its end", func() bool {
		text, err := os.ReadFile(dir + "/how")
		return err == nil && string(text) == "EOF\n"
	})
}

// What a released instance has running ends, as it does with the stream.
func TestRelease(t *testing.T) {
	dir := t.TempDir()
	s := start(t, "", "echo $$ >"+dir+"/leader; echo ready v=1 1; exec sleep 600")
	leader := number(t, dir+"/leader")
	if _, err := s.server.Release(t.Context(), &proto.ReleaseRequest{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the program to end", func() bool { return dead(leader) })
}

func TestStderrIsLogged(t *testing.T) {
	s := start(t, "", `for p in "E! e" "W! w" "I! i" "D! d" "T! t" plain; do echo "$p" >&2; done; read wait`)
	for _, want := range []string{"level=ERROR msg=e ", "level=WARN msg=w ", "level=INFO msg=i ", "level=DEBUG msg=d ", "level=DEBUG-4 msg=t ",
		`level=ERROR msg="stderr: \"plain\""`} {
		eventually(t, want, func() bool { return strings.Contains(s.log.String(), want) })
	}
}

func TestBadLinesAreReported(t *testing.T) {
	s := start(t, `buffer_size = "1KiB"`, `printf 'm v=1\\\n'; head -c 5000 /dev/zero | tr '\0' x; echo; echo n v=1 1; read wait`)
	s.gets("n v=1 1\n")
	for _, want := range []string{"it ends in a backslash", "longer than buffer_size"} {
		eventually(t, want, func() bool { return strings.Contains(s.log.String(), want) })
	}
	if got := s.text(); got != "n v=1 1\n" {
		t.Errorf("%.300q", got)
	}
}

// Much at once arrives whole and in order.
func TestMuch(t *testing.T) {
	s := start(t, "", "seq -f 'm n=%.0fi 1' 100000; read wait")
	s.gets("m n=100000i 1\n")
	if got := strings.Count(s.text(), "\n"); got != 100000 {
		t.Errorf("%d lines", got)
	}
}

func TestHandles(t *testing.T) {
	if handles(os.Getpid(), syscall.SIGKILL) {
		t.Error("SIGKILL")
	}
	if !handles(os.Getpid(), syscall.SIGURG) { // Go's scheduler uses it
		t.Error("SIGURG")
	}
	if !handles(1<<30, syscall.SIGHUP) {
		t.Error("there is no telling, so it is sent")
	}
}
