package auth

import (
	"fmt"
	"time"
)

// A token that is used and soon ends is worth an alarm: a Telegraf throws away
// what is refused. No more than a few are named.
const (
	endsSoon  = 7 * 24 * time.Hour
	maxEnding = 5
)

// Status is who may write, and who was refused, since the start.
type Status struct {
	Mode      Mode      `json:"mode"`
	NodeCheck NodeCheck `json:"node_check"`
	Tokens    int       `json:"tokens"`
	// Requests that were refused, or would have been where they are observed.
	Missing     int64 `json:"missing"`     // without credentials
	Wrong       int64 `json:"wrong"`       // with wrong ones
	Forbidden   int64 `json:"forbidden"`   // with a token of another role
	Slowed      int64 `json:"slowed"`      // from addresses that were wrong too often
	Limited     int64 `json:"limited"`     // of tokens over their limits
	Unavailable int64 `json:"unavailable"` // while the tokens could not be read
	// ForeignLines were of other nodes than the writer's, and were taken or
	// made the writer's; those refused are among the bad lines.
	ForeignLines int64 `json:"foreign_lines"`
	// Observed is how many writers are on the list of those who would be
	// refused.
	Observed int `json:"observed"`
}

// Status returns the guard's figures.
func (g *Guard) Status() Status {
	c := &g.counters
	return Status{
		Mode: g.config.Mode, NodeCheck: g.config.NodeCheck, Tokens: len(g.known()),
		Missing: c.missing.Load(), Wrong: c.wrong.Load(), Forbidden: c.forbidden.Load(), Slowed: c.slowed.Load(),
		Limited: c.limited.Load(), Unavailable: c.unavailable.Load(), ForeignLines: c.foreign.Load(), Observed: len(g.seen.list()),
	}
}

// Blind reports whether writers are checked and there are tokens that cannot be
// read.
func (g *Guard) Blind() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.config.Mode == Required && g.tokens.Load() == nil && g.trouble != errNone.Error()
}

// Observed lists who would be refused if credentials were required.
func (g *Guard) Observed() []Observed { return g.seen.list() }

// Alarms are what somebody should look at.
func (g *Guard) Alarms() []string {
	if g.config.Mode == Off {
		return nil
	}
	var alarms []string
	g.mu.Lock()
	trouble := g.trouble
	g.mu.Unlock()
	if trouble != "" {
		alarms = append(alarms, "writers are checked, but the tokens are not known: "+trouble)
	}
	alarms = append(alarms, g.expiring()...)
	if n := len(g.seen.list()); n > 0 {
		alarms = append(alarms, fmt.Sprintf("writers are only observed: %d would be refused; vitals-relay token observed lists them", n))
	}
	return alarms
}

// expiring tells of tokens that somebody uses and that end soon, unless their
// node has another one already.
func (g *Guard) expiring() (alarms []string) {
	now := g.config.Now()
	tokens := g.List()
	soon := func(t Token) bool { return !t.Expires.IsZero() && t.Expires.Sub(now) < endsSoon }
	lasting := map[string]bool{}
	for _, t := range tokens {
		lasting[t.Node] = lasting[t.Node] || !soon(t) && t.Role == Write
	}
	for _, t := range tokens {
		if !soon(t) || t.LastUsed.IsZero() || now.Sub(t.LastUsed) > endsSoon || t.Role == Write && lasting[t.Node] {
			continue
		}
		if len(alarms) == maxEnding {
			return append(alarms, "more tokens end soon; vitals-relay token list has them all")
		}
		what := "ends on"
		if now.After(t.Expires) {
			what = "has ended on"
		}
		alarms = append(alarms, fmt.Sprintf("the token %s (%s, %q) %s %s: make another with vitals-relay token create, and put it there", t.ID, t.Role, t.Node, what, t.Expires.Format(time.DateOnly)))
	}
	return alarms
}
