package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Kind is what an event is about.
type Kind string

// The kinds of events.
const (
	IsNew       Kind = "new"
	IsUp        Kind = "up" // again
	IsLate      Kind = "late"
	IsDown      Kind = "down"
	IsRetired   Kind = "retired"
	HasRebooted Kind = "rebooted"
	IsConflict  Kind = "conflict"
	HasSkew     Kind = "clock"
	IsThrottled Kind = "throttled"
	HasFailures Kind = "collectors"
)

// Event is something that happened to a node.
type Event struct {
	ID   uint64    `json:"id"` // rises by one
	Time time.Time `json:"time"`
	Node string    `json:"node"`
	Kind Kind      `json:"kind"`
	Text string    `json:"text"` // for people
}

// maxEvents is how many events are remembered.
const maxEvents = 1000

// events remembers what happened last, and wakes who waits for more.
type events struct {
	list []Event
	last uint64
	more chan struct{} // closed by the next event
}

func (e *events) add(at time.Time, node string, kind Kind, text string) {
	e.last++
	if len(e.list) == maxEvents {
		e.list = slices.Delete(e.list, 0, maxEvents/10)
	}
	e.list = append(e.list, Event{e.last, at.Round(0), node, kind, text})
	close(e.more)
	e.more = make(chan struct{})
}

// Events returns what happened after the event with an ID, oldest first, and a
// channel that is closed when there is more.
func (v *View) Events(after uint64) ([]Event, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if after > v.events.last {
		after = 0 // an event that a crash has made unknown: whoever saw it knows none of these
	}
	i := len(v.events.list)
	for i > 0 && v.events.list[i-1].ID > after {
		i--
	}
	return slices.Clone(v.events.list[i:]), v.events.more
}

// told is what events have told of a node.
type told struct {
	state     State // empty: the node itself is not told of yet
	conflict  string
	skewed    bool
	throttled string
	failing   string
	rebooted  time.Time
}

// judge compares every node with what was told of it. first says that what
// there is now is no news.
func (v *View) judge(first bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	through := v.lens()
	if v.judged.Round(0).Sub(through.now.Round(0)) > time.Minute {
		v.setBack(through.now)
	}
	v.judged = through.now
	changed := map[string]told{}
	for raw, r := range v.records {
		if is := r.toTell(through); is != r.told {
			changed[raw] = is
		}
	}
	for _, raw := range slices.Sorted(maps.Keys(changed)) {
		r, is := v.records[raw], changed[raw]
		was := r.told
		r.told = is
		if first || was.state == "" && !r.first.After(v.started) {
			continue
		}
		is.tell(was, r, func(kind Kind, text string) { v.events.add(through.now, unescape(raw), kind, text) })
	}
}

func (r *record) toTell(through lens) told {
	now, interval := through.now, r.rhythm.interval()
	var failing []string
	for _, c := range r.collectorList(interval) {
		if c.State == "failing" || c.State == "failed" {
			failing = append(failing, c.ID)
		}
	}
	return told{
		state: r.judge(through), conflict: strings.Join(r.conflict(now, interval), ", "),
		skewed: r.clock.skew(interval) != nil, throttled: strings.Join(r.throttled(), ", "),
		failing: strings.Join(failing, ", "), rebooted: r.rebooted,
	}
}

// tell says what has changed since was.
func (is told) tell(was told, r *record, say func(Kind, string)) {
	switch {
	case is.state == was.state:
	case was.state == "":
		say(IsNew, "has written for the first time")
	case is.state == Up && was.state != Late:
		say(IsUp, "is up again")
	case is.state == Late:
		say(IsLate, "is late: nothing came for longer than its rhythm explains")
	case is.state == Down:
		say(IsDown, "is down: last seen "+r.seen.UTC().Format("15:04:05")+" UTC")
	case is.state == Retired:
		say(IsRetired, "is retired")
	}
	if is.rebooted != was.rebooted && was.state != "" {
		say(HasRebooted, "has started again at "+is.rebooted.UTC().Format("15:04:05")+" UTC")
	}
	if is.conflict != "" && was.conflict == "" {
		say(IsConflict, "two machines write under this name, from "+is.conflict)
	}
	if is.skewed && !was.skewed {
		if s := r.clock.skew(r.rhythm.interval()); s != nil {
			say(HasSkew, fmt.Sprintf("its clock differs by %.0f s, or it brings away a backlog", *s))
		}
	}
	if is.throttled != was.throttled && is.throttled != "" {
		say(IsThrottled, is.throttled)
	}
	if is.failing != was.failing && is.failing != "" {
		say(HasFailures, "collectors fail: "+is.failing)
	}
}
