package collect

import (
	"time"

	"github.com/rpicluster/vitals/plugins/proto"
)

// Status is how one input is doing.
type Status struct {
	ID       string        `json:"id"`
	Name     string        `json:"name"`
	Alias    string        `json:"alias,omitempty"`
	Program  string        `json:"program"`
	PID      int           `json:"pid"` // of its plugin process; 0 while there is none
	State    string        `json:"state"`
	Interval time.Duration `json:"interval_ns"`

	LastGather   time.Time     `json:"last_gather,omitzero"`
	LastDuration time.Duration `json:"last_duration_ns"`
	LastError    string        `json:"last_error,omitempty"`
	LastErrorAt  time.Time     `json:"last_error_at,omitzero"`

	Gathered int64         `json:"gathered_lines"`
	Gathers  int64         `json:"gathers"`
	Spent    time.Duration `json:"gathers_ns"` // by all of them together
	Errors   int64         `json:"errors"`
	// StartupErrors are those of starting the program, which no gather has
	// failed for, and of making it take the options, which Errors counts too.
	StartupErrors int64 `json:"startup_errors"`
	Refusals      int64 `json:"refusals"` // of the options alone
	Skipped       int64 `json:"skipped"`
	Timeouts      int64 `json:"timeouts"`
	BadLines      int64 `json:"bad_lines"`
	Filtered      int64 `json:"filtered_lines"` // kept back by the input's filters
	Restarts      int   `json:"restarts"`
	// Notice says why the program that runs is not the newest.
	Notice string `json:"notice,omitempty"`
}

// The states of an input.
const (
	StateStarting  = "starting"
	StateOK        = "ok"
	StateStreaming = "streaming"
	StateFailing   = "failing" // the last gather has failed
	StateFailed    = "failed"  // its program is left alone until something changes
)

// counts is what an instance remembers for its Status.
type counts struct {
	gathers, lines, errors, skipped, bad, timeouts, refusals int64

	last        time.Time
	took, spent time.Duration
	failing     bool
	lastError   string
	lastErrorAt time.Time
	logged      string // the error last logged, until one gather succeeds
	loggedAt    time.Time
	turnsFrom   time.Time // since when turns are counted
	turns       int       // how often it was logged that it began to fail
}

func (c *counts) fail(err error) {
	c.errors++
	c.failing = true
	c.lastError, c.lastErrorAt = err.Error(), time.Now()
}

// otherWords is how long an input that fails on is not logged again for failing
// with other words.
const otherWords = time.Minute

// mostTurns is how often a minute an input is logged that fails and works in turns.
const mostTurns = 5

// turn reports whether it is to be logged that the input begins to fail.
func (c *counts) turn(now time.Time) bool {
	if now.Sub(c.turnsFrom) > time.Minute {
		c.turnsFrom, c.turns = now, 0
	}
	c.turns++
	return c.turns <= mostTurns
}

// account books one gather and logs what has changed since the one before: an
// input that fails at every tick says so once.
func (in *instance) account(begun time.Time, took time.Duration, lines, bad int, err error) {
	g, _ := in.host()
	told := g.once || g.status().resting // by GatherAll, or by the group
	in.mu.Lock()
	c := &in.counts
	c.gathers++
	c.lines += int64(lines)
	c.bad += int64(bad)
	if took > 0 || lines > 0 { // of a stream only what brings lines counts
		c.last, c.took = begun, took
	}
	c.spent += took
	was := c.logged
	if c.failing = err != nil; !c.failing {
		c.logged = ""
	} else if c.fail(err); was == "" && c.turn(begun) || was != "" && was != c.lastError && begun.Sub(c.loggedAt) > otherWords {
		c.logged, c.loggedAt = c.lastError, begun
	}
	now := c.logged
	in.mu.Unlock()
	switch {
	case told:
	case now != "" && now != was:
		in.log.Warn("gathering failed", "error", now)
	case now == "" && was != "":
		in.log.Info("gathering again")
	}
}

func (in *instance) status() Status {
	every, _, _ := in.interval()
	in.mu.Lock()
	c, g, d, id := in.counts, in.group, in.description, in.id
	in.mu.Unlock()
	of := g.status()
	s := Status{
		ID: id, Name: in.input.Name, Alias: in.input.Alias, Program: g.name, PID: of.pid, Interval: every, State: StateStarting,
		LastGather: c.last, LastDuration: c.took, LastError: c.lastError, LastErrorAt: c.lastErrorAt,
		Gathered: c.lines, Gathers: c.gathers, Spent: c.spent,
		Errors: c.errors, StartupErrors: of.failedStarts + c.refusals, Refusals: c.refusals, Skipped: c.skipped, Timeouts: c.timeouts, BadLines: c.bad,
		Filtered: in.lines.filtered.Load(), Restarts: of.restarts, Notice: of.notice,
	}
	switch {
	case of.resting && of.why != nil:
		s.State, s.LastError = StateFailed, of.why.Error()
	case c.failing:
		s.State = StateFailing
	case d != nil && d.Kind == proto.Kind_KIND_STREAM:
		s.State = StateStreaming
	case c.gathers > 0:
		s.State = StateOK
	}
	return s
}
