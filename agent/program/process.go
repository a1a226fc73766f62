// Package program runs one plugin program: it starts the process behind
// hashicorp/go-plugin, asks what it collects, and ends it, all within bounds
// that hold whatever the program does.
//
//	Start ── Command ──► child (session, pipes, lifeline) ── handshake ──► Process
//	                                 │ standard error                        │ gRPC calls
//	                                 └─► bounded log                         └─► lines
package program

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

const (
	// StartTimeout is how long a program may take to its handshake.
	StartTimeout = 10 * time.Second
	// DescribeTimeout is how long it may then take to say what it collects.
	DescribeTimeout = 5 * time.Second
	// MaxReply bounds one answer in bytes. 4 MiB are some 30,000 lines.
	MaxReply = 4 << 20
	// maxDescription bounds what a program says of itself, and maxCollectors
	// how many collectors it may have.
	maxDescription, maxCollectors = 1 << 20, 256
	// maxHeaders bounds what comes with an answer, such as an error's text.
	maxHeaders = 32 << 10
	// EndTimeout is how long a process may take to end when asked to.
	EndTimeout = 2500 * time.Millisecond
)

// Command is how to run a plugin program.
type Command struct {
	Argv    []string
	Env     []string      // all that it gets
	Sockets string        // directory below which go-plugin makes its socket's
	Timeout time.Duration // for the handshake; 0: StartTimeout
	Log     *slog.Logger
	// RunsPrograms is set for the process of the collectors that run the
	// owner's programs. It works where the agent does, as its programs expect.
	RunsPrograms bool
	// Guards is set for the agent's own program. Such a process is not killed
	// with the agent but ends by its lifeline, so that it can end what its
	// collectors have started, and what other plugins, which are killed, have.
	Guards bool

	silence time.Duration // of tests; 0: silence
	// File is set for a drop-in: it is what is run, through Shim, within Limits,
	// with Argv as its arguments. The caller closes it once Start has returned.
	File   *trust.File
	Shim   []string // a command that calls Exec with the arguments it is given
	Limits Limits
}

// Process is one run of a plugin program, from its handshake to its end. It is
// never started again.
type Process struct {
	*calls // each needs a deadline of its caller's

	child     *child
	client    *plugin.Client
	connected chan struct{} // closed when go-plugin has done with starting it
	serves    []*proto.CollectorDescription
	log       *pluginLog
	started   time.Time

	mu  sync.Mutex
	why error // it was ended, if that was our doing
}

// Start runs the program and asks what it collects. It returns within
// its timeouts even if the program hangs: go-plugin's own calls have no
// deadline, so they run aside and end when the process is killed.
func Start(ctx context.Context, cmd Command) (*Process, error) {
	cmd.Timeout = cmp.Or(cmd.Timeout, StartTimeout)
	ctx, cancel := context.WithTimeout(ctx, cmd.Timeout+DescribeTimeout)
	defer cancel()
	child, err := newChild(cmd)
	if err != nil {
		return nil, err
	}
	logger := newBridge(cmd.Log)
	child.log = logger.source
	p := &Process{calls: &calls{}, child: child, connected: make(chan struct{}), started: time.Now(), log: logger.source}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:     plugins.Handshake(),
		Plugins:             plugins.PluginSet(),
		AllowedProtocols:    []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:         true,
		StartTimeout:        cmd.Timeout,
		Logger:              logger,
		SyncStdout:          logger,
		SyncStderr:          logger,
		PluginLogBufferSize: logBuffer,
		UnixSocketConfig:    &plugin.UnixSocketConfig{TempDir: cmd.Sockets},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxReply)),
			grpc.WithMaxHeaderListSize(maxHeaders),
			grpc.WithReadBufferSize(4 << 10), grpc.WithWriteBufferSize(4 << 10),
			grpc.WithIdleTimeout(0), // there is one connection and no second: see leave
			grpc.WithStreamInterceptor(withoutBroker),
		},
		RunnerFunc: func(_ hclog.Logger, given *exec.Cmd, dir string) (runner.Runner, error) {
			child.cmd.Env = append(child.cmd.Env, given.Env...)
			return child, child.settle(dir)
		},
	})
	conn, err := p.connect(ctx)
	if err == nil {
		err = p.describe(ctx)
	}
	if err != nil {
		crashed := p.exitsSoon(err)
		p.Kill()
		p.End(0)
		return nil, p.left(p.startError(cmd, err, crashed))
	}
	child.leave()
	p.answered.Store(time.Now().UnixNano())
	go p.watch(conn, cmp.Or(cmd.silence, silence))
	return p, nil
}

// LeftError is the error of a start whose process is still there, for the
// kernel has not ended it yet.
type LeftError struct {
	Exited <-chan struct{} // closed when it is gone
	err    error
}

// Error says why the start has failed, too.
func (e *LeftError) Error() string { return e.err.Error() + "; its process cannot be ended yet" }

// Unwrap is why the start has failed.
func (e *LeftError) Unwrap() error { return e.err }

// left says of a failed start whether its process is gone.
func (p *Process) left(why error) error {
	if p.PID() == 0 || p.child.ended() {
		return why
	}
	return &LeftError{Exited: p.child.exited, err: why}
}

// withoutBroker refuses the stream by which go-plugin lets both sides open
// more connections. Nothing here uses it, and a plugin could fill the agent's
// memory through it.
func withoutBroker(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, next grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
	if strings.HasPrefix(method, "/plugin.GRPCBroker/") {
		return nil, status.Error(codes.Unimplemented, "the agent has no use for it")
	}
	return next(ctx, d, c, method, o...)
}

// connect does go-plugin's handshake and dials.
func (p *Process) connect(ctx context.Context) (*grpc.ClientConn, error) {
	var conn *grpc.ClientConn
	var err error
	go func() {
		defer close(p.connected)
		var client plugin.ClientProtocol
		if client, err = p.client.Client(); err == nil {
			conn = client.(*plugin.GRPCClient).Conn
		}
	}()
	select {
	case <-p.connected:
	case <-ctx.Done():
		return nil, fmt.Errorf("it does not answer: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	p.CollectorClient = proto.NewCollectorClient(conn)
	return conn, nil
}

// describe asks what the program collects, and refuses what nobody can use.
func (p *Process) describe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, DescribeTimeout)
	defer cancel()
	reply, err := p.Describe(ctx, &proto.DescribeRequest{}, grpc.MaxCallRecvMsgSize(maxDescription))
	switch {
	case status.Code(err) == codes.ResourceExhausted:
		return fmt.Errorf("what it collects takes more than %d MiB to say", maxDescription>>20)
	case status.Code(err) == codes.DeadlineExceeded:
		return errors.New("it does not answer when asked what it collects")
	case err != nil:
		return fmt.Errorf("ask what it collects: %w", err)
	case len(reply.Collectors) > maxCollectors:
		return fmt.Errorf("it says that it has %d collectors; %d are the most", len(reply.Collectors), maxCollectors)
	}
	p.serves = reply.Collectors
	return errors.Join(plugins.Flaws(reply)...)
}

// exitsSoon reports whether a process that did not start is ending by itself.
// Its connection breaks a moment before, which on a busy machine is a long one.
func (p *Process) exitsSoon(err error) bool {
	patience := drainTime
	if status.Code(err) == codes.Unavailable {
		patience = partingTime
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-p.Exited():
		return true
	case <-t.C:
		return false
	}
}

// startError words why a program did not start: first what it said itself,
// which tells most, and then what was seen of it, in one line.
func (p *Process) startError(cmd Command, err error, crashed bool) error {
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Message()
	}
	switch wrong := p.child.handshake.wrong(); {
	case text == "timeout while waiting for plugin to start":
		text = fmt.Sprintf("no handshake within %v", cmd.Timeout)
	case wrong != nil:
		text = wrong.Error()
	case crashed && status.Code(err) == codes.Unavailable:
		text = fmt.Sprintf("it ended right after its handshake: %v", p.Err())
	}
	if text = oneLine(text, maxErrorText); p.log.lastLine() != "" {
		text = fmt.Sprintf("it last said: %s (%s)", oneLine(p.log.lastLine(), maxErrorText), text)
	}
	return fmt.Errorf("start %s: %s", cmd.Argv[0], text)
}

// Collector finds the description for [[inputs.name]]. A program with a single
// collector may call it as it likes.
func (p *Process) Collector(name string) (*proto.CollectorDescription, error) {
	var known []string
	for _, d := range p.serves {
		if d.Name == name {
			return d, nil
		}
		for _, alias := range d.Aliases {
			if alias == name {
				return d, nil
			}
		}
		known = append(known, d.Name)
	}
	if len(p.serves) == 1 {
		return p.serves[0], nil
	}
	return nil, fmt.Errorf("the program has no collector %q; it has %q", name, known)
}

// Serves is what the program can collect.
func (p *Process) Serves() []*proto.CollectorDescription { return p.serves }

// PID is the number of the process.
func (p *Process) PID() int { return p.child.PID() }

// Age is how long ago the process was started.
func (p *Process) Age() time.Duration { return time.Since(p.started) }

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.child.exited }

// Err is how the process has ended, once it has. One that was about to be killed
// may have ended by itself before, for on a busy machine that takes long.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why != nil && p.child.err != nil && !p.Crashed() {
		return p.why
	}
	if p.child.err == nil {
		return errors.New("it ended by itself")
	}
	return p.child.err
}

// Crashed reports whether the process has ended by its own fault, and not
// because somebody, such as a kernel without memory, has killed it.
func (p *Process) Crashed() bool {
	var exit *exec.ExitError
	if !errors.As(p.child.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && (!status.Signaled() || status.Signal() != syscall.SIGKILL)
}

// Kill ends the process at once. It never blocks.
func (p *Process) Kill() { _ = p.child.Kill(context.Background()) }

// End asks the process to end, kills it after patience, and frees what belongs
// to it. It returns when the process is gone, or later than patience only by
// what the kernel needs: one that cannot die is left to it.
func (p *Process) End(patience time.Duration) {
	if p.client == nil { // of Local
		return
	}
	defer p.child.leave()
	freed := make(chan struct{})
	go func() {
		defer close(freed)
		<-p.connected // until then go-plugin does not know what there is to free
		p.client.Kill()
		plugins.EndOffspring(p.child.home())
	}()
	select {
	case <-freed:
		return
	case <-time.After(patience):
	}
	p.Kill()
	select {
	case <-freed:
		return
	case <-p.Exited():
	case <-time.After(time.Second):
		return
	}
	select {
	case <-freed:
	case <-time.After(partingTime):
	}
}
