// Package rate counts what happened in the last minute.
package rate

import "time"

// slots of slotLength make the minute over which a rate is taken.
const (
	slots      = 6
	slotLength = 10 * time.Second
)

// Minute counts what happened in the last minute. Its zero value is ready.
type Minute struct {
	counts [slots]int64
	last   int64 // number of the newest slot since the epoch
	first  int64 // … of the first that counted
}

func slotOf(t time.Time) int64 { return t.UnixNano() / int64(slotLength) }

// Add counts n at time t; what is older than the minute is not counted.
func (m *Minute) Add(t time.Time, n int) {
	slot := slotOf(t)
	if m.first == 0 {
		m.first, m.last = slot, slot
	}
	m.roll(slot)
	if m.last-slot < slots {
		m.counts[slot%slots] += int64(n)
	}
}

func (m *Minute) roll(slot int64) {
	for i := min(slot-m.last, slots); i > 0; i-- {
		m.counts[(slot-i+1)%slots] = 0
	}
	m.last = max(m.last, slot)
}

// PerMinute is the rate over the last minute, or since the first count if that
// is less long ago.
func (m *Minute) PerMinute(now time.Time) float64 {
	slot := slotOf(now)
	if m.first == 0 || slot-m.last >= slots {
		return 0
	}
	oldest := max(slot-slots+1, m.first)
	sum := int64(0)
	for s := max(oldest, m.last-slots+1); s <= m.last; s++ {
		sum += m.counts[s%slots]
	}
	span := now.Sub(time.Unix(0, oldest*int64(slotLength)))
	return float64(sum) / max(span, slotLength).Minutes()
}
