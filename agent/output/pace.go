package output

import (
	"hash/fnv"
	"time"
)

// untilPlace is the time until host's next turn: its place within every is
// always the same, and that of another host another, so that a fleet started
// together does not write together.
func untilPlace(now time.Time, every time.Duration, host string) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(host))
	place := int64(scatter(h.Sum64()) % uint64(every))
	d := time.Duration(mod(place-now.UnixNano(), int64(every)))
	if d <= every/10 { // it has just been, or the timer was early
		d += every
	}
	return d
}

// scatter makes any two numbers that are near each other far apart.
func scatter(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func mod(a, b int64) int64 {
	if a %= b; a < 0 {
		a += b
	}
	return a
}

// pace is a rate limit: so many bytes in each period. A batch that is begun is
// sent whole; what it takes too much is missing from the next periods.
type pace struct {
	limit  int64
	period time.Duration

	begun time.Time // of the period
	used  int64     // in it
	last  int64     // what had been sent when it was last asked
}

// wait returns how long nothing may be sent, sent being all bytes so far.
func (p *pace) wait(now time.Time, sent int64) time.Duration {
	if p.limit == 0 {
		return 0
	}
	if p.begun.IsZero() {
		p.begun, p.last = now, sent
	}
	p.used += sent - p.last
	p.last = sent
	if n := int64(now.Sub(p.begun) / p.period); n > 0 {
		p.begun = p.begun.Add(time.Duration(n) * p.period)
		p.used = max(0, p.used-n*p.limit)
	}
	if p.used < p.limit {
		return 0
	}
	return p.begun.Add(p.period).Sub(now)
}
