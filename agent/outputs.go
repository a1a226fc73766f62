package main

import (
	"context"
	"errors"
	"os"
	"reflect"
	"runtime"
	"slices"
	"sync"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/output"
)

// outputs are those of a running agent. A reload may change them while lines
// arrive.
type outputs struct {
	open func(config.Output) (*output.Output, error)
	ctx  context.Context // that their Run ends with; nil before run

	mu  sync.RWMutex // held for reading while lines are passed on
	all []*sender
}

// sender is one output and its goroutine.
type sender struct {
	*output.Output
	config config.Output
	stop   context.CancelFunc
	done   chan struct{}
	err    error // of Run, once done is closed
}

// add opens an output, and runs it if the others run.
func (o *outputs) add(c config.Output) error {
	out, err := o.open(c)
	if err != nil {
		return err
	}
	s := &sender{Output: out, config: c}
	if o.ctx != nil {
		s.run(o.ctx)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, s)
	return nil
}

func (s *sender) run(ctx context.Context) {
	ctx, s.stop = context.WithCancel(ctx)
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		s.err = s.Run(ctx)
	}()
}

// run sends with every output until ctx ends.
func (o *outputs) run(ctx context.Context) {
	o.ctx = ctx
	for _, s := range o.all {
		s.run(ctx)
	}
}

// wait returns when every output has ended, with what was lost.
func (o *outputs) wait() error {
	var errs []error
	for _, s := range o.list() {
		<-s.done
		errs = append(errs, s.err)
	}
	return errors.Join(errs...)
}

// deliver passes lines to every output.
func (o *outputs) deliver(ctx context.Context, lines []byte, n int) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, s := range o.all {
		s.Append(ctx, lines, n)
	}
}

// list is the outputs at this moment.
func (o *outputs) list() []*sender {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return slices.Clone(o.all)
}

// reload makes next the outputs. One whose ID stays keeps its buffer; one that
// goes leaves what it has not sent on disk, for the day when it comes back. What
// goes wrong with one keeps none of the others.
func (o *outputs) reload(ctx context.Context, next []config.Output) (changes collect.Changes, failed []error) {
	note := func(done *[]string, id string, err error) {
		if err == nil {
			*done = append(*done, id)
		} else {
			failed = append(failed, err)
		}
	}
	for _, c := range next {
		i := slices.IndexFunc(o.all, func(s *sender) bool { return s.config.ID == c.ID })
		switch {
		case i < 0:
			note(&changes.Started, c.ID, o.add(c))
		case reflect.DeepEqual(o.all[i].config, c):
			changes.Kept++
		default:
			err := o.all[i].Reconfigure(ctx, c)
			if err == nil {
				o.all[i].config = c
			}
			note(&changes.Changed, c.ID, err)
		}
	}
	for _, s := range o.list() {
		if slices.ContainsFunc(next, func(c config.Output) bool { return c.ID == s.config.ID }) {
			continue
		}
		changes.Stopped = append(changes.Stopped, s.config.ID)
		if err := o.remove(s); err != nil {
			failed = append(failed, err)
		}
	}
	return changes, failed
}

// remove ends an output.
func (o *outputs) remove(s *sender) error {
	o.mu.Lock()
	o.all = slices.DeleteFunc(slices.Clone(o.all), func(one *sender) bool { return one == s })
	o.mu.Unlock()
	s.stop()
	<-s.done
	return s.err
}

// flushWhenTold has every output send what it has, at each SIGUSR1.
func (a *agent) flushWhenTold(ctx context.Context, told <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-told:
			a.flush()
		}
	}
}

// flush has every output send what it has.
func (a *agent) flush() {
	for _, s := range a.outputs.list() {
		s.FlushNow()
	}
}

// opener opens outputs with the agent's settings. Without a directory they send
// once, from memory.
func (a *agent) opener(directory string) func(config.Output) (*output.Output, error) {
	return func(c config.Output) (*output.Output, error) {
		return output.Open(output.Config{
			Output: c, Disk: a.config.Agent.DiskBuffer, Directory: directory, Once: directory == "",
			Host: hostName(a.config.Host), Logger: a.log,
			UserAgent: "vitals-agent/" + version + " " + runtime.Version(),
		})
	}
}

// hostName is what tells this machine from the others of a fleet.
func hostName(tag string) string {
	if tag != "" {
		return tag
	}
	name, _ := os.Hostname() // without one it writes when it comes to it
	return name
}
