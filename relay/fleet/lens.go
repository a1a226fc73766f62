package fleet

import "time"

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
