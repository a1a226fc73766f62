// Package alert tells somebody when a node or a destination is in trouble, and
// when it is out of it again: each once, also when the relay ends in between.
package alert

import (
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
)

// Config is what an engine watches, and whom it tells.
type Config struct {
	Rules        []Rule
	Targets      []Target
	Nodes        func() []fleet.Node
	Destinations func() []deliver.Status
	// ForgetAfter is how long an alert stays of a node that nobody knows any
	// more.
	ForgetAfter time.Duration
	Directory   string // where the state is kept
	Relay       string // what this machine is called in messages
	Now         func() time.Time
	Logger      *slog.Logger
}

// Engine judges the nodes and destinations by the rules.
//
//	nodes, destinations ─judge─► state ─save─► alerts.json
//	                                      └───► each target: what it has not been told
//
// The state is saved before anybody is told, and what was told is noted
// afterwards. There is nothing else in between: a target that does not answer
// finds, when it does, only what is still worth telling.
type Engine struct {
	config  Config
	started time.Time

	saving  sync.Mutex // before mu: one save at a time
	unsaved bool       // the last one failed; guarded by saving

	mu      sync.Mutex
	rules   []*Rule
	targets []*target
	leaving []*target     // that were let go of, and may still tell something
	begin   func(*target) // lets a target work; nil: the engine does not run
	state   state
	saved   []Alert // as it was saved last
}

// New makes an engine that goes on where an earlier one has ended.
func New(config Config) (*Engine, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{config: config, started: config.Now()}
	var err error
	if e.rules, err = compile(config.Rules); err != nil {
		return nil, err
	}
	for _, t := range config.Targets {
		e.targets = append(e.targets, e.newTarget(t))
	}
	if err := e.load(); err != nil {
		config.Logger.Warn("what was told of alerts is not known; it may be told again", "error", err)
	}
	e.saved = e.state.clone()
	return e, nil
}

// pendingEvery is how often conditions that may become alerts are saved.
const pendingEvery = time.Minute

// thrift bounds what judging costs: it takes at most this part of the time.
const (
	thrift      = 100
	longestRest = 10 * time.Second
)

// Run judges once a second, or less often if there are very many nodes, and
// tells, until ctx ends.
func (e *Engine) Run(ctx context.Context) {
	var work sync.WaitGroup
	e.mu.Lock()
	e.begin = func(t *target) { work.Go(func() { t.run(ctx) }) }
	for _, t := range e.targets {
		e.begin(t)
	}
	e.mu.Unlock()
	e.watch(ctx)
	e.mu.Lock()
	e.begin = nil
	e.mu.Unlock()
	work.Wait()
	e.save()
}

// watch judges until ctx ends.
func (e *Engine) watch(ctx context.Context) {
	second, save := time.NewTicker(time.Second), time.NewTicker(pendingEvery)
	defer second.Stop()
	defer save.Stop()
	pending := 0
	var next time.Time
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-second.C:
			begun := time.Now()
			if begun.Before(next) {
				continue
			}
			changed := e.judge()
			next = begun.Add(min(longestRest, thrift*time.Since(begun)))
			if changed {
				e.save()
			}
			e.wake() // also when silences and quiet hours end
		case <-save.C:
			n := e.agePending()
			if n > 0 || n != pending {
				e.save()
			}
			pending = n
		}
	}
}

// agePending drops what was pending of nodes that nobody knows any more, and
// counts the rest.
func (e *Engine) agePending() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.config.Now()
	maps.DeleteFunc(e.state.Pending, func(_ key, since time.Time) bool {
		return e.config.ForgetAfter > 0 && now.Sub(since) > e.config.ForgetAfter
	})
	return len(e.state.Pending)
}

// publish saves the state and lets the targets know.
func (e *Engine) publish() {
	e.save()
	e.wake()
}

func (e *Engine) wake() {
	for _, t := range e.all() {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// all are the targets of this moment.
func (e *Engine) all() []*target {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.targets)
}

// named returns the target of that name, or nil.
func named(targets []*target, name string) *target {
	for _, t := range targets {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// judge applies every rule, and reports whether an alert has begun or ended.
func (e *Engine) judge() (changed bool) {
	nodes, destinations := e.config.Nodes(), e.config.Destinations()
	now := e.config.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	firing := map[key]*Alert{}
	for _, a := range e.state.Alerts {
		if a.fires() {
			firing[key{a.Name, a.subject()}] = a
		}
	}
	seen := make(map[key]bool, len(firing))
	look := func(r *Rule, rise Alert, lasts time.Duration, judge func(was *Alert) finding) {
		k := key{r.Name, rise.subject()}
		was := firing[k]
		if was != nil && was.Kind != r.Kind {
			was = nil // of another rule, which had this name before
		}
		if was != nil {
			seen[k] = true
		}
		changed = e.apply(r, k, judge(was), was, rise, lasts, now) || changed
	}
	for _, r := range e.rules {
		if r.Kind.OfDestinations() {
			for i := range destinations {
				if d := &destinations[i]; r.covers(d.Name) {
					look(r, Alert{Destination: d.Name}, r.For, func(was *Alert) finding { return r.judgeDestination(d, was, now) })
				}
			}
			continue
		}
		for i := range nodes {
			if n := &nodes[i]; r.covers(n.Name) {
				lasts := r.For + time.Duration(r.Intervals*n.IntervalSeconds*float64(time.Second))
				look(r, Alert{Node: n.Name}, lasts, func(was *Alert) finding { return r.judgeNode(n, was, e.started, now) })
			}
		}
	}
	return e.endOrphans(firing, seen, now) || changed
}

// apply draws the conclusion of a finding. rise is the alert that it may
// become, after it has lasted for long enough.
func (e *Engine) apply(r *Rule, k key, f finding, fires *Alert, rise Alert, lasts time.Duration, now time.Time) (changed bool) {
	since, pending := e.state.Pending[k]
	switch f.verdict {
	case bad:
		if fires != nil {
			return false
		}
		if !pending || since.After(now) { // by a clock that was set back since
			since = now
			e.state.Pending[k] = now
		}
		if now.Sub(since) < lasts {
			return false
		}
		delete(e.state.Pending, k)
		a := rise // most findings are good, and need none
		a.ID, a.Name, a.Kind, a.Since, a.Text = rand.Text(), r.Name, r.Kind, now, brief(f.text, maxText)
		if r.Kind.Measures() {
			value := *f.value
			a.Value, a.Above = &value, r.Above
		}
		e.state.Alerts = append(e.state.Alerts, &a)
		e.config.Logger.Warn("an alert fires", "alert", r.Name, "of", a.subject(), "because", a.Text)
		return true
	case good:
		delete(e.state.Pending, k)
		if fires != nil {
			e.clear(fires, now)
			return true
		}
	case between:
		delete(e.state.Pending, k)
	case lapsed:
		delete(e.state.Pending, k)
		if fires != nil {
			fires.Unwatched = true
			e.clear(fires, now)
			return true
		}
	}
	return false
}

// clear ends an alert. Where the clock was set back meanwhile, it does not end
// before it began: else the line of its beginning would be the last of it.
func (e *Engine) clear(a *Alert, now time.Time) {
	if a.Cleared = now; now.Round(0).Before(a.Since.Round(0)) {
		a.Cleared = a.Since.Add(max(0, now.Sub(a.Since)))
	}
	e.config.Logger.Info("an alert is over", "alert", a.Name, "of", a.subject(), "after", a.lasted())
}

// endOrphans ends the alerts of rules and destinations that are not configured
// any more, and those of nodes that nobody has known for long. A node that is
// not known yet, after a restart, keeps its own.
func (e *Engine) endOrphans(firing map[key]*Alert, seen map[key]bool, now time.Time) (changed bool) {
	for k, a := range firing {
		if seen[k] || !a.fires() {
			continue
		}
		i := slices.IndexFunc(e.rules, func(r *Rule) bool { return r.Name == a.Name && r.Kind == a.Kind && r.covers(a.subject()) })
		if i < 0 || a.Destination != "" || e.config.ForgetAfter > 0 && now.Sub(a.Since) > e.config.ForgetAfter {
			a.Unwatched = true
			e.clear(a, now)
			changed = true
		}
	}
	return changed
}

// Forget ends the alerts of a node that somebody has forgotten.
func (e *Engine) Forget(node string) {
	e.mu.Lock()
	for _, a := range e.state.Alerts {
		if a.fires() && a.Node == node {
			a.Unwatched = true
			e.clear(a, e.config.Now())
		}
	}
	for k := range e.state.Pending {
		if k.subject == node {
			delete(e.state.Pending, k)
		}
	}
	e.mu.Unlock()
	e.publish()
}
