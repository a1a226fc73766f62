// Package collect asks collectors on a clock. It runs their programs, one
// process for all built-in collectors and one for each drop-in, and sees to it
// that none of them can hold up another, or the agent.
//
//	Supervisor
//	   ├─ group "built-in" ── process (/proc/self/exe plugin) ─┐ gRPC
//	   ├─ group "vitals-plugin-x" ── process ──────────────────┤
//	   └─ instance "cpu" ── schedule ── Gather ◄───────────────┘
//	           └─ refiner: check, select, rename, tag, stamp ─► Sink
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
	"sync"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/plugins"
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
	// Own are the collectors that the agent answers itself.
	Own []plugins.Description
	// DropIns says where the programs of the other collectors are, and which
	// may be run.
	DropIns trust.Rules
	// Shim is the command that puts one of them under Limits and runs it.
	Shim   []string
	Limits program.Limits
	// Runtime is a directory for sockets that only the agent's user may enter.
	Runtime string
	Sink    Sink
	Logger  *slog.Logger
	// Once is for a single gather: a program that does not start is not tried
	// again, and the error of Start or of GatherAll is all that tells of it.
	Once bool

	startTimeout, startPatience, restartDelay, hangTime time.Duration // of tests
}

// Supervisor gathers what its Config says.
type Supervisor struct {
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // of groups
	turns  turns

	reloading sync.Mutex // one Reload at a time, and none while Run begins or ends

	mu        sync.Mutex
	config    Config
	instances []*instance
	groups    map[string]*group // by program, or by instance where it is alone
	running   context.Context   // Run's, while it runs
	made      int               // instances, ever
}

// startPatience is how long the first tick waits for programs that are slow to
// start. Those join in when they are ready.
const startPatience = 5 * time.Second

// stopGrace is how long a gather under way may take once its input is told to
// stop.
const stopGrace = time.Second

// Start runs every plugin program and configures every instance. The error
// lists the options that a drop-in refuses; a program that does not run is no
// error but a state, and is tried again and again. Close must be called.
func Start(ctx context.Context, c Config) (*Supervisor, error) {
	s := &Supervisor{config: c, groups: map[string]*group{}, turns: newTurns()}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, in := range c.Inputs {
		s.instances = append(s.instances, s.instance(in))
	}
	for _, in := range s.instances {
		s.place(in)
	}
	s.startGroups()
	if err := s.started(ctx, s.instances); err != nil {
		return s, err
	}
	return s, mistakes(s.instances)
}

// started waits until the programs of the instances have been started, or have
// failed to.
func (s *Supervisor) started(ctx context.Context, instances []*instance) error {
	wait := cmp.Or(s.config.startPatience, startPatience)
	if s.config.Once { // nothing is kept waiting by a program that is slow
		wait = program.StartTimeout + 2*program.DescribeTimeout + configureTimeout
	}
	patience := time.NewTimer(wait)
	defer patience.Stop()
	for _, in := range instances {
		g, _ := in.host()
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

// mistakes are the options refused by programs that could be asked only now.
func mistakes(instances []*instance) error {
	var errs []error
	for _, in := range instances {
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
	s.reloading.Lock()
	s.mu.Lock()
	s.running = ctx
	for _, in := range s.instances {
		in.begin(ctx)
	}
	s.mu.Unlock()
	s.reloading.Unlock()
	<-ctx.Done()
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	for _, in := range s.all() {
		in.end()
	}
}

// all are the instances at this moment, in the order of the node file.
func (s *Supervisor) all() []*instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.instances // replaced, never changed
}

// GatherAll gathers every input once, in the order of the node file, and
// returns what went wrong.
func (s *Supervisor) GatherAll(ctx context.Context) error {
	var errs []error
	for _, in := range s.all() {
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
	instances := s.all()
	all := make([]Status, len(instances))
	for i, in := range instances {
		all[i] = in.status()
	}
	return all
}

// Close ends every plugin process and returns when all are gone.
func (s *Supervisor) Close() {
	s.cancel()
	s.wg.Wait()
}
