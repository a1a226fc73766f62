package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

const (
	startTimeout    = 10 * time.Second
	describeTimeout = 5 * time.Second
	// maxReply bounds one gather. 4 MiB are some 30,000 lines.
	maxReply = 4 << 20
	// endTimeout is how long a process may take to end when asked to.
	endTimeout = 2500 * time.Millisecond
)

// command is how to run a plugin program.
type command struct {
	argv    []string
	env     []string
	sockets string // directory below which go-plugin makes its socket's
	timeout time.Duration
	log     *slog.Logger
	// runsPrograms is set for the process of the collectors that run the
	// owner's programs. It works where the agent does, as its programs expect,
	// and is not killed with the agent but ends by its lifeline, so that it can
	// end what those have started.
	runsPrograms bool
}

// process is one run of a plugin program, from its handshake to its end. It is
// never started again; its group makes another.
type process struct {
	child    *child
	client   *plugin.Client
	rpc      proto.CollectorClient
	serves   []*proto.CollectorDescription
	log      *pluginLog
	started  time.Time
	gathered atomic.Bool // something was gathered: the process is of use
}

// startProcess runs the program and asks what it collects. It returns within
// its timeouts even if the program hangs: go-plugin's own calls have no
// deadline, so they run aside and end when the process is killed.
func startProcess(ctx context.Context, cmd command) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, cmd.timeout+describeTimeout)
	defer cancel()
	child, err := newChild(cmd)
	if err != nil {
		return nil, err
	}
	logger := newBridge(cmd.log)
	p := &process{child: child, started: time.Now(), log: logger.source}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:     plugins.Handshake(),
		Plugins:             plugins.PluginSet(),
		AllowedProtocols:    []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:         true,
		StartTimeout:        cmd.timeout,
		Logger:              logger,
		SyncStdout:          logger,
		SyncStderr:          logger,
		PluginLogBufferSize: logBuffer,
		UnixSocketConfig:    &plugin.UnixSocketConfig{TempDir: cmd.sockets},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply)),
			grpc.WithReadBufferSize(4 << 10), grpc.WithWriteBufferSize(4 << 10),
		},
		RunnerFunc: func(_ hclog.Logger, given *exec.Cmd, _ string) (runner.Runner, error) {
			child.cmd.Env = append(child.cmd.Env, given.Env...)
			return child, nil
		},
	})
	if err = p.connect(ctx); err == nil {
		err = p.describe(ctx)
	}
	if err != nil {
		p.kill()
		p.end(0)
		return nil, p.startError(cmd, err)
	}
	return p, nil
}

// connect does go-plugin's handshake and dials.
func (p *process) connect(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		client, err := p.client.Client()
		if err == nil {
			var raw any
			if raw, err = client.Dispense(plugins.DispenseName); err == nil {
				p.rpc = raw.(proto.CollectorClient)
			}
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no handshake: %w", context.Cause(ctx))
	}
}

func (p *process) describe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	reply, err := p.rpc.Describe(ctx, &proto.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("ask what it collects: %w", err)
	}
	if p.serves = reply.Collectors; len(p.serves) == 0 {
		return errors.New("it collects nothing")
	}
	return nil
}

// startError words why a program did not start: first what it said itself,
// which tells most, and then how go-plugin saw it, in one line.
func (p *process) startError(cmd command, err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if printed, ok := strings.CutPrefix(text, "Unrecognized remote plugin message: "); ok {
		if text = "it ended without the go-plugin handshake"; printed != "" {
			text = fmt.Sprintf("it printed %q where the go-plugin handshake belongs", printed)
		}
	}
	if last := p.log.lastLine(); last != "" {
		return fmt.Errorf("start %s: it last said: %s (%s)", cmd.argv[0], strings.TrimSpace(last), text)
	}
	return fmt.Errorf("start %s: %s", cmd.argv[0], text)
}

// collector finds the description for [[inputs.name]]. A program with a single
// collector may call it as it likes.
func (p *process) collector(name string) (*proto.CollectorDescription, error) {
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

// crashed reports whether the process has ended by its own fault, and not
// because somebody, such as a kernel without memory, has killed it.
func (p *process) crashed() bool {
	if p == nil {
		return false
	}
	var exit *exec.ExitError
	if !errors.As(p.child.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && (!status.Signaled() || status.Signal() != syscall.SIGKILL)
}

// kill ends the process at once. It never blocks.
func (p *process) kill() { _ = p.child.Kill(context.Background()) }

// end asks the process to end, kills it after patience, and frees what belongs
// to it. It returns when the process is gone, or later than patience only by
// what the kernel needs: one that cannot die is left to it.
func (p *process) end(patience time.Duration) {
	freed := make(chan struct{})
	go func() {
		defer close(freed)
		p.client.Kill()
	}()
	select {
	case <-freed:
		return
	case <-time.After(patience):
	}
	p.kill()
	select {
	case <-freed:
	case <-time.After(time.Second):
	}
}
