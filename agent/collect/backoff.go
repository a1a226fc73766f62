package collect

import (
	"cmp"
	"math/rand/v2"
	"time"
)

const (
	firstRestartDelay = time.Second
	maxRestartDelay   = 5 * time.Minute
	// healthyAfter is how long a process must live, and gather, until its end
	// counts as an accident and not as one more of a series.
	healthyAfter = time.Minute
)

// backoff spaces the restarts of a process: the first is at once, so that an
// accident costs no tick, the next ones come later and later.
type backoff struct {
	first    time.Duration // the delay that is doubled; 0: firstRestartDelay
	failures int
}

// next records the end of a process and returns how long to wait before the
// next one is started.
func (b *backoff) next(lived time.Duration, gathered bool) time.Duration {
	if gathered && lived >= healthyAfter {
		b.failures = 0
	}
	b.failures++
	if b.failures == 1 {
		return 0
	}
	delay := min(cmp.Or(b.first, firstRestartDelay)<<min(b.failures-2, 16), maxRestartDelay)
	return delay*4/5 + rand.N(delay*2/5)
}
