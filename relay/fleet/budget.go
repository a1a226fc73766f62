package fleet

import (
	"sync"
	"time"
)

// bytesPerSecond is what the view looks at, on average: far more than a fleet
// of two thousand nodes sends, and a few hundredths of a slow core.
const bytesPerSecond = 3 << 19

// budget is a bucket that fills with time. Its zero value is full.
type budget struct {
	mu     sync.Mutex
	spent  int // bytes taken and not yet regained
	filled time.Time
}

// take asks to look at n bytes and answers with how many may be looked at: all
// of them, only the head, or none.
func (b *budget) take(n int, now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if since := now.Sub(b.filled); since > 0 {
		b.spent -= int(min(since, time.Second) * bytesPerSecond / time.Second)
		b.spent, b.filled = max(b.spent, 0), now
	}
	switch {
	case b.spent >= bytesPerSecond:
		return 0
	case b.spent >= bytesPerSecond/2:
		n = min(n, headSample)
	}
	n = min(n, maxSample)
	b.spent += n
	return n
}
