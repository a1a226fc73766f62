package fleet

import "time"

// slots of slotLength make the minute over which a rate is taken.
const (
	slots      = 6
	slotLength = 10 * time.Second
)

// rate counts what happened in the last minute. Its zero value is ready.
type rate struct {
	counts [slots]int64
	last   int64 // number of the newest slot since the epoch
	first  int64 // … of the first that counted
}

func slotOf(t time.Time) int64 { return t.UnixNano() / int64(slotLength) }

// add counts n at time t; what is older than the minute is not counted.
func (r *rate) add(t time.Time, n int) {
	slot := slotOf(t)
	if r.first == 0 {
		r.first, r.last = slot, slot
	}
	r.roll(slot)
	if r.last-slot < slots {
		r.counts[slot%slots] += int64(n)
	}
}

func (r *rate) roll(slot int64) {
	for i := min(slot-r.last, slots); i > 0; i-- {
		r.counts[(slot-i+1)%slots] = 0
	}
	r.last = max(r.last, slot)
}

// perMinute is the rate over the last minute, or since the first count if that
// is less long ago.
func (r *rate) perMinute(now time.Time) float64 {
	slot := slotOf(now)
	if r.first == 0 || slot-r.last >= slots {
		return 0
	}
	oldest := max(slot-slots+1, r.first)
	sum := int64(0)
	for s := max(oldest, r.last-slots+1); s <= r.last; s++ {
		sum += r.counts[s%slots]
	}
	span := now.Sub(time.Unix(0, oldest*int64(slotLength)))
	return float64(sum) / max(span, slotLength).Minutes()
}
