package collect

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/trust"
)

// group keeps one plugin program running for the instances that share it.
//
//	┌─► start ─► configure every instance ─► published ─► ended ─┬─► at rest, until the file
//	│                                          ▲                 │   or the configuration
//	│                 a new file, once proven ─┘                 │   changes, or retry
//	└──────────────── at once, then later and later ◄────────────┘
type group struct {
	name    string // of the program, for people
	launch  launcher
	file    *dropIn       // nil: built in
	alone   bool          // of one instance, for good
	once    bool          // a program that does not start is given up
	delay   time.Duration // of tests: before the second start again
	log     *slog.Logger
	first   chan struct{}                   // closed by started
	started func()                          // the first start has succeeded or failed
	stop    context.CancelFunc              // ends run
	ending  sync.WaitGroup                  // processes being cleared away
	useful  atomic.Pointer[program.Process] // the last one that has gathered something
	wake    chan struct{}                   // holds one: start at once
	gone    chan error                      // holds one: the program's file is there no more
	next    chan *successor                 // takes over from the process that runs
	looking sync.Mutex                      // one look at the file at a time
	ended   chan struct{}                   // closed when there will be no process any more

	mu        sync.Mutex
	instances []*instance
	current   *program.Process // nil while there is none to call
	changed   chan struct{}    // closed when current changes, and replaced
	starts    int
	failed    int64  // starts
	lastErr   error  // why there is none
	resting   bool   // nothing is tried until something changes
	notice    string // why the program that runs is not the newest
}

// launcher starts a program, a drop-in from its file.
type launcher func(ctx context.Context, file *trust.File) (*program.Process, error)

var (
	// errNoProcess is the cause where a group has not said a better one yet.
	errNoProcess = errors.New("the plugin is still starting")
	// errEnded is the cause where a group has ended.
	errEnded = errors.New("the plugin was ended")
)

func newGroup(name string, launch launcher, log *slog.Logger) *group {
	g := &group{
		name: name, launch: launch, log: log.With("plugin", name), lastErr: errNoProcess,
		first: make(chan struct{}), changed: make(chan struct{}),
		wake: make(chan struct{}, 1), gone: make(chan error, 1), next: make(chan *successor), ended: make(chan struct{}),
	}
	g.started = sync.OnceFunc(func() { close(g.first) })
	return g
}

// run keeps the program running until ctx ends, and then ends it.
func (g *group) run(ctx context.Context) {
	defer g.file.close()
	defer g.ending.Wait()
	defer close(g.ended)
	defer g.started()
	for b := (&backoff{first: g.delay}); g.live(ctx, b); {
	}
}

const (
	// maxCrashes in a row of a shared process are one instance's doing.
	maxCrashes = 3
	// maxFailures in a row and a program is left alone, but not the one of all
	// built-in collectors.
	maxFailures = 10
)

// live starts the program, stays with it to its end, and then waits as is due.
// It reports whether to do so again.
func (g *group) live(ctx context.Context, b *backoff) (again bool) {
	p, err := g.start(ctx)
	var lived time.Duration
	if err == nil {
		p, err = g.watch(ctx, p)
		lived = p.Age()
	}
	if ctx.Err() != nil {
		return false
	}
	g.count(p == nil)
	delay := b.next(lived, p != nil && g.useful.Load() == p)
	switch {
	case g.once && p == nil:
		g.publish(nil, err, true)
		return false
	case final(err), b.failures >= maxFailures && (g.alone || g.file != nil):
		g.publish(nil, err, true)
		g.log.Error("plugin does not run; it is started when its file or its configuration changes, or by: vitals-agent plugins retry", "error", err)
		b.failures = 0
		return g.rest(ctx)
	case b.failures >= maxCrashes && p != nil && p.Crashed() && g.shared():
		g.publish(nil, err, false)
		g.started()
		g.scatter()
		return len(g.members()) > 0 // what a reload has brought meanwhile
	}
	g.publish(nil, err, false)
	g.log.Warn("plugin ended, starting it again", "error", err, "in", delay.Round(time.Millisecond))
	if delay > 0 { // the first start again is part of starting
		g.started()
	}
	if g.pause(ctx, delay) {
		b.failures = 0
	}
	return ctx.Err() == nil
}

// count keeps account of starts that have failed.
func (g *group) count(failed bool) {
	if !failed {
		return
	}
	g.mu.Lock()
	g.failed++
	g.mu.Unlock()
}

// final reports whether there is no use in trying again.
func final(err error) bool {
	_, refused := errors.AsType[*trust.Refusal](err)
	return refused || errors.Is(err, fs.ErrNotExist)
}

// rest waits for a reason to start again.
func (g *group) rest(ctx context.Context) (again bool) {
	g.started()
	select {
	case <-g.wake:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause waits for d, less if there is a reason to start at once.
func (g *group) pause(ctx context.Context, d time.Duration) (woken bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return false
	case <-g.wake:
		return true
	case <-ctx.Done():
		return false
	}
}

// poke lets a group that waits start at once.
func (g *group) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// scatter gives every instance a process of its own, for nothing tells which
// of them keeps killing the one they share.
func (g *group) scatter() {
	g.log.Error("the shared process keeps crashing; each of its inputs gets one of its own", "crashes", maxCrashes)
	for _, in := range g.members() {
		in.isolate(in)
	}
}

// start runs the program and configures its instances, so that whoever is
// waiting for it may gather at once. Of a process that cannot be ended there
// is no second one.
func (g *group) start(ctx context.Context) (*program.Process, error) {
	file, err := g.file.pick()
	if err != nil {
		return nil, err
	}
	p, err := g.launch(ctx, file)
	if file != nil {
		file.Close()
	}
	if left, ok := errors.AsType[*program.LeftError](err); ok {
		g.publish(nil, err, false)
		g.started()
		select {
		case <-left.Exited:
		case <-ctx.Done():
		}
	}
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	for _, in := range g.members() {
		wg.Go(func() { in.configure(ctx, p) })
	}
	wg.Wait()
	g.mu.Lock()
	g.starts++
	g.mu.Unlock()
	g.log.Debug("plugin started", "pid", p.PID(), "took", p.Age().Round(time.Millisecond))
	g.publish(p, nil, false)
	g.started()
	return p, nil
}

// watch waits for the end of p, or of what takes its place, or ends it with
// ctx. It returns the process that has ended and why.
func (g *group) watch(ctx context.Context, p *program.Process) (*program.Process, error) {
	select {
	case <-g.gone: // meant for the process before
	default:
	}
	for {
		select {
		case <-ctx.Done():
			g.publish(nil, ctx.Err(), false)
			p.End(program.EndTimeout)
			return p, ctx.Err()
		case next := <-g.next:
			old := p
			p = g.succeed(next)
			g.ending.Go(func() { old.End(program.EndTimeout) })
		case why := <-g.gone:
			g.publish(nil, why, true)
			p.End(program.EndTimeout)
			return p, why
		case <-p.Exited():
			// Out of the way: the next one need not wait for the clearing up.
			g.ending.Go(func() { p.End(program.EndTimeout) })
			return p, p.Err()
		}
	}
}

// publish makes p the process to call, or says why there is none, and whether
// that is left as it is.
func (g *group) publish(p *program.Process, why error, resting bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.current, g.lastErr, g.resting = p, why, resting
	close(g.changed)
	g.changed = make(chan struct{})
}

// process returns the process to call, waiting for one until ctx ends, but not
// where the group rests, unless the caller is patient. Not the one given: that
// has just failed its caller.
func (g *group) process(ctx context.Context, not *program.Process, patient bool) (*program.Process, error) {
	for {
		g.mu.Lock()
		p, changed, err, resting := g.current, g.changed, g.lastErr, g.resting
		g.mu.Unlock()
		if p != nil && p != not {
			return p, nil
		}
		if resting && (!patient || g.once) {
			return nil, err
		}
		select {
		case <-changed:
		case <-g.ended:
			return nil, errEnded
		case <-ctx.Done():
			if err == nil {
				err = context.Cause(ctx)
			}
			return nil, err
		}
	}
}

// running is the process to call now, or nil.
func (g *group) running() *program.Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current
}

// groupStatus is what a group says of itself to its instances' Status.
type groupStatus struct {
	pid, restarts int
	failedStarts  int64
	resting       bool
	why           error
	notice        string
}

func (g *group) status() groupStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := groupStatus{restarts: max(0, g.starts-1), failedStarts: g.failed, resting: g.resting, why: g.lastErr, notice: g.notice}
	if g.current != nil {
		s.pid = g.current.PID()
	}
	return s
}

// shared reports whether there is an instance that can do without the others:
// one that hangs leaves them.
func (g *group) shared() bool { return !g.alone && len(g.members()) > 1 }

func (g *group) members() []*instance {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.instances)
}

func (g *group) add(in *instance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.instances = append(g.instances, in)
}

// remove takes an instance out and reports whether it was the last.
func (g *group) remove(in *instance) (empty bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.instances = slices.DeleteFunc(g.instances, func(i *instance) bool { return i == in })
	return len(g.instances) == 0
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
