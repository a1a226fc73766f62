package metrics

import (
	"sync/atomic"
	"time"
)

// bounds are the upper ends of a Histogram's buckets: from what a fast disk
// needs to what makes clients give up.
var bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
	20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
}

// Histogram counts how long something took. Its zero value is empty.
type Histogram struct {
	buckets [len(bounds) + 1]atomic.Int64 // each what is above the one before
	sum     atomic.Int64                  // nanoseconds
}

// Observe counts one more. It costs two atomic additions.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// total is how many were observed, and their sum.
func (h *Histogram) total() (count int64, sum time.Duration) {
	for i := range h.buckets {
		count += h.buckets[i].Load()
	}
	return count, time.Duration(h.sum.Load())
}
