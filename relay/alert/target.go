package alert

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/glob"
	"github.com/rpicluster/vitals/internal/influx"
)

// Target is somebody who is told of alerts.
type Target struct {
	Name   string
	Kind   string
	Sender Sender
	// Alerts are patterns of the rules that it is told of; none: all.
	Alerts []*glob.Glob
	Quiet  Hours // when it is told nothing; what still holds it is told then
	// Always says that it keeps the books: neither silences nor quiet hours
	// are for it.
	Always bool
}

// Sender sends messages: one, or several to a target that is always told.
type Sender interface {
	Send(ctx context.Context, messages []Message) error
}

// Refused is an answer by which a message will never be taken.
type Refused struct{ Reason string }

// Error implements error.
func (r Refused) Error() string { return "it is refused for good: " + r.Reason }

// Unsure is a failure after which nobody knows whether the message was taken.
type Unsure struct{ Err error }

// Error implements error.
func (u Unsure) Error() string { return u.Err.Error() }

// Later is an answer by which to wait.
type Later struct {
	After time.Duration
	Err   error
}

// Error implements error.
func (l Later) Error() string { return l.Err.Error() }

// target is a Target at work.
type target struct {
	Target
	engine *Engine
	wake   chan struct{}
	// after is the one that had its name before, which may still be telling
	// something; nil: there was none.
	after *target
	stop  chan struct{} // closed when it is let go of
	ended chan struct{} // closed when it tells nothing any more

	mu            sync.Mutex
	sent, refused int64
	err           string
}

func (e *Engine) newTarget(t Target) *target {
	return &target{Target: t, engine: e, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
}

// maxWait bounds for how long a target may ask to be left alone.
const maxWait = 10 * time.Minute

// run tells the target what it does not know, until ctx ends or it is let go
// of. What it is telling then it tells to its end.
func (t *target) run(ctx context.Context) {
	defer close(t.ended)
	if t.after != nil {
		select {
		case <-ctx.Done():
		case <-t.after.ended:
		}
		t.after = nil
	}
	var backoff influx.Backoff
	for ctx.Err() == nil && !t.stopped() {
		due := t.due()
		if len(due) == 0 {
			select {
			case <-ctx.Done():
			case <-t.stop:
			case <-t.wake:
			}
			continue
		}
		err := t.tell(ctx, due)
		if err == nil {
			backoff.Reset()
			continue
		}
		wait := backoff.Next(err)
		var later Later
		if errors.As(err, &later) {
			wait = max(wait, min(later.After, maxWait))
		}
		select {
		case <-ctx.Done():
		case <-t.stop:
		case <-time.After(wait):
		}
	}
}

func (t *target) stopped() bool { return closed(t.stop) }

func (t *target) hasEnded() bool { return closed(t.ended) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// tell sends what is due, or the first of it. The error says that it is to be
// tried again. Before it is sent it is noted that it may have been: else a
// crash could leave a target with an alert of which it never hears that it is
// over.
func (t *target) tell(ctx context.Context, due []Message) error {
	if !t.Always {
		due = due[:1]
	}
	t.engine.mark(t.Name, due, telling)
	err := t.Sender.Send(ctx, due)
	var refused Refused
	var unsure Unsure
	again := err
	switch {
	case err == nil || errors.As(err, &refused): // the refused are not to come back
		t.engine.mark(t.Name, due, told)
		again = nil
	case !errors.As(err, &unsure):
		t.engine.mark(t.Name, due, notTold)
	}
	if ctx.Err() == nil {
		t.note(len(due), err)
	}
	return again
}

// note counts, and logs the first failure after a success.
func (t *target) note(sent int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	log := t.engine.config.Logger
	var refused Refused
	switch {
	case err == nil:
		if t.err != "" {
			log.Info("alerts can be sent again", "target", t.Name)
		}
		t.sent, t.err = t.sent+int64(sent), ""
		return
	case errors.As(err, &refused):
		t.refused++
		log.Warn("an alert could not be sent", "target", t.Name, "error", err)
	case t.err == "":
		log.Warn("alerts cannot be sent at present; what still holds will be", "target", t.Name, "error", err)
	}
	t.err = err.Error()
}

func (t *target) wants(rule string) bool {
	return len(t.Alerts) == 0 || slices.ContainsFunc(t.Alerts, func(g *glob.Glob) bool { return g.Match(rule) })
}

// due is what the target does not know yet, the oldest first.
func (t *target) due() []Message {
	e := t.engine
	now := e.config.Now()
	if !t.Always && t.Quiet.cover(now) {
		return nil
	}
	var due []Message
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.saved {
		a := &e.saved[i]
		if knows := a.knows(t.Name); knows == a.fires() || !knows && !t.wants(a.Name) {
			continue
		}
		if !t.Always && e.hushed(a, now) {
			continue
		}
		due = append(due, e.message(a))
	}
	slices.SortStableFunc(due, func(a, b Message) int { return a.Time.Compare(b.Time) })
	return due
}

// hushed reports whether an alert is not told now: its rule has quiet hours, or
// its node is silenced, which does not keep back that what was told is over.
// e.mu is held.
func (e *Engine) hushed(a *Alert, now time.Time) bool {
	if a.fires() && e.state.silenced(a.subject(), now) {
		return true
	}
	return slices.ContainsFunc(e.rules, func(r *Rule) bool { return r.Name == a.Name && r.Quiet.cover(now) })
}

// progress is how far a message has come.
type progress uint8

const (
	notTold progress = iota // certainly
	telling
	told
)

// mark notes how far messages to a target have come, durably unless it is of no
// consequence.
func (e *Engine) mark(target string, messages []Message, p progress) {
	without := func(names []string) []string {
		return slices.DeleteFunc(names, func(n string) bool { return n == target })
	}
	e.mu.Lock()
	if named(e.targets, target) == nil { // it was let go of, and is in no book
		p = notTold
	}
	overtaken := false // it was over before that it fires could be told
	for i := range messages {
		m := &messages[i]
		j := slices.IndexFunc(e.state.Alerts, func(a *Alert) bool { return a.ID == m.of })
		switch {
		case j < 0:
		case m.Firing():
			a := e.state.Alerts[j]
			overtaken = overtaken || !a.fires()
			a.Telling = without(a.Telling)
			if p == telling {
				a.Telling = append(a.Telling, target)
			} else if p == told {
				a.Told = append(without(a.Told), target)
			}
		case p == told:
			a := e.state.Alerts[j]
			a.Told, a.Telling = without(a.Told), without(a.Telling)
		}
	}
	e.mu.Unlock()
	if p == told || p == notTold && overtaken || p == telling && slices.ContainsFunc(messages, func(m Message) bool { return m.Firing() }) {
		e.save()
	}
}

func (t *target) status() TargetStatus {
	waiting := len(t.due())
	t.mu.Lock()
	defer t.mu.Unlock()
	return TargetStatus{Name: t.Name, Kind: t.Kind, Waiting: waiting, Sent: t.sent, Refused: t.refused, Error: t.err}
}

// Tested is how a test message was taken.
type Tested struct {
	Target string `json:"target"`
	Error  string `json:"error,omitempty"`
}

// Test sends a message to a target, or to all whom people look at, and says how
// it was taken.
func (e *Engine) Test(ctx context.Context, name string) ([]Tested, error) {
	asked := slices.DeleteFunc(e.all(), func(t *target) bool { return t.Always && name == "" || name != "" && t.Name != name })
	tested := make([]Tested, len(asked))
	var work sync.WaitGroup
	for i, t := range asked {
		tested[i].Target = t.Name
		work.Go(func() { // one that is silent makes nobody wait
			if err := t.Sender.Send(ctx, []Message{e.testMessage(rand.Text())}); err != nil {
				tested[i].Error = err.Error()
			}
		})
	}
	work.Wait()
	if len(tested) == 0 && name != "" {
		return nil, fmt.Errorf("there is no target %q; vitals-relay alerts list shows them", name)
	}
	if len(tested) == 0 {
		return nil, fmt.Errorf("nobody is told of alerts: add [[relay.alert_targets]] to the node file")
	}
	return tested, nil
}
