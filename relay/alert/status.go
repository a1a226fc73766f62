package alert

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/glob"
)

// Status is what fires, and by which rules it may.
type Status struct {
	Firing   []Alert        `json:"firing"`
	Rules    []RuleStatus   `json:"rules"`
	Silences []Silence      `json:"silences"`
	Targets  []TargetStatus `json:"targets"`
}

// RuleStatus is a rule as others see it.
type RuleStatus struct {
	Rule
	ForSeconds float64 `json:"for_seconds"`
}

// UnmarshalJSON also sets For, of which JSON has the seconds.
func (r *RuleStatus) UnmarshalJSON(data []byte) error {
	type plain RuleStatus
	if err := json.Unmarshal(data, (*plain)(r)); err != nil {
		return err
	}
	r.For = time.Duration(r.ForSeconds * float64(time.Second))
	return nil
}

// TargetStatus is how well somebody can be told.
type TargetStatus struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Waiting is how many messages it has not got. Error is why, if it does
	// not take them.
	Waiting int    `json:"waiting"`
	Sent    int64  `json:"sent"` // since the relay started
	Refused int64  `json:"refused"`
	Error   string `json:"error,omitempty"`
}

// Status returns what fires now, the newest first.
func (e *Engine) Status() Status {
	s := Status{Firing: []Alert{}, Rules: []RuleStatus{}, Silences: []Silence{}, Targets: []TargetStatus{}}
	now := e.config.Now()
	e.mu.Lock()
	for _, a := range e.saved {
		if a.fires() {
			a.Telling = nil
			a.Silenced = e.state.silenced(a.subject(), now)
			s.Firing = append(s.Firing, a)
		}
	}
	for _, x := range e.state.Silences {
		if x.Until.After(now) {
			s.Silences = append(s.Silences, x)
		}
	}
	for _, r := range e.rules {
		s.Rules = append(s.Rules, RuleStatus{*r, r.For.Seconds()})
	}
	e.mu.Unlock()
	slices.SortStableFunc(s.Firing, func(a, b Alert) int { return b.Since.Compare(a.Since) })
	for _, t := range e.all() {
		s.Targets = append(s.Targets, t.status())
	}
	return s
}

// Silence lets nobody be told of the nodes and destinations that a pattern
// names, for a while. It returns their names.
func (e *Engine) Silence(pattern string, span time.Duration) ([]string, error) {
	g, err := glob.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("%q is no pattern: %w", pattern, err)
	}
	if span <= 0 || span > 366*24*time.Hour {
		return nil, fmt.Errorf(`silence it for as long as a year at most, written as "2h" or "7d"`)
	}
	var names []string
	for _, n := range e.config.Nodes() {
		if n.Name == pattern || g.Match(n.Name) {
			names = append(names, n.Name)
		}
	}
	for _, d := range e.config.Destinations() {
		if g.Match(d.Name) {
			names = append(names, d.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no node and no destination %q; vitals-relay nodes lists the nodes", pattern)
	}
	until := e.config.Now().Add(span).Round(0)
	e.mu.Lock()
	for _, name := range names {
		e.state.Silences = slices.DeleteFunc(e.state.Silences, func(s Silence) bool { return s.Node == name })
		e.state.Silences = append(e.state.Silences, Silence{name, until})
	}
	slices.SortFunc(e.state.Silences, func(a, b Silence) int { return strings.Compare(a.Node, b.Node) })
	e.mu.Unlock()
	e.publish()
	e.config.Logger.Info("alerts are silenced", "of", names, "until", until)
	return names, nil
}

// Unsilence lets everybody be told again of what a pattern names.
func (e *Engine) Unsilence(pattern string) ([]string, error) {
	g, err := glob.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("%q is no pattern: %w", pattern, err)
	}
	var names []string
	e.mu.Lock()
	e.state.Silences = slices.DeleteFunc(e.state.Silences, func(s Silence) bool {
		is := s.Node == pattern || g.Match(s.Node)
		if is {
			names = append(names, s.Node)
		}
		return is
	})
	e.mu.Unlock()
	if len(names) == 0 {
		return nil, fmt.Errorf("%q is not silenced; vitals-relay alerts list shows what is", pattern)
	}
	e.publish()
	e.config.Logger.Info("alerts are not silenced any more", "of", names)
	return names, nil
}
