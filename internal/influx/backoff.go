package influx

import (
	"errors"
	"math/rand/v2"
	"time"
)

const (
	firstDelay = 25 * time.Millisecond
	maxDelay   = 30 * time.Second
	// suspectAfter failures of one batch that its lines may have caused, it
	// is taken apart to find them.
	suspectAfter = 3
)

// Backoff spaces the attempts at one batch. The zero value is ready; Reset it
// after a success.
type Backoff struct {
	failures, suspect, slow int
}

// Next records a failure and returns how long to wait before trying again:
// from 25 ms doubling to 30 s, of which up to half is random so that a fleet
// does not return in step; at least what the server asked for, up to the cap.
func (b *Backoff) Next(err error) time.Duration {
	delay := min(maxDelay, firstDelay<<min(b.failures, 20))
	b.failures++
	var e *WriteError
	if errors.As(err, &e) {
		if e.Suspect() {
			b.suspect++
		} else {
			b.suspect = 0
		}
		if b.slow++; !e.TooSlow() {
			b.slow = 0
		}
		if e.Class == Hold || e.Class == MissingDatabase {
			delay = max(delay, time.Second)
		}
	}
	delay = delay/2 + rand.N(delay/2+1)
	if e != nil {
		delay = max(delay, min(e.RetryAfter, maxDelay))
	}
	return delay
}

// Failures is how often the batch has failed since Reset.
func (b *Backoff) Failures() int { return b.failures }

// Suspect reports whether the batch has failed so often that its own lines
// may be the cause.
func (b *Backoff) Suspect() bool { return b.suspect >= suspectAfter }

// TooSlow reports whether the server has so often not answered in time that the
// batch may be too large for it.
func (b *Backoff) TooSlow() bool { return b.slow >= suspectAfter }

// Reset forgets the failures.
func (b *Backoff) Reset() { *b = Backoff{} }
