package fleet

import (
	"time"

	"github.com/rpicluster/vitals/relay/rate"
)

// lens is how records are looked at: when, and by which measures.
type lens struct {
	now     time.Time
	started time.Time // when the relay was
	heard   listening
	limits  limits
	version string
}

func (v *View) lens() lens {
	return lens{v.config.Now(), v.started, v.heard, v.limits, v.config.Version}
}

// standstill is after how long without a look at the nodes the relay itself
// must have stood still: what nobody heard then is no silence.
const standstill = 5 * time.Second

// resume notes that the relay has stood still.
func (v *View) resume() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.heard = listening{since: v.config.Now(), before: v.judged}
}

// setBack drops what is of a time that a clock, which was ahead until now, has
// yet to come to: nothing could be noted beside it. v.mu is held.
func (v *View) setBack(now time.Time) {
	for _, r := range v.records {
		r.rate = rate.Minute{}
		for i := range r.history {
			r.history[i].cut(now, &v.shelf)
		}
	}
}

// before is a time of an earlier run by this run's clock. That of then may have
// been ahead: whatever is not over yet was just now.
func (v *View) before(t time.Time) time.Time {
	if t.After(v.started) {
		return v.started
	}
	return t
}
