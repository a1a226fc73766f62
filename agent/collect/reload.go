package collect

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/rpicluster/vitals/agent/config"
)

// Changes are what a reload has done, by IDs.
type Changes struct {
	Kept    int      `json:"kept"` // not touched
	Started []string `json:"started,omitempty"`
	Changed []string `json:"changed,omitempty"`
	Stopped []string `json:"stopped,omitempty"`
}

// Reload puts another configuration into effect. Inputs whose table is what it
// was are not touched: they keep their schedule, their process and what they
// have counted. On an error, which lists the options that a drop-in refuses,
// nothing has changed. Builtin, Own, Shim, Runtime, Sink and Logger stay as they are.
func (s *Supervisor) Reload(ctx context.Context, c Config) (Changes, error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	next, fresh, gone := s.compare(c)
	s.mu.Lock()
	was := s.config
	s.config.Host, s.config.Tags, s.config.LogLevel = c.Host, c.Tags, c.LogLevel
	s.config.RoundInterval, s.config.DropIns, s.config.Limits = c.RoundInterval, c.DropIns, c.Limits
	s.mu.Unlock()
	var begun []*instance
	for i, in := range fresh {
		next[i] = s.instance(in)
		begun = append(begun, next[i])
		s.place(next[i])
		if g, _ := next[i].host(); g.running() == nil {
			g.poke() // with other options it may run
		}
	}
	s.startGroups()
	err := s.started(ctx, begun)
	if err == nil {
		s.introduce(ctx, begun)
		if err = mistakes(begun); err != nil {
			err = s.renew(ctx, begun, gone, err)
		}
	}
	if err != nil {
		s.mu.Lock()
		s.config = was
		s.mu.Unlock()
		s.drop(begun)
		return Changes{Kept: len(s.all())}, err
	}
	changes := s.adopt(next, begun, gone, c)
	if !reflect.DeepEqual(was.DropIns, c.DropIns) || !reflect.DeepEqual(was.Limits, c.Limits) {
		s.rerun(ctx)
	}
	return changes, nil
}

// renew is for a program and a table that can only change together, such as
// when an option has got another name: where a newer file waits that the
// program which runs was kept from giving way to, that is tried with the
// options of now. It returns what is wrong then, at first because of refused.
func (s *Supervisor) renew(ctx context.Context, begun, gone []*instance, refused error) error {
	next := map[*group]*successor{}
	var err error
	for _, in := range begun {
		g, _ := in.host()
		if len(in.mistakes) == 0 || next[g] != nil {
			continue
		}
		if g.file == nil || g.status().notice == "" {
			err = refused
			break
		}
		stays := slices.DeleteFunc(g.members(), func(in *instance) bool { return slices.Contains(gone, in) })
		if next[g], err = g.proveNewest(ctx, stays); next[g] == nil {
			err = errors.Join(refused, err)
			break
		}
	}
	for g, one := range next {
		switch {
		case one == nil:
		case err != nil:
			one.discard()
		default:
			g.handOver(ctx, g.running(), one)
			g.notify(nil)
		}
	}
	if err != nil {
		return err
	}
	return mistakes(begun)
}

// rerun puts other rules and limits into effect on the drop-ins that run: each
// is started anew, unless it may not be run any more and is ended.
func (s *Supervisor) rerun(ctx context.Context) {
	s.mu.Lock()
	groups := slices.Collect(maps.Values(s.groups))
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, g := range groups {
		if g.file != nil {
			wg.Go(func() { g.rerun(ctx) })
		}
	}
	wg.Wait()
}

// compare finds for every input the instance that gathers it as it is. Inputs
// without one are fresh, by their place in next; instances without one go.
func (s *Supervisor) compare(c Config) (next []*instance, fresh map[int]config.Input, gone []*instance) {
	gone = slices.Clone(s.all())
	next, fresh = make([]*instance, len(c.Inputs)), map[int]config.Input{}
	alike := c.Host == s.config.Host && c.RoundInterval == s.config.RoundInterval
	for i, in := range c.Inputs {
		at := slices.IndexFunc(gone, func(old *instance) bool { return alike && old.input.Same(&in) })
		if at < 0 {
			fresh[i] = in
			continue
		}
		next[i] = gone[at]
		gone = slices.Delete(gone, at, at+1)
	}
	return next, fresh, gone
}

// introduce makes instances known to programs that were running before them.
func (s *Supervisor) introduce(ctx context.Context, instances []*instance) {
	var wg sync.WaitGroup
	for _, in := range instances {
		g, known := in.host()
		if p := g.running(); p != nil && p != known {
			wg.Go(func() { in.configure(ctx, p) })
		}
	}
	wg.Wait()
}

// adopt makes next the instances that gather. Those that go have ended before
// those in their place begin: two programs of one table do not run at once.
func (s *Supervisor) adopt(next, begun, gone []*instance, c Config) Changes {
	changes := Changes{Kept: len(next) - len(begun)}
	s.drop(gone)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, in := range next {
		in.rename(c.Inputs[i].ID)
		in.lines.setGlobal(c.Tags)
	}
	s.instances = next
	var was, is []string
	for _, in := range gone {
		was = append(was, in.name())
	}
	for _, in := range begun {
		is = append(is, in.name())
		if s.running != nil {
			in.begin(s.running)
		}
	}
	for _, id := range is {
		if slices.Contains(was, id) {
			changes.Changed = append(changes.Changed, id)
		} else {
			changes.Started = append(changes.Started, id)
		}
	}
	changes.Stopped = slices.DeleteFunc(was, func(id string) bool { return slices.Contains(is, id) })
	return changes
}

// drop ends instances, and programs that have no other.
func (s *Supervisor) drop(instances []*instance) {
	var wg sync.WaitGroup
	for _, in := range instances {
		wg.Go(in.end)
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range instances {
		in.leaving = true
		g, known := in.host()
		if !s.quit(in, g) && known != nil {
			s.wg.Go(func() { in.release(known) })
		}
	}
}

// Refresh looks at the files of the drop-ins and puts into effect what has
// changed. It returns when that is done.
func (s *Supervisor) Refresh(ctx context.Context) {
	s.refresh(ctx, func(*group) bool { return true }, false)
}

// Retry starts the programs of inputs again that have been left alone, or wait,
// looks at their files as Refresh does, and has their collectors configured
// anew, so that one that runs a program for its owner starts that again. The
// name is an input's ID or name, or a program's. It returns how many inputs
// were meant.
func (s *Supervisor) Retry(ctx context.Context, name string) (n int) {
	meant := map[*group]bool{}
	for _, in := range s.all() {
		g, _ := in.host()
		if name == in.name() || name == in.input.Name || name == g.name {
			meant[g] = true
			n++
			in.retry()
		}
	}
	s.refresh(ctx, func(g *group) bool { return meant[g] }, true)
	return n
}

func (s *Supervisor) refresh(ctx context.Context, of func(*group) bool, force bool) {
	s.mu.Lock()
	groups := slices.Collect(maps.Values(s.groups))
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, g := range groups {
		if of(g) {
			wg.Go(func() { g.refresh(ctx, force) })
		}
	}
	wg.Wait()
}
