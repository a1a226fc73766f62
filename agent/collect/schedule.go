package collect

import (
	"math/rand/v2"
	"time"
)

// schedule says when an input gathers: every interval, from the next multiple
// of it on the wall clock where aligned.
//
//	start     tick 0       tick 1       tick 2
//	──┼─────────┼────────────┼────────────┼──►
//	            ├─phase and jitter─► gathered
//
// From tick 0 on it counts on the monotonic clock, which does not jump. Where
// the wall clock does jump, as on a machine that learns the time only after
// booting, the schedule begins anew, or every later timestamp would be wrong.
type schedule struct {
	interval, offset, jitter time.Duration
	phase                    time.Duration // after each tick
	aligned                  bool

	origin time.Time // tick 0
	n      int64     // the next tick
}

// begin sets tick 0. An aligned schedule leaves at least a hundredth of its
// interval to get ready.
func (s *schedule) begin(now time.Time) {
	s.n = 0
	s.origin = now.Add(s.offset)
	if !s.aligned {
		return
	}
	ready := now.Add(s.interval / 100)
	phase := modulo(ready.UnixNano()-int64(s.offset), int64(s.interval))
	s.origin = ready
	if phase > 0 {
		s.origin = ready.Add(s.interval - time.Duration(phase))
	}
}

// next returns the tick to wait for, when to gather for it, and how many ticks
// have passed unused. A tick is skipped once the one after it is due: none is
// ever queued, and none is lost to a moment's lateness.
func (s *schedule) next(now time.Time) (tick, fire time.Time, skipped int64) {
	if late := now.Sub(s.at(s.n)); late >= s.interval {
		skipped = int64(late / s.interval)
		s.n += skipped
	}
	tick = s.at(s.n)
	s.n++
	fire = tick.Add(s.phase)
	if s.jitter > 0 {
		fire = fire.Add(rand.N(s.jitter))
	}
	return tick, fire, skipped
}

func (s *schedule) at(n int64) time.Time {
	return s.origin.Add(time.Duration(n) * s.interval)
}

// jumped reports whether the wall clock has been set since tick 0 was: by half
// an interval, or by a second where that is less. now carries the monotonic
// clock, wall is what the wall clock says.
func (s *schedule) jumped(now, wall time.Time) bool {
	elapsed := wall.Round(0).Sub(s.origin.Round(0))
	return (elapsed - now.Sub(s.origin)).Abs() > min(s.interval/2, time.Second)
}

// wasSet is by how much the wall clock was set between two readings.
func wasSet(from, to time.Time) time.Duration { return between(from, to, to.Sub(from)) }

// between is what the wall clock has gone from one time to another beside what
// has passed in truth; a slow correction is none.
func between(from, to time.Time, passed time.Duration) time.Duration {
	by := to.Round(0).Sub(from.Round(0)) - passed
	if by.Abs() < 100*time.Millisecond {
		return 0
	}
	return by
}

// stamp rounds a tick down to the precision, so that no line comes from the
// future. Without a precision the interval says how fine it is worth being.
func stamp(tick time.Time, precision, interval time.Duration) int64 {
	if precision <= 0 {
		precision = derivedPrecision(interval)
	}
	nano := tick.UnixNano()
	return nano - modulo(nano, int64(precision))
}

func derivedPrecision(interval time.Duration) time.Duration {
	for _, p := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if interval >= p {
			return p
		}
	}
	return time.Nanosecond
}

// modulo is the remainder that is never negative.
func modulo(a, b int64) int64 {
	m := a % b
	if m < 0 {
		m += b
	}
	return m
}
