package alert

import (
	"fmt"
	"slices"
	"time"

	"github.com/rpicluster/vitals/internal/glob"
)

// Kind is what an alert is about.
type Kind string

// The kinds of alerts. The last two are about destinations, the others about
// nodes.
const (
	Down        Kind = "down"
	Temperature Kind = "temperature" // °C
	RAM         Kind = "ram"         // percent used, as swap and disk
	Swap        Kind = "swap"
	Disk        Kind = "disk" // the fullest file system
	Throttled   Kind = "throttled"
	Rebooted    Kind = "rebooted"
	Conflict    Kind = "conflict" // two machines under one name
	Backlog     Kind = "backlog"  // seconds since its oldest lines came in
	Held        Kind = "held"     // somebody has to act
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{Down, Temperature, RAM, Swap, Disk, Throttled, Rebooted, Conflict, Backlog, Held}
}

// OfDestinations reports whether alerts of the kind are about destinations.
func (k Kind) OfDestinations() bool { return k == Backlog || k == Held }

// Measures reports whether alerts of the kind go by a figure.
func (k Kind) Measures() bool {
	return k == Temperature || k == RAM || k == Swap || k == Disk || k == Backlog
}

// Rule says when an alert fires. It fires once for each node (or destination)
// and is over once.
type Rule struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// For is how long it has to be so. Intervals is the same in the node's
	// own rhythm.
	For       time.Duration `json:"-"`
	Intervals float64       `json:"for_intervals,omitempty"`
	// Above is what the figure has to exceed, ClearBelow below what the alert
	// is over: between the two it stays as it is.
	Above      float64 `json:"above,omitempty"`
	ClearBelow float64 `json:"clear_below,omitempty"`
	// Subjects are patterns of the nodes or destinations; none: all.
	Subjects []string `json:"subjects,omitempty"`
	// Quiet is when nobody is told.
	Quiet Hours `json:"quiet,omitempty"`

	globs []*glob.Glob
}

// compile reads the patterns of rules.
func compile(rules []Rule) (compiled []*Rule, err error) {
	for _, r := range rules {
		for _, text := range r.Subjects {
			g, err := glob.Compile(text)
			if err != nil {
				return nil, fmt.Errorf("alert %q: %w", r.Name, err)
			}
			r.globs = append(r.globs, g)
		}
		compiled = append(compiled, &r)
	}
	return compiled, nil
}

func (r *Rule) covers(subject string) bool {
	return len(r.globs) == 0 || slices.ContainsFunc(r.globs, func(g *glob.Glob) bool { return g.Match(subject) })
}

// Defaults are the rules that hold unless the node file says otherwise, and,
// for the kinds that are not on by default, what it begins with.
func Defaults() map[Kind]Rule {
	rules := map[Kind]Rule{
		Down:        {Intervals: 2},
		Temperature: {Above: 80, ClearBelow: 75, For: 5 * time.Minute},
		RAM:         {Above: 95, ClearBelow: 90, For: 10 * time.Minute},
		Swap:        {Above: 80, ClearBelow: 70, For: 10 * time.Minute},
		Disk:        {Above: 95, ClearBelow: 93, For: time.Minute},
		Throttled:   {For: 30 * time.Second},
		Rebooted:    {},
		Conflict:    {For: time.Minute},
		Backlog:     {Above: 600, ClearBelow: 60},
		Held:        {For: time.Minute},
	}
	for kind, r := range rules {
		r.Name, r.Kind = string(kind), kind
		rules[kind] = r
	}
	return rules
}

// OnByDefault reports whether a kind has a rule without the node file's saying
// so.
func OnByDefault(k Kind) bool { return k != Swap && k != Rebooted }
