package collect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/trust"
)

// dropIn is the file of a group's program. The state of it that has been
// started is held open: a program is started from that again, whatever lies at
// its path meanwhile, until a newer state has proven itself or the rules do not
// allow what is held any more.
type dropIn struct {
	name  string // in [[inputs.name]]
	rules func() trust.Rules

	mu    sync.Mutex
	held  *trust.File
	seen  state     // looked at last
	again time.Time // when to try that again; zero: never
	tries int
}

// state tells whether anything about a file has changed that decides if it may
// be run.
type state struct {
	path                  string
	file, directory, pins trust.Stamp
}

// pick returns the file to start, nil for a program that is built in. The
// caller closes it: the one held may be closed while the start is under way.
func (d *dropIn) pick() (*trust.File, error) {
	if d == nil {
		return nil, nil
	}
	now, err := d.look()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	rules := d.rules()
	if d.held != nil && !d.held.Script && rules.Confirm(d.held) == nil {
		return d.held.Clone()
	}
	f, err := rules.Verify(now.path)
	d.seen = now
	if err != nil {
		return nil, err
	}
	d.hold(f)
	return f.Clone()
}

// hold makes f the file to start; mu is held.
func (d *dropIn) hold(f *trust.File) {
	if d.held != nil {
		d.held.Close()
	}
	d.held = f
}

func (d *dropIn) close() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold(nil)
}

// look finds the file as it is now. The error wraps fs.ErrNotExist where there
// is none.
func (d *dropIn) look() (now state, err error) {
	rules := d.rules()
	if now.path, err = rules.Find(d.name); err != nil {
		return now, err
	}
	if now.file, err = trust.StampOf(now.path); err != nil {
		return now, err
	}
	if now.directory, err = trust.StampOf(filepath.Dir(now.path)); err != nil {
		return now, err
	}
	if rules.Pinned {
		now.pins, _ = trust.StampOf(rules.LockFile) // without one nothing is pinned, as Verify says
	}
	return now, nil
}

// note remembers what was looked at and reports whether it is new, or to be
// tried again.
func (d *dropIn) note(now state) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now != d.seen {
		d.seen, d.tries, d.again = now, 0, time.Time{}
		return true
	}
	return !d.again.IsZero() && time.Now().After(d.again)
}

// firstRetry is when a file that has failed its trial is tried again: the
// machine may have been busy. The next times are twice as far apart each.
const firstRetry = 30 * time.Second

// tried remembers how a trial of what was seen last has ended. A file that may
// not be run is not tried again before something changes.
func (d *dropIn) tried(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.again = time.Time{}
	if err != nil && !final(err) {
		d.again = time.Now().Add(firstRetry << min(d.tries, 10))
		d.tries++
	}
}

// successor is a process of a newer file, with every instance of its group
// known to it, and each that could be asked for a reading has answered.
type successor struct {
	process *program.Process
	file    *trust.File
	known   map[*instance]introduction
	taken   chan struct{} // closed when it is the process to call
}

// refresh looks at the program's file and puts into effect what has changed;
// all of it again where forced. It returns when that is done or refused.
func (g *group) refresh(ctx context.Context, force bool) {
	if g.file == nil {
		if force && g.running() == nil {
			g.poke()
		}
		return
	}
	g.looking.Lock()
	defer g.looking.Unlock()
	now, err := g.file.look()
	changed := g.file.note(now)
	p := g.running()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if p != nil {
			g.leave(fmt.Errorf("its file is gone: %w", err))
		}
	case err != nil:
		g.log.Warn("the plugin's file cannot be looked at", "error", err)
	case !changed && !force && !(p == nil && g.mended(now.path)):
	case p == nil:
		g.file.mu.Lock()
		g.file.hold(nil)
		g.file.mu.Unlock()
		g.poke()
	default:
		g.replace(ctx, p, now.path)
	}
}

// mended reports whether the file may be run by now that was refused before,
// for the reason can lie elsewhere: in a directory further up, say.
func (g *group) mended(path string) bool {
	if _, refused := errors.AsType[*trust.Refusal](g.status().why); !refused {
		return false
	}
	f, err := g.file.rules().Verify(path)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// leave ends the process for want of a file.
func (g *group) leave(why error) {
	select {
	case g.gone <- why:
	default:
	}
}

// replace lets the changed file take over from old, if it is of use. If not,
// old stays and the reason is kept for status.
func (g *group) replace(ctx context.Context, old *program.Process, path string) {
	next, err := g.prove(ctx, path, g.members(), false)
	g.file.tried(err)
	g.notify(err)
	if next != nil {
		g.handOver(ctx, old, next)
	}
}

// handOver makes next the process to call in the place of old.
func (g *group) handOver(ctx context.Context, old *program.Process, next *successor) {
	if old == nil {
		next.discard()
		g.poke()
		return
	}
	select {
	case g.next <- next:
		<-next.taken
	case <-old.Exited(): // its own start again finds the file
		next.discard()
	case <-ctx.Done():
		next.discard()
	}
}

// discard ends a successor that is not needed.
func (s *successor) discard() {
	s.file.Close()
	s.process.End(program.EndTimeout)
}

// proveNewest proves the file as it lies on disk now.
func (g *group) proveNewest(ctx context.Context, instances []*instance) (*successor, error) {
	g.looking.Lock()
	defer g.looking.Unlock()
	now, err := g.file.look()
	if err != nil {
		return nil, err
	}
	return g.prove(ctx, now.path, instances, false)
}

// rerun starts the program anew under the rules and limits of now, or ends it
// where those refuse it.
func (g *group) rerun(ctx context.Context) {
	g.looking.Lock()
	defer g.looking.Unlock()
	p := g.running()
	if p == nil {
		g.poke()
		return
	}
	now, err := g.file.look()
	var next *successor
	if err == nil {
		next, err = g.prove(ctx, now.path, g.members(), true)
	}
	switch {
	case next != nil:
		g.notify(nil)
		g.handOver(ctx, p, next)
	case final(err):
		g.leave(err)
	default: // the program that runs is better than none
		g.notify(err)
	}
}

// notify keeps why the newest file is not used, and logs it once.
func (g *group) notify(err error) {
	var notice string
	what := "its file was changed but is not used, the program before goes on"
	if _, refused := errors.AsType[*trust.Refusal](err); refused {
		what = "its file may not be run as it is now, the program started before goes on"
	}
	if err != nil {
		notice = what + ": " + err.Error()
	}
	g.mu.Lock()
	was := g.notice
	g.notice = notice
	g.mu.Unlock()
	if notice != was && err != nil {
		g.log.Error("plugin: "+what, "error", err)
	}
}

// prove starts the file at path and has every one of the instances try it. It
// returns nil where that is what runs already, unless it is to run anew.
func (g *group) prove(ctx context.Context, path string, instances []*instance, anew bool) (*successor, error) {
	file, err := g.file.rules().Verify(path)
	if err != nil {
		return nil, err
	}
	g.file.mu.Lock()
	same := !anew && g.file.held != nil && g.file.held.SHA256 == file.SHA256
	if same {
		g.file.hold(file)
	}
	g.file.mu.Unlock()
	if same {
		return nil, nil
	}
	p, err := g.launch(ctx, file)
	if err != nil {
		file.Close()
		return nil, err
	}
	next := &successor{process: p, file: file, known: map[*instance]introduction{}, taken: make(chan struct{})}
	for _, in := range instances {
		known, err := in.tryOut(ctx, p)
		if err != nil {
			file.Close()
			p.End(program.EndTimeout)
			return nil, fmt.Errorf("[[inputs.%s]]: %w", in.input.Name, err)
		}
		next.known[in] = known
	}
	return next, nil
}

// succeed makes the successor the process to call.
func (g *group) succeed(next *successor) *program.Process {
	for in, known := range next.known {
		in.settle(known)
	}
	g.file.mu.Lock()
	g.file.hold(next.file)
	g.file.mu.Unlock()
	g.mu.Lock()
	g.starts++
	g.mu.Unlock()
	g.publish(next.process, nil, false)
	close(next.taken)
	g.log.Info("the plugin's new file has taken over", "pid", next.process.PID())
	return next.process
}
