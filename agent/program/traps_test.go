package program

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/plugins/proto"
)

// The traps of running other people's programs behind go-plugin, and the test
// that shows how each is met; those of schedules are in agent/collect, those of
// the agent as a whole in tests.
//
//	go-plugin's Kill waits for a frozen plugin for ever   TestTheEndOfAFrozenProcessIsBounded
//	its Ping has no deadline                              TestHealthIsNotAskedFor
//	a handshake that hangs holds its lock                 TestAStartThatHangsIsGivenUp
//	a grandchild that holds the pipes hides the end       TestTheEndIsNoticedInSpiteOfAGrandchild
//	standard output is read up to its first long line     TestPrintingDoesNotBlockAPlugin
//	something is printed before the handshake             TestWhatIsPrintedInsteadOfTheHandshakeIsNamed
//	the agent's terminal is the plugin's                  TestTheWorldOfAPlugin
//	the agent's environment is the plugin's               TestTheWorldOfAPlugin
//	an answer may have 2 GiB                              TestAHugeAnswerCostsTheHostNothing
//	sockets stay after SIGKILL                            TestSocketsAreGoneOnceTheyAreUsed
//	every start leaks a little                            TestACrashLoopLeaksNothing
//	a log without end goes to the agent's                 TestALogIsBounded
//	a signal to the agent's group ends plugins first      TestSignalsToTheAgentsGroupDoNotReachPlugins
//	systemd's signal ends plugins before the agent        tests: TestTheUnitLeavesCollectorsToTheAgent
//	a client that is not killed leaks its process         TestAStartThatFailsLeavesNothing
//	certificates make the host panic                      TestACertificateIsNotNeeded
//	odd entries of a log make the host panic              TestEntriesThatMislead
//	reattaching, pinning, managing, discovering           TestPartsOfGoPluginThatAreNotUsed
//	what is run is not what was checked                   TestWhatRunsIsWhatWasChecked
//	a process that even SIGKILL does not end              TestAProcessThatCannotBeKilledIsLeft
//	an agent that is killed leaves orphans                tests: TestTicks/NothingOutlivesAnAgentThatIsKilled

// freeze stops a process, and returns when it does nothing any more.
func freeze(t *testing.T, p *Process) {
	t.Helper()
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a process to be frozen", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		return err == nil && strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " T")
	})
}

func TestTheEndOfAFrozenProcessIsBounded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.start("well")
	freeze(t, p)
	if _, err := gather(t, p, "x", 2*time.Second); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a frozen process answers %v", err)
	}
	requireReturns(t, "End", func() { p.End(300 * time.Millisecond) })
	eventually(t, "the end of the process", func() bool { return syscall.Kill(p.PID(), 0) == syscall.ESRCH })
	h.requireNothingLeft()
}

func TestKillDoesNotWait(t *testing.T) {
	t.Parallel()
	p := newHost(t).start("well")
	freeze(t, p)
	requireReturns(t, "Kill", p.Kill)
	eventually(t, "the end of the process", func() bool { return ended(p) })
}

func TestSignalsThatAProcessIgnoresAreNotAskedFor(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.start("deaf to signals")
	requireReturns(t, "End", func() { p.End(100 * time.Millisecond) })
	eventually(t, "its end", func() bool { return ended(p) && gone(p.PID()) })
	h.requireNothingLeft()
}

func TestHealthIsNotAskedFor(t *testing.T) {
	t.Parallel()
	p := newHost(t).start("health hangs")
	mustGather(t, p, "x")
}

func TestAStartThatHangsIsGivenUp(t *testing.T) {
	// Where the handshake is to come it has the time that a busy machine needs.
	const short, long = 300 * time.Millisecond, 5 * time.Second
	f := func(name, want string, timeout time.Duration, command func(h *host) Command) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			cmd := command(h)
			cmd.Timeout = timeout
			pids := filepath.Join(h.sockets, "pids")
			cmd.Env = append(cmd.Env, "PIDS="+pids)
			requireReturns(t, "Start", func() {
				_, err := Start(t.Context(), cmd)
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v", err)
				}
			})
			text, _ := os.ReadFile(pids)
			for _, pid := range strings.Fields(string(text)) {
				var n int
				fmt.Sscan(pid, &n)
				eventually(t, "the end of process "+pid, func() bool { return gone(n) })
			}
			os.Remove(pids)
			h.requireNothingLeft()
		})
	}
	shell := func(script string) func(*host) Command {
		return func(h *host) Command { return h.command("/bin/sh", "-c", "echo $$ >>$PIDS; "+script) }
	}
	rogue := func(how string) func(*host) Command {
		return func(h *host) Command { return h.rogue(how) }
	}
	f("it says nothing", "no handshake within 300ms", short, shell("exec sleep 600"))
	f("it says half of it", "no handshake within 300ms", short, shell("printf '1|1|unix'; exec sleep 600"))
	f("its child says nothing", "no handshake within 300ms", short, shell("sleep 600 & echo $! >>$PIDS; wait"))
	f("it listens nowhere", "ask what it collects", long, shell("echo \"1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/nowhere|grpc|\"; exec sleep 600"))
	f("it is frozen after it", "it does not answer", long, rogue("frozen at once"))
	f("it does not say what it collects", "it does not answer", long, rogue("describe hangs"))
}

func TestTheEndIsNoticedInSpiteOfAGrandchild(t *testing.T) {
	for _, kind := range []string{"offspring", "daemon"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			p := h.start("well")
			child := childOf(t, mustGather(t, p, kind))
			if gone(child) {
				t.Fatal("there is no grandchild")
			}
			if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the end", func() bool { return ended(p) })
			if syscall.Kill(p.PID(), 0) != syscall.ESRCH {
				t.Error("it was not reaped")
			}
			requireReturns(t, "End", func() { p.End(time.Second) })
			eventually(t, "the grandchild to be gone", func() bool { return gone(child) })
			h.requireNothingLeft()
		})
	}
}

// A program that puts itself into the background has ended, for its host: what
// then runs on would be one more after each start.
func TestAProgramThatTurnsIntoADaemonIsNotLeftRunning(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	cmd := h.rogue("daemon")
	p, err := Start(t.Context(), cmd)
	if err == nil {
		t.Cleanup(func() { p.End(0) })
		eventually(t, "the end", func() bool { return ended(p) })
		p.End(time.Second)
	}
	eventually(t, "the daemon to be gone", func() bool { return len(marked(h.sockets)) == 0 })
	h.requireNothingLeft()
}

func TestPrintingDoesNotBlockAPlugin(t *testing.T) {
	t.Parallel()
	p := newHost(t).start("well")
	for range 3 {
		mustGather(t, p, "print")
	}
}

func TestWhatIsPrintedInsteadOfTheHandshakeIsNamed(t *testing.T) {
	f := func(name, script, want string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			cmd := h.command("/bin/sh", "-c", script)
			_, err := Start(t.Context(), cmd)
			if err == nil || err.Error() != "start /bin/sh: "+want {
				t.Errorf("%v\nwant %s", err, want)
			}
			h.requireNothingLeft()
		})
	}
	f("a greeting", "echo hello; sleep 600", `it printed "hello" where the go-plugin handshake belongs`)
	f("nothing", "exit 0", "it ended without the go-plugin handshake")
	f("an empty line", "echo; sleep 600", `it printed "" where the go-plugin handshake belongs`)
	f("without an end", "head -c 1000000 /dev/zero | tr '\\0' x; sleep 600",
		`it printed "`+strings.Repeat("x", 80)+`…" where the go-plugin handshake belongs`)
	f("bytes", `printf '\033[2J\377\000\n'; sleep 600`, `it printed "\x1b[2J\xff\x00" where the go-plugin handshake belongs`)
	f("another version", "echo '1|7|unix|/x|grpc|'; sleep 600", "it speaks version 7 of the contract; this agent speaks 1")
	f("another protocol", "echo '1|1|unix|/x|netrpc|'; sleep 600", `it printed "1|1|unix|/x|netrpc|"; the agent talks gRPC through a Unix socket: 1|1|unix|/path|grpc|`)
	f("no number", "echo 'a|b|c|d|e|'; sleep 600", `it printed "a|b|c|d|e|" where the go-plugin handshake belongs`)
	f("somebody's socket", "echo '1|1|unix|/tmp/x.sock|grpc|'; sleep 600",
		`its socket "/tmp/x.sock" is not in $PLUGIN_UNIX_SOCKET_DIR, the directory that the agent made for it`)
	f("a relative one", "echo '1|1|unix|x.sock|grpc|'; sleep 600",
		`its socket "x.sock" is not in $PLUGIN_UNIX_SOCKET_DIR, the directory that the agent made for it`)
	f("and a reason", "echo 'no module called grpc' >&2; echo hello; sleep 600",
		`it last said: no module called grpc (it printed "hello" where the go-plugin handshake belongs)`)
}

func TestTheWorldOfAPlugin(t *testing.T) {
	t.Setenv("INFLUX_TOKEN", "of the agent")
	p := newHost(t).start("well")
	got := mustGather(t, p, "world")
	for _, want := range []string{"stdin=/dev/null ", "mode=700 ", `"PLUGIN_UNIX_SOCKET_DIR=`, `"VITALS_LIFELINE_FD=3"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
	for _, secret := range []string{"of the agent", "PLUGIN_CLIENT_CERT", "HOME="} {
		if strings.Contains(got, secret) {
			t.Errorf("%s is in %s", secret, got)
		}
	}
}

// Not parallel: it measures this process.
func TestAHugeAnswerCostsTheHostNothing(t *testing.T) {
	h := newHost(t)
	p, other := h.start("well"), h.start("well")
	mustGather(t, p, "x")
	runtime.GC()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak begins anew
		t.Fatal(err)
	}
	before := peak(t)
	for range 5 {
		if _, err := gather(t, p, "huge", patience); status.Code(err) != codes.ResourceExhausted {
			t.Fatal(err)
		}
		mustGather(t, other, "x")
	}
	mustGather(t, p, "x")
	if grown := peak(t) - before; grown > 16<<20 {
		t.Errorf("five answers of 100 MB took %d MiB of the host's memory", grown>>20)
	}
}

// peak is the most memory that this process had at once.
func peak(t *testing.T) (bytes int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	if _, err := fmt.Sscan(rest, &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes << 10
}

func TestSocketsAreGoneOnceTheyAreUsed(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.start("well")
	h.requireNothingLeft() // the agent has its connection, and there is no second
	p.Kill()
	eventually(t, "the end", func() bool { return ended(p) })
	p.End(time.Second)
	h.requireNothingLeft()
}

// Not parallel: it counts what this process has.
func TestACrashLoopLeaksNothing(t *testing.T) {
	h := newHost(t)
	crash := func() {
		for _, cmd := range []Command{h.rogue("ends after the handshake"), h.command("/bin/sh", "-c", "echo hello; exit 1"), h.command("/nowhere/at/all")} {
			if p, err := Start(t.Context(), cmd); err == nil {
				p.End(time.Second)
			}
		}
		p, err := Start(t.Context(), h.rogue("well"))
		if err != nil {
			t.Fatal(err)
		}
		p.Kill()
		p.End(time.Second)
	}
	for range 5 {
		crash()
	}
	settled := func() (goroutines, files, threads int) {
		runtime.GC()
		fds, _ := os.ReadDir("/proc/self/fd")
		tasks, _ := os.ReadDir("/proc/self/task")
		return runtime.NumGoroutine(), len(fds), len(tasks)
	}
	goroutines, files, threads := settled()
	for range 50 {
		crash()
	}
	eventually(t, "goroutines and descriptors to be given back", func() bool {
		g, f, th := settled()
		return g <= goroutines+2 && f <= files+1 && th <= threads+10
	})
	h.requireNothingLeft()
}

func TestSignalsToTheAgentsGroupDoNotReachPlugins(t *testing.T) {
	t.Parallel()
	p := newHost(t).start("well")
	group, err := syscall.Getpgid(p.PID())
	if err != nil || group != p.PID() || group == syscall.Getpgrp() {
		t.Errorf("its group is %d, ours %d: %v", group, syscall.Getpgrp(), err)
	}
}

// Whatever goes wrong at a start, and whenever it is given up, no process is
// left, no socket, and no descriptor.
func TestAStartThatFailsLeavesNothing(t *testing.T) {
	h := newHost(t)
	try := func(ctx context.Context, cmd Command) {
		t.Helper()
		p, err := Start(ctx, cmd)
		if err == nil {
			p.End(0)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	round := func() {
		try(cancelled, h.rogue("well"))
		try(t.Context(), h.rogue("describes nothing"))
		try(t.Context(), h.command("/nowhere/at/all"))
		try(t.Context(), h.command("/bin/sh", "-c", "echo '1|7|unix|/x|grpc|'; sleep 600"))
		for _, after := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			try(ctx, h.rogue("well"))
			cancel()
		}
	}
	round()
	fds := func() int { all, _ := os.ReadDir("/proc/self/fd"); return len(all) }
	before := fds()
	for range 5 {
		round()
	}
	eventually(t, "all to be given back", func() bool {
		left, _ := filepath.Glob(filepath.Join(h.sockets, "*"))
		return len(left) == 0 && fds() <= before+1 && len(marked(h.sockets)) == 0
	})
}

// What listens elsewhere is not the process that was started, whatever leads
// there.
func TestASocketMustBeTheProcesssOwn(t *testing.T) {
	t.Parallel()
	for _, where := range []string{`"$PLUGIN_UNIX_SOCKET_DIR/../other.sock"`, `"$PLUGIN_UNIX_SOCKET_DIR/link"`} {
		h := newHost(t)
		l, err := net.Listen("unix", filepath.Join(h.sockets, "other.sock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			if c, err := l.Accept(); err == nil {
				t.Errorf("%s: the agent has called it", where)
				c.Close()
			}
		}()
		cmd := h.command("/bin/sh", "-c", `ln -s ../other.sock "$PLUGIN_UNIX_SOCKET_DIR/link"; echo "1|1|unix|"`+where+`"|grpc|"; exec sleep 600`)
		if _, err := Start(t.Context(), cmd); err == nil || !strings.Contains(err.Error(), "is not in $PLUGIN_UNIX_SOCKET_DIR") {
			t.Errorf("%s: %v", where, err)
		}
	}
}

// go-plugin takes a certificate for the answer to one of its own.
func TestACertificateIsNotNeeded(t *testing.T) {
	t.Parallel()
	mustGather(t, newHost(t).start("certificate"), "x")
}

func TestWhatAProgramSaysOfItselfIsBounded(t *testing.T) {
	f := func(how, want string) {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			_, err := Start(t.Context(), newHost(t).rogue(how))
			if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("%.3000v", err)
			}
		})
	}
	f("describes nothing", "it collects nothing")
	f("describes thousands", "it says that it has 5001 collectors")
	f("describes at length", "what it collects takes more than 1 MiB to say")
	f("ends after the handshake", "it ended right after its handshake")
	f("bad text", "much much")
	f("hurries", "every 1ns")
}

func TestErrorsOfAnAnswerAreFitToBeRead(t *testing.T) {
	t.Parallel()
	reply, err := gather(t, newHost(t).start("well"), "error", patience)
	if err != nil {
		t.Fatal(err)
	}
	if got := reply.Error; len(got) > 1100 || strings.ContainsAny(got, "\x1b\x00") || !strings.Contains(got, "and long") {
		t.Errorf("%q", got)
	}
}

func TestWishesAreBounded(t *testing.T) {
	t.Parallel()
	p := newHost(t).start("well")
	for wish, want := range map[string]time.Duration{"9223372036854775807": time.Hour, "-5": 0, "7": 7} {
		reply, err := p.Configure(t.Context(), &proto.ConfigureRequest{InstanceId: wish})
		if err != nil || time.Duration(reply.GatherTimeoutNs) != want {
			t.Errorf("%s: %v, %v", wish, reply, err)
		}
	}
	reply, err := p.Configure(t.Context(), &proto.ConfigureRequest{InstanceId: "mistakes"})
	if err != nil || len(reply.Errors) != 20 {
		t.Fatal(len(reply.GetErrors()), err)
	}
	if e := reply.Errors[0]; len(e.Option) > 110 || len(e.Message) > 1100 || strings.ContainsAny(e.Option+e.Message, "\x1b\n") {
		t.Errorf("%q", e)
	}
}

// Nobody else notices that a process is frozen which is only streamed from, or
// gathered once an hour. One that is asked something else is left alone.
func TestAProcessThatSaysNothingIsAskedAndEnded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	cmd := h.rogue("well")
	cmd.silence = 1500 * time.Millisecond
	p, err := Start(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer p.End(0)
	time.Sleep(4 * cmd.silence) // it is asked, and answers
	if ended(p) {
		t.Fatal(p.Err())
	}
	freeze(t, p)
	if _, err := gather(t, p, "x", 3*cmd.silence); ended(p) {
		t.Error("it was ended in the middle of a call", err)
	}
	eventually(t, "the end", func() bool { return ended(p) })
	if p.Err() != errSilent {
		t.Error(p.Err())
	}
}

// What of go-plugin has a trap in it and is not needed is not used.
func TestPartsOfGoPluginThatAreNotUsed(t *testing.T) {
	never := map[string]string{
		"Reattach": "it has killed processes of others", "ReattachConfig": "it has killed processes of others",
		"Ping": "it has no deadline", "AutoMTLS": "other languages cannot read its certificates",
		"SecureConfig": "it checks one file and runs another", "Managed": "it never forgets a client",
		"CleanupClients": "it waits for ever", "Discover": "it takes any file", "GRPCBroker": "nothing needs it",
	}
	files, err := filepath.Glob("../*/*.go")
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "_test.go") || !importsGoPlugin(file) {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && never[id.Name] != "" {
				t.Errorf("%s uses %s of go-plugin: %s", path, id.Name, never[id.Name])
			}
			return true
		})
	}
}

func importsGoPlugin(f *ast.File) bool {
	return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"github.com/hashicorp/go-plugin"` })
}

// A process that has closed its connection will never answer again.
func TestAProcessThatIsAliveAndNotListeningIsEnded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.start("well")
	_, _ = gather(t, p, "close", patience)
	eventually(t, "the end", func() bool { return ended(p) })
	if !strings.Contains(p.Err().Error(), "closed its connection") {
		t.Error(p.Err())
	}
}

func ended(p *Process) bool {
	select {
	case <-p.Exited():
		return true
	default:
		return false
	}
}
