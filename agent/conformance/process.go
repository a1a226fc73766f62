package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

// handshakeTime is how long a program may take to its handshake.
const handshakeTime = program.StartTimeout

// process is one run of the program under check.
type process struct {
	proto.CollectorClient

	cmd      *exec.Cmd
	sockets  string   // the one directory that it may listen in
	lifeline *os.File // our end of it
	out, log *speech
	exited   chan struct{} // closed when it has ended and what it said was read
	conn     *grpc.ClientConn
	begun    time.Time
	took     time.Duration // from then to the handshake
}

// start runs the program to its handshake and connects to it.
func (c *check) start(ctx context.Context) (*process, error) {
	p, err := c.spawn()
	if err != nil {
		return nil, err
	}
	if err = p.connect(ctx, c.startTimeout); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// spawn starts the process as the agent does: in a session and a directory
// like a daemon's, with an environment that holds nothing of the owner's.
func (c *check) spawn() (*process, error) {
	dir, err := os.MkdirTemp(c.Sockets, "check")
	if err != nil {
		return nil, fmt.Errorf("make directory for the socket: %w", err)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer theirs.Close()
	p := &process{
		cmd: exec.Command(c.Argv[0], c.Argv[1:]...), sockets: dir, lifeline: ours,
		out: newSpeech(), log: newSpeech(), exited: make(chan struct{}),
	}
	cookie := plugins.Handshake()
	p.cmd.Env = append(slices.Clone(c.Env), cookie.MagicCookieKey+"="+cookie.MagicCookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_MIN_PORT=10000", "PLUGIN_MAX_PORT=25000",
		p.mark(), plugins.LifelineEnv+"=3")
	p.cmd.ExtraFiles = []*os.File{theirs} // becomes 3
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = p.out, p.log, "/"
	p.cmd.WaitDelay = 200 * time.Millisecond // somebody else may hold its pipes
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	p.begun = time.Now()
	if err := p.run(); err != nil {
		ours.Close()
		os.RemoveAll(dir)
		return nil, fmt.Errorf("start it: %w", err)
	}
	return p, nil
}

// mark is what tells the processes of this run from all others: everything that
// it starts inherits it.
func (p *process) mark() string { return "PLUGIN_UNIX_SOCKET_DIR=" + p.sockets }

// run starts the process from a thread that lives as long as it does, for the
// kernel ends it with that thread.
func (p *process) run() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.exited)
		}
	}()
	return <-started
}

// connect waits for the handshake and dials where it says.
func (p *process) connect(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case <-p.out.line:
	case <-p.exited:
		if p.out.firstLine() == "" {
			return errors.New(p.ending())
		}
	case <-ctx.Done():
		return fmt.Errorf("nothing on standard output within %v%s", timeout, p.log.quoted(", but on standard error: "))
	}
	p.took = time.Since(p.begun)
	path, err := p.address(p.out.firstLine())
	if err != nil {
		return err
	}
	// What follows passthrough is handed on as it is, whatever the path holds.
	p.conn, err = grpc.NewClient("passthrough:///"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(program.MaxReply)))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", path, err)
	}
	p.CollectorClient = proto.NewCollectorClient(p.conn)
	return p.established(ctx)
}

// address reads the handshake.
func (p *process) address(line string) (path string, err error) {
	f := strings.Split(strings.TrimSpace(line), "|")
	switch {
	case len(f) < 5 || f[0] != "1":
		return "", fmt.Errorf("its first line of output is %q", shortened(line))
	case f[1] != "1":
		return "", fmt.Errorf("it speaks version %q of the contract; there is only 1", f[1])
	case f[2] != "unix" || f[4] != "grpc":
		return "", fmt.Errorf("it offers %q over %q, not gRPC over a Unix socket", f[4], f[2])
	case len(f) > 5 && f[5] != "":
		return "", errors.New("it asks for TLS, which nobody has asked it for")
	case filepath.Dir(f[3]) != p.sockets:
		return "", fmt.Errorf("its socket is %s, which is not in the directory that it was told, %s", f[3], p.sockets)
	}
	return f[3], nil
}

// established waits for the one connection that there is to be.
func (p *process) established(ctx context.Context) error {
	p.conn.Connect()
	for {
		switch state := p.conn.GetState(); {
		case state == connectivity.Ready:
			return nil
		case state == connectivity.TransientFailure || !p.conn.WaitForStateChange(ctx, state):
			return errors.New("nobody answers on its socket")
		}
	}
}

// alive says why the process is of no use any more.
func (p *process) alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, program.DescribeTimeout)
	defer cancel()
	_, err := p.Describe(ctx, &proto.DescribeRequest{})
	if err == nil {
		return nil
	}
	if p.exitsWithin(500 * time.Millisecond) {
		return errors.New("that was the end of the process: " + p.ending())
	}
	return fmt.Errorf("after that it does not even answer Describe: %w", plain(err))
}

func (p *process) exitsWithin(d time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(d):
		return false
	}
}

// ending is how it ended, and what it said last.
func (p *process) ending() string {
	text := "it ended"
	if s := p.cmd.ProcessState; s != nil {
		text += " with " + s.String()
	}
	return text + p.log.quoted(" and last said: ")
}

// kill ends the process and all that it has started, and removes its directory.
func (p *process) kill() {
	if p.conn != nil {
		p.conn.Close()
	}
	if p.cmd.Process != nil && !p.exitsWithin(0) {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
	}
	for _, pid := range p.leftProcesses() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	p.lifeline.Close()
	os.RemoveAll(p.sockets)
}

// speech keeps the beginning and the end of what a process writes.
type speech struct {
	line chan struct{} // closed with the first line

	mu         sync.Mutex
	head, tail []byte
	lines      int
}

// maxSpeech bounds both.
const maxSpeech = 8 << 10

func newSpeech() *speech { return &speech{line: make(chan struct{})} }

// Write never fails, and never makes the process wait.
func (s *speech) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.lines
	s.lines += bytes.Count(b, []byte("\n"))
	s.head = append(s.head, b[:min(len(b), maxSpeech-len(s.head))]...)
	s.tail = append(s.tail, b...)
	s.tail = s.tail[max(0, len(s.tail)-maxSpeech):]
	if before == 0 && s.lines > 0 {
		close(s.line)
	}
	return len(b), nil
}

func (s *speech) firstLine() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	line, _, _ := strings.Cut(string(s.head), "\n")
	return line
}

// afterFirstLine is what was written since.
func (s *speech) afterFirstLine() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, rest, _ := strings.Cut(string(s.head), "\n")
	return rest
}

// quoted is the last line behind lead, or nothing if there is none.
func (s *speech) quoted(lead string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(s.tail)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return lead + shortened(last)
	}
	return ""
}

// shortened is text that fits into a report.
func shortened(text string) string {
	if len(text) > 200 {
		return strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}
