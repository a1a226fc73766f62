package collect

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rpicluster/vitals/agent/program"
)

// group keeps one plugin program running for the instances that share it.
//
//	start ─► configure every instance ─► published ─► ended ─┐
//	  ▲                                                      │
//	  └────────────── at once, then later and later ◄────────┘
type group struct {
	name   string // of the program, for people
	cmd    program.Command
	shared bool // the built-in collectors' process: an instance that hangs leaves it
	once   bool // a program that does not start is given up
	log    *slog.Logger
	first  chan struct{}                   // closed when the first start has succeeded or failed
	ending sync.WaitGroup                  // processes being cleared away
	useful atomic.Pointer[program.Process] // the last one that has gathered something

	mu        sync.Mutex
	instances []*instance
	current   *program.Process // nil while there is none to call
	changed   chan struct{}    // closed when current changes, and replaced
	starts    int
	lastErr   error // why there is none
	over      bool  // there will be none
}

// errNoProcess is the cause where a group has not said a better one yet.
var errNoProcess = errors.New("the plugin is still starting")

func newGroup(name string, cmd program.Command, shared bool, log *slog.Logger) *group {
	return &group{
		name: name, cmd: cmd, shared: shared, log: log.With("plugin", name),
		first: make(chan struct{}), changed: make(chan struct{}), lastErr: errNoProcess,
	}
}

// run keeps the program running until ctx ends, and then ends it.
func (g *group) run(ctx context.Context) {
	var backoff backoff
	firstDone := sync.OnceFunc(func() { close(g.first) })
	defer firstDone()
	defer g.ending.Wait()
	for ctx.Err() == nil {
		began := time.Now()
		p, err := g.start(ctx)
		if err == nil {
			g.publish(p, nil)
			firstDone()
			err = g.watch(ctx, p)
		}
		if ctx.Err() != nil {
			return
		}
		if g.once && p == nil {
			g.giveUp(err)
			return
		}
		g.publish(nil, err)
		delay := backoff.next(time.Since(began), p != nil && g.useful.Load() == p)
		if g.shared && p != nil && p.Crashed() && backoff.failures >= maxCrashes {
			firstDone()
			g.scatter()
			return
		}
		g.log.Warn("plugin ended, starting it again", "error", err, "in", delay.Round(time.Millisecond))
		if delay > 0 { // the first start again is part of starting
			firstDone()
		}
		sleep(ctx, delay)
	}
}

// maxCrashes in a row of a shared process are one instance's doing.
const maxCrashes = 3

// scatter gives every instance a process of its own, for nothing tells which
// of them keeps killing the one they share.
func (g *group) scatter() {
	g.mu.Lock()
	instances := slices.Clone(g.instances)
	g.mu.Unlock()
	g.log.Error("the shared process keeps crashing; each of its inputs gets one of its own", "crashes", maxCrashes)
	for _, in := range instances {
		in.isolate(in)
	}
}

// start runs the program and configures its instances, so that whoever is
// waiting for it may gather at once.
func (g *group) start(ctx context.Context) (*program.Process, error) {
	p, err := program.Start(ctx, g.cmd)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.starts++
	instances := slices.Clone(g.instances)
	g.mu.Unlock()
	var wg sync.WaitGroup
	for _, in := range instances {
		wg.Go(func() { in.configure(ctx, p) })
	}
	wg.Wait()
	g.log.Debug("plugin started", "pid", p.PID(), "took", p.Age().Round(time.Millisecond))
	return p, nil
}

// watch waits for the end of p, or ends it with ctx.
func (g *group) watch(ctx context.Context, p *program.Process) error {
	select {
	case <-ctx.Done():
		g.publish(nil, ctx.Err())
		p.End(program.EndTimeout)
		return nil
	case <-p.Exited():
	}
	// Out of the way: the next one need not wait for the clearing up.
	g.ending.Go(func() { p.End(program.EndTimeout) })
	return p.Err()
}

// giveUp says why there will be no process.
func (g *group) giveUp(why error) {
	g.mu.Lock()
	g.over = true
	g.mu.Unlock()
	g.publish(nil, why)
}

// publish makes p the process to call, or says why there is none.
func (g *group) publish(p *program.Process, why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.current, g.lastErr = p, why
	close(g.changed)
	g.changed = make(chan struct{})
}

// process returns the process to call, waiting for one until ctx ends. Not the
// one given: that has just failed its caller.
func (g *group) process(ctx context.Context, not *program.Process) (*program.Process, error) {
	for {
		g.mu.Lock()
		p, changed, err, over := g.current, g.changed, g.lastErr, g.over
		g.mu.Unlock()
		if p != nil && p != not {
			return p, nil
		}
		if over {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if err == nil {
				err = context.Cause(ctx)
			}
			return nil, err
		}
	}
}

// pid is the number of the running process and 0 if there is none; restarts is
// how often it had to be started again.
func (g *group) pid() (pid, restarts int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current != nil {
		pid = g.current.PID()
	}
	return pid, max(0, g.starts-1)
}

func (g *group) add(in *instance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.instances = append(g.instances, in)
}

func (g *group) remove(in *instance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.instances = slices.DeleteFunc(g.instances, func(i *instance) bool { return i == in })
}

// sleep waits for d, less if ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
