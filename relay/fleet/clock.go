package fleet

import (
	"strconv"
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

// clock learns how a node's clock differs from the relay's by the newest
// timestamp of each of the last writes. Lines wait before they are sent, so
// each only shows how far the clock may be behind; the least of that counts.
type clock struct {
	offsets [4]time.Duration // newest timestamp minus arrival
	count   int

	// Of the write being read, in nanoseconds; 0: none.
	line, newest int64
}

// read notes the timestamp of the next line of the write being read.
func (c *clock) read(l line.Line, unit time.Duration) {
	t, err := strconv.ParseInt(string(l.Timestamp), 10, 64)
	if err != nil {
		c.line = 0
		return
	}
	c.line = t * int64(max(unit, 1)) // sound lines have a time that fits
	c.newest = max(c.newest, c.line)
}

// arrive ends a write.
func (c *clock) arrive(at time.Time) {
	if c.newest == 0 {
		return
	}
	c.offsets[c.count%len(c.offsets)] = time.Duration(c.newest - at.UnixNano())
	c.count++
	c.newest = 0
}

const (
	// ahead is by how much a timestamp may be later than its arrival, as clocks
	// go; behind is what a line may wait beyond its node's rhythm.
	ahead  = 2 * time.Second
	behind = 30 * time.Second
)

// skew is by how many seconds the node's clock is ahead (positive) or behind,
// nil if that is nothing to speak of or not known. A node that brings away a
// backlog looks as if it were behind until it has.
func (c *clock) skew(interval time.Duration) *float64 {
	if c.count < len(c.offsets) {
		return nil
	}
	offset := c.offsets[0]
	for _, o := range c.offsets {
		offset = max(offset, o)
	}
	if offset <= ahead && offset >= -2*interval-behind {
		return nil
	}
	seconds := offset.Round(time.Millisecond).Seconds()
	return &seconds
}
