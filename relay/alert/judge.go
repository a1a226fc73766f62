package alert

import (
	"fmt"
	"strings"
	"time"

	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
)

// verdict is what a rule says of a node or destination now.
type verdict uint8

const (
	unknown verdict = iota // nothing can be said: what is stays
	good
	between // neither above nor below: what fires stays, what would does not begin
	bad
	lapsed // nothing could be said for so long that nobody looks any more
)

// finding is a verdict with what led to it.
type finding struct {
	verdict verdict
	value   *float64
	text    string // what is bad, after the subject's name
}

// rebootedFor is how long an alert of a restart stays: a little longer than
// the fleet shows it, so that it is not told twice.
const rebootedFor = 11 * time.Minute

// conflictIn is after how many rhythms the fleet has seen a conflict anew, if
// there still is one.
const conflictIn = 12

// judgeNode looks at a node. was is the alert that fires of it, if one does.
// started is when the relay began to listen: what is known of before may be
// out of date.
func (r *Rule) judgeNode(n *fleet.Node, was *Alert, started, now time.Time) finding {
	if n.State == fleet.Retired {
		return finding{verdict: good}
	}
	if r.Kind == Down {
		return judgeDown(n)
	}
	rhythm := time.Duration(n.IntervalSeconds * float64(time.Second))
	if n.State == fleet.Down {
		return finding{verdict: between}
	}
	if n.State != fleet.Up || n.LastSeen.Before(started.Add(rhythm)) {
		return finding{} // not heard in full since
	}
	f := r.judgeVital(n, was, started, now)
	if f.verdict == unknown && (r.Kind.Measures() || r.Kind == Throttled) && now.Sub(started) > fleet.StaleAfter {
		f.verdict = lapsed
	}
	return f
}

// judgeVital looks at a node that is up.
func (r *Rule) judgeVital(n *fleet.Node, was *Alert, started, now time.Time) finding {
	rhythm := time.Duration(n.IntervalSeconds * float64(time.Second))
	switch r.Kind {
	case Temperature:
		return r.measure(n.TemperatureCelsius, "temperature %.1f °C", "%.0f °C")
	case RAM:
		return r.measure(n.RAMPercent, "RAM %.0f %% used", "%.0f %%")
	case Swap:
		return r.measure(n.SwapPercent, "swap %.0f %% used", "%.0f %%")
	case Disk:
		f := r.measure(n.DiskPercent, "%.0f %% full", "%.0f %%")
		f.text = n.DiskPath + " " + f.text
		return f
	case Throttled:
		if n.Throttling == nil {
			return finding{}
		}
		return found(len(n.Throttling) > 0, "it is slowed down: ", n.Throttling...)
	case Conflict:
		if n.Conflict == nil && n.LastSeen.Before(started.Add(conflictIn*rhythm)) {
			return finding{}
		}
		return found(len(n.Conflict) > 0, "two machines write under this name, from ", n.Conflict...)
	case Rebooted:
		if n.RebootedAt.IsZero() && was != nil && now.Sub(was.Since) < rebootedFor {
			return finding{}
		}
		return found(!n.RebootedAt.IsZero(), "it was started again at "+clock(n.RebootedAt))
	}
	return finding{}
}

func judgeDown(n *fleet.Node) finding {
	switch n.State {
	case fleet.Up:
		return finding{verdict: good}
	case fleet.Down:
		return finding{verdict: bad, text: "it is down, last seen at " + clock(n.LastSeen)}
	}
	return finding{} // late: it may have its chance yet
}

// judgeDestination looks at a destination. was is the alert that fires of it, if
// one does.
func (r *Rule) judgeDestination(d *deliver.Status, was *Alert, now time.Time) finding {
	switch r.Kind {
	case Backlog:
		age := 0.0
		switch b := d.Backlog; {
		case !b.Oldest.IsZero():
			age = now.Sub(b.Oldest).Seconds()
		case b.Bytes > 0:
			return finding{}
		}
		f := r.measure(&age, "", "")
		f.text = fmt.Sprintf("its oldest lines have waited for %s", time.Duration(age*float64(time.Second)).Round(time.Second))
		if d.Error != "" {
			f.text += ": " + d.Error
		}
		return f
	case Held:
		if d.State == deliver.Held {
			return finding{verdict: bad, text: "it refuses writes until somebody acts: " + d.Error}
		}
		// At its start a destination is well until it has been tried.
		if d.State == deliver.Delivering && (was == nil || d.LastDelivery.After(was.Since) || d.Backlog.Bytes == 0) {
			return finding{verdict: good}
		}
	}
	return finding{}
}

// found is a condition that is so or not, and what it is made of.
func found(is bool, text string, parts ...string) finding {
	if is {
		return finding{verdict: bad, text: text + strings.Join(parts, ", ")}
	}
	return finding{verdict: good}
}

// measure compares a figure with the rule's.
func (r *Rule) measure(v *float64, is, limit string) finding {
	switch {
	case v == nil:
		return finding{}
	case *v > r.Above:
		f := finding{verdict: bad, value: v}
		if is != "" {
			f.text = fmt.Sprintf(is, *v) + ", more than " + fmt.Sprintf(limit, r.Above)
		}
		return f
	case *v < r.ClearBelow:
		return finding{verdict: good, value: v}
	}
	return finding{verdict: between, value: v}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }
