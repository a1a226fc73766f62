// Package collect asks collectors on a clock. It runs their programs, one
// process for all built-in collectors and one for each drop-in, and sees to it
// that none of them can hold up another, or the agent.
//
//	Supervisor
//	   ├─ group "built-in" ── process (/proc/self/exe plugin) ─┐ gRPC
//	   ├─ group "vitals-plugin-x" ── process ──────────────────┤
//	   └─ instance "cpu" ── schedule ── Gather ◄───────────────┘
//	           └─ refiner: check, drop, rename, tag, stamp ─► Sink
//
// A group keeps its program running; an instance belongs to one group at a
// time. Groups know nothing of schedules, and instances nothing of starts.
package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/plugins/proto"
)

// Config says what to gather.
type Config struct {
	Inputs        []config.Input
	Host          string            // value of the host tag
	Tags          map[string]string // global tags, host included
	RoundInterval bool
	LogLevel      string // for collectors without one of their own
	// Builtin is the command that serves the built-in collectors.
	Builtin []string
	// Runtime is a directory for sockets that only the agent's user may enter.
	Runtime string
	Sink    Sink
	Logger  *slog.Logger
	// Once is for a single gather: a program that does not start is not tried
	// again, and the error of Start or of GatherAll is all that tells of it.
	Once bool

	startTimeout time.Duration // of tests
}

// Supervisor gathers what its Config says.
type Supervisor struct {
	config    Config
	instances []*instance
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	wg        sync.WaitGroup // of groups

	groups map[string]*group // by program, or by input where isolated; fixed once started

	mu sync.Mutex // one move at a time
}

// startPatience is how long the first tick waits for programs that are slow to
// start. Those join in when they are ready.
const startPatience = 5 * time.Second

// stopGrace is how long a gather under way may take once the agent is told to
// stop.
const stopGrace = time.Second

// Start runs every plugin program and configures every instance. The error
// lists the options that a drop-in refuses; a program that does not run is no
// error but a state, and is tried again and again. Close must be called.
func Start(ctx context.Context, c Config) (*Supervisor, error) {
	s := &Supervisor{config: c, groups: map[string]*group{}}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, in := range c.Inputs {
		s.instances = append(s.instances, s.instance(in))
	}
	for _, g := range s.groups {
		s.wg.Go(func() { g.run(s.ctx) })
	}
	if err := s.started(ctx); err != nil {
		return s, err
	}
	return s, s.mistakes()
}

// started waits until every program has been started, or has failed to.
func (s *Supervisor) started(ctx context.Context) error {
	wait := startPatience
	if s.config.Once { // nothing is kept waiting by a program that is slow
		wait = program.StartTimeout + 2*program.DescribeTimeout + configureTimeout
	}
	patience := time.NewTimer(wait)
	defer patience.Stop()
	for _, g := range s.groups {
		select {
		case <-g.first:
		case <-patience.C:
			s.config.Logger.Warn("some plugins are slow to start; gathering begins without them")
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *Supervisor) instance(input config.Input) *instance {
	log := s.config.Logger.With("input", input.ID)
	in := &instance{
		input: input, log: log, aligned: s.config.RoundInterval, isolate: s.isolate,
		lines: newRefiner(input, s.config.Tags, s.config.Sink, log),
		request: &proto.ConfigureRequest{
			InstanceId: input.ID, Hostname: s.config.Host, ConfigToml: input.TOML, ConfigJson: input.JSON,
			LogLevel: cmp.Or(input.LogLevel, s.config.LogLevel),
		},
	}
	in.join(s.home(input))
	return in
}

// home is the group in which an input starts: that of its program, or one of
// its own if it is to be isolated.
func (s *Supervisor) home(in config.Input) *group {
	key, argv, builtin := "built-in", s.config.Builtin, in.Executable == ""
	switch {
	case !builtin:
		key, argv = filepath.Base(in.Executable), []string{in.Executable}
	case runsPrograms(in):
		key = "built-in programs"
	}
	name := key
	if in.Isolate {
		key = in.ID
	}
	if g := s.groups[key]; g != nil {
		return g
	}
	g := s.group(name, argv, in, builtin && !in.Isolate)
	if !builtin {
		g.cmd.Env = withPython(g.cmd.Env)
	}
	g.once = s.config.Once
	s.groups[key] = g
	return g
}

func (s *Supervisor) group(name string, argv []string, in config.Input, shared bool) *group {
	cmd := program.Command{
		Argv: argv, Env: environment(os.Environ(), in), Sockets: s.config.Runtime,
		Timeout: s.config.startTimeout, Log: s.config.Logger.With("plugin", name),
		RunsPrograms: runsPrograms(in),
	}
	return newGroup(name, cmd, shared, s.config.Logger)
}

// isolate moves an instance out of the process it shares.
func (s *Supervisor) isolate(in *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := in.host()
	if !old.shared {
		return // it has moved already
	}
	g := s.group(old.name, s.config.Builtin, in.input, false)
	old.remove(in)
	in.join(g)
	s.wg.Go(func() { g.run(s.ctx) })
	if known != nil {
		s.wg.Go(func() { in.release(known) })
	}
}

// mistakes are the options refused by programs that could be asked only now.
func (s *Supervisor) mistakes() error {
	var errs []error
	for _, in := range s.instances {
		in.mu.Lock()
		for _, m := range in.mistakes {
			errs = append(errs, in.input.Errorf(m.Option, "%s", m.Message))
		}
		in.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Run gathers on schedule until ctx ends and what was under way then is done.
func (s *Supervisor) Run(ctx context.Context) {
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })
	defer stop()
	var wg sync.WaitGroup
	for _, in := range s.instances {
		wg.Go(func() { in.run(ctx, calls) })
	}
	wg.Wait()
}

// GatherAll gathers every input once, in the order of the node file, and
// returns what went wrong.
func (s *Supervisor) GatherAll(ctx context.Context) error {
	var errs []error
	for _, in := range s.instances {
		if _, _, streams := in.interval(); streams {
			continue
		}
		if err := in.gather(ctx, time.Now()); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", in.input.ID, err))
		}
	}
	return errors.Join(errs...)
}

// Status tells how every input is doing, in the order of the node file.
func (s *Supervisor) Status() []Status {
	all := make([]Status, len(s.instances))
	for i, in := range s.instances {
		all[i] = in.status()
	}
	return all
}

// Close ends every plugin process and returns when all are gone.
func (s *Supervisor) Close() {
	s.cancel()
	s.wg.Wait()
}
