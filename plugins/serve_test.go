package plugins

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/rpicluster/vitals/plugins/proto"
)

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eventually polls, since a log and the end of a process arrive when they do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func TestServe(t *testing.T) {
	h := start(t, self())

	t.Run("describe", func(t *testing.T) {
		r, err := h.Describe(t.Context(), &proto.DescribeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		want := &proto.CollectorDescription{
			Name: "probe", Aliases: []string{"sonde"}, Version: "1.2.3", Description: "Does as told.",
			SampleConfig: "# Does as told.\n[[inputs.probe]]\n  # mode = \"\"\n  # value = 7\n  # ratio = 0.0\n" +
				"  # every = \"1s\"\n  # names = []\n  # size = 0\n  # schema = \"telegraf\"\n",
			Options:      []string{"mode", "value", "ratio", "every", "names", "size", "schema"},
			Measurements: []string{"probe"}, DefaultIntervalNs: int64(time.Hour),
		}
		if diff := cmp.Diff(want, r.Collectors[0], protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		if r.Collectors[1].Kind != proto.Kind_KIND_STREAM {
			t.Errorf("events is a %s", r.Collectors[1].Kind)
		}
	})

	t.Run("two instances", func(t *testing.T) {
		h.configure(t, "a", "probe", "value = 1")
		if r := h.configure(t, "b", "sonde", "value = 2\nschema = \"cluster\""); !r.OmitHost {
			t.Error("OmitHost is lost")
		}
		for id, want := range map[string]string{"a": "probe,node=pi4 value=1i,primed=1i\n", "b": "probe,node=pi4 value=2i,primed=1i\n"} {
			if got, failure := h.gather(t, id); got != want || failure != "" {
				t.Errorf("%s: %q, %q", id, got, failure)
			}
		}
	})

	t.Run("wrong options change nothing", func(t *testing.T) {
		h.configure(t, "c", "probe", "value = 3")
		r := h.configure(t, "c", "probe", "valu = 4")
		want := []*proto.OptionError{{Option: "valu", Message: `unknown option; did you mean "value"?`}}
		if diff := cmp.Diff(want, r.Errors, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		if got, _ := h.gather(t, "c"); !strings.Contains(got, "value=3i") {
			t.Errorf("the old instance answers %q", got)
		}
	})

	t.Run("unknown collector", func(t *testing.T) {
		r := h.configure(t, "x", "prob", "")
		if len(r.Errors) != 1 || !strings.Contains(r.Errors[0].Message, "probe, events") {
			t.Errorf("%v", r.Errors)
		}
	})

	t.Run("panic", func(t *testing.T) {
		h.configure(t, "p", "probe", `mode = "panic"`)
		lines, failure := h.gather(t, "p")
		if lines != "probe before=1i\n" || failure != "collector panicked: boom" {
			t.Errorf("%q, %q", lines, failure)
		}
		eventually(t, "the stack in the log", func() bool { return strings.Contains(h.log.String(), "main_test.go") })
		if got, _ := h.gather(t, "a"); got == "" {
			t.Error("the other instance is gone")
		}
	})

	t.Run("error with lines", func(t *testing.T) {
		h.configure(t, "e", "probe", `mode = "error"`)
		if lines, failure := h.gather(t, "e"); lines != "probe value=1i\n" || failure != "half of it is missing" {
			t.Errorf("%q, %q", lines, failure)
		}
	})

	t.Run("failing first reading", func(t *testing.T) {
		for _, mode := range []string{"prime fails", "prime panics"} {
			if r := h.configure(t, mode, "probe", "mode = \""+mode+"\""); len(r.Errors) > 0 {
				t.Errorf("%v", r.Errors)
			}
			if got, _ := h.gather(t, mode); !strings.Contains(got, "primed=0i") {
				t.Errorf("%s: %q", mode, got)
			}
		}
	})

	t.Run("release", func(t *testing.T) {
		h.configure(t, "r", "probe", "")
		for range 2 {
			if _, err := h.Release(t.Context(), &proto.ReleaseRequest{InstanceId: "r"}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := h.Gather(t.Context(), &proto.GatherRequest{InstanceId: "r"})
		if status.Code(err) != codes.NotFound {
			t.Errorf("%v", err)
		}
	})

	t.Run("printing does not block", func(t *testing.T) {
		h.configure(t, "out", "probe", `mode = "print"`)
		for range 20 { // 10 MB in all
			if got, failure := h.gather(t, "out"); got == "" || failure != "" {
				t.Fatalf("%q, %q", got, failure)
			}
		}
		eventually(t, "what was printed", func() bool {
			return strings.Contains(h.log.String(), "printed printed") && strings.Contains(h.log.String(), "written written")
		})
	})

	t.Run("log", func(t *testing.T) {
		h.configure(t, "log", "probe", `mode = "log"`)
		h.gather(t, "log")
		eventually(t, "the warning", func() bool { return strings.Contains(h.log.String(), "look here") })
		line := h.log.String()
		line = line[strings.Index(line, "look here"):]
		line, _, _ = strings.Cut(line, "\n")
		for _, part := range []string{"collector=probe", "instance=log", `reason="told to"`, "@module"} {
			if !strings.Contains(line, part) {
				t.Errorf("%q lacks %s", line, part)
			}
		}
		if !strings.Contains(h.log.String(), "[WARN]") || strings.Contains(h.log.String(), "too fine") {
			t.Error("levels are lost")
		}
	})
}

// TestHang holds one instance in a reading that never ends: its callers get
// their deadline, the other instances do not notice.
func TestHang(t *testing.T) {
	h := start(t, self())
	h.configure(t, "stuck", "probe", `mode = "hang"`)
	h.configure(t, "free", "probe", "")
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := h.Gather(ctx, &proto.GatherRequest{InstanceId: "stuck"})
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			t.Fatalf("%v", err)
		}
		if got, _ := h.gather(t, "free"); got == "" {
			t.Fatal("no line")
		}
	}
	h.configure(t, "stuck", "probe", "")
	if got, _ := h.gather(t, "stuck"); got == "" {
		t.Error("a new instance of the id does not answer")
	}
}

func TestStream(t *testing.T) {
	h := start(t, self())
	h.configure(t, "s", "events", "")
	if r := h.configure(t, "w", "events", "prompt = true"); !r.Prompted || r.GatherTimeoutNs != int64(3*time.Second) {
		t.Errorf("its wishes are lost: %v", r)
	}
	h.configure(t, "f", "events", "fail = true\ncount = 0")
	h.configure(t, "p", "probe", "")

	open := func(id string) proto.Collector_StreamClient {
		s, err := h.Stream(t.Context(), &proto.StreamRequest{InstanceId: id})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open("s")
	for _, want := range []string{"event n=0i\n", "event n=1i\n", "event n=2i\n"} {
		r, err := s.Recv()
		if err != nil || string(r.Lines) != want {
			t.Fatalf("%v, %v", r, err)
		}
		if failing := want == "event n=1i\n"; failing != (r.Error == "for a moment") {
			t.Errorf("%s says %q", want, r.Error)
		}
	}
	if r, err := open("s").Recv(); err != nil || !strings.Contains(r.Error, "already") {
		t.Errorf("second stream: %v, %v", r, err)
	}
	if _, err := h.Release(t.Context(), &proto.ReleaseRequest{InstanceId: "s"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("a released stream ends with %v", err)
	}
	f := open("f")
	if r, err := f.Recv(); err != nil || r.Error != "device went away" {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := f.Recv(); err != io.EOF {
		t.Errorf("%v", err)
	}
	if _, err := open("p").Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("%v", err)
	}
}

// gone reports whether the process has ended (go-plugin reaps it).
func gone(pid int) bool { return syscall.Kill(pid, 0) != nil }

func TestLifeline(t *testing.T) {
	h := start(t, self())
	h.configure(t, "stuck", "probe", `mode = "hang"`)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, _ = h.Gather(ctx, &proto.GatherRequest{InstanceId: "stuck"})
	if gone(h.pid) {
		t.Fatal("gone before the lifeline is")
	}
	h.lifeline.Close()
	eventually(t, "the end of the process", func() bool { return gone(h.pid) })
	if left, err := filepath.Glob(filepath.Join(h.sockets, "*")); err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
}

// Whoever says something on the way out, to a host that is gone, still gets
// out in order: a write to standard error must not end the process.
func TestTheLastWordsOfABereftPluginDoNotKillIt(t *testing.T) {
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	cmd := self()
	var pipes [3][2]*os.File // standard output and error, lifeline
	for i := range pipes {
		var err error
		if pipes[i][0], pipes[i][1], err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = pipes[0][1], pipes[1][1], []*os.File{pipes[2][0]}
	cmd.Env = append(os.Environ(), append(cmd.Env, LifelineEnv+"=3", "VITALS_PLUGIN=collector", "PLUGIN_UNIX_SOCKET_DIR="+dir)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	handshake, err := bufio.NewReader(pipes[0][0]).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	connection, err := grpc.NewClient("unix://"+strings.Split(handshake, "|")[3], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	h := &host{CollectorClient: proto.NewCollectorClient(connection)}
	h.configure(t, "f", "probe", fmt.Sprintf("mode = \"farewell\"\nnames = [%q]", said))
	for _, f := range []*os.File{pipes[0][1], pipes[1][1], pipes[2][0], pipes[0][0], pipes[1][0], pipes[2][1]} {
		f.Close()
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(said); err != nil {
		t.Error(err)
	}
}

// A host's own program clears away what the plugins of a killed host have left,
// in whichever session it is, and nothing else.
func TestTheLastOneClearsAway(t *testing.T) {
	sockets := t.TempDir()
	left := func(env ...string) int {
		cmd := exec.Command("sleep", "600")
		cmd.Env, cmd.SysProcAttr = env, &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { _ = cmd.Wait() }()
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd.Process.Pid
	}
	theirs := []int{left("PLUGIN_UNIX_SOCKET_DIR=" + sockets + "/a"), left("X=y", "PLUGIN_UNIX_SOCKET_DIR="+sockets+"/b")}
	others := []int{
		left("PLUGIN_UNIX_SOCKET_DIR=" + sockets + "-of-another/a"), left("X=PLUGIN_UNIX_SOCKET_DIR=" + sockets), left(),
		left("PLUGIN_UNIX_SOCKET_DIR="+sockets+"/c", GuardEnv+"="+sockets), // does as we do
	}
	cmd := self()
	cmd.Env = append(cmd.Env, GuardEnv+"="+sockets)
	h := start(t, cmd)
	h.lifeline.Close()
	eventually(t, "the end of the process", func() bool { return gone(h.pid) })
	for _, pid := range theirs {
		eventually(t, "the end of what was left", func() bool { return gone(pid) })
	}
	for _, pid := range others {
		if gone(pid) {
			t.Errorf("process %d had nothing to do with it", pid)
		}
	}
	if _, err := os.Stat(sockets); !os.IsNotExist(err) {
		t.Error("the sockets are still there")
	}
}

func TestByHand(t *testing.T) {
	cmd := self()
	cmd.Env = append(os.Environ(), cmd.Env...)
	out, err := cmd.CombinedOutput()
	if _, ok := err.(*exec.ExitError); !ok {
		t.Errorf("ends with %v", err)
	}
	for _, part := range []string{"not run by hand", "/usr/local/lib/vitals/plugins", "[[inputs.probe]]", "Does as told."} {
		if !strings.Contains(string(out), part) {
			t.Errorf("%q lacks %q", out, part)
		}
	}
}

func TestBadLifeline(t *testing.T) {
	for _, number := range []string{"x", "-1", "987"} {
		if watchLifeline(number, nil) == nil {
			t.Errorf("%s is taken for a descriptor", number)
		}
	}
	if err := watchLifeline("", nil); err != nil {
		t.Error(err)
	}
}

// TestDice runs the example as an author would.
func TestDice(t *testing.T) {
	program := filepath.Join(t.TempDir(), "vitals-plugin-dice")
	if out, err := exec.Command("go", "build", "-o", program, "./examples/dice").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h := start(t, exec.Command(program))
	h.configure(t, "d", "dice", "sides = 1")
	if got, failure := h.gather(t, "d"); got != "dice value=1i\n" || failure != "" {
		t.Errorf("%q, %q", got, failure)
	}
}
