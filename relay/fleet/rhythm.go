package fleet

import "time"

const (
	// sameFlush is how close two arrivals may be that belong together: a node
	// may send one flush as several writes.
	sameFlush = 200 * time.Millisecond
	// firstRhythm is what is expected of a node that arrived but once.
	firstRhythm = 10 * time.Second
	maxRhythm   = 2 * time.Hour
)

// rhythm learns how often a node sends from the times between its arrivals.
// It goes by the longest of the last few, so that jitter alarms nobody.
type rhythm struct {
	gaps  [8]time.Duration
	count int
}

// note records the time since the arrival before. Silence long enough to have
// counted as down was an outage and teaches nothing.
func (r *rhythm) note(gap time.Duration, l limits) {
	if gap < sameFlush || gap > maxRhythm || (r.count > 0 && gap > l.down(r.interval())) {
		return
	}
	r.gaps[r.count%len(r.gaps)] = gap
	r.count++
}

func (r *rhythm) interval() time.Duration {
	if r.count == 0 {
		return firstRhythm
	}
	longest := time.Duration(0)
	for _, g := range r.gaps[:min(r.count, len(r.gaps))] {
		longest = max(longest, g)
	}
	return longest
}

// last are the gaps it goes by, oldest first.
func (r *rhythm) last() []time.Duration {
	n := min(r.count, len(r.gaps))
	gaps := make([]time.Duration, n)
	for i := range gaps {
		gaps[i] = r.gaps[(r.count-n+i)%len(r.gaps)]
	}
	return gaps
}

// limits say when silence is late and when it is down; zero means by rhythm.
type limits struct{ lateAfter, downAfter time.Duration }

func (l limits) late(interval time.Duration) time.Duration {
	if l.lateAfter > 0 {
		return l.lateAfter
	}
	return 2*interval + 5*time.Second
}

func (l limits) down(interval time.Duration) time.Duration {
	if l.downAfter > 0 {
		return l.downAfter
	}
	return max(5*interval+15*time.Second, l.late(interval))
}

// listening is since when the relay has listened without a break, and when it
// last did before; zero if that is not known.
type listening struct{ since, before time.Time }

// state judges a node that was last seen at seen. One that was not down when the
// relay last listened, and silent since, is late until it has had its chance.
func (l limits) state(now, seen time.Time, heard listening, interval time.Duration) State {
	silent, down := now.Sub(seen), l.down(interval)
	wasDown := !heard.before.IsZero() && heard.before.Sub(seen) > down
	switch {
	case silent <= l.late(interval):
		return Up
	case silent <= down:
		return Late
	case !wasDown && seen.Before(heard.since) && now.Sub(heard.since) <= down:
		return Late
	}
	return Down
}
