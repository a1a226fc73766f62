package spool

import "time"

// Backlog is what a destination has not passed yet.
type Backlog struct {
	Frames int64
	Lines  int64
	Bytes  int64     // on disk, exact at any time
	Oldest time.Time // when the oldest frame was received; zero when there is none
	Exact  bool      // Frames and Lines are exact, not yet an estimate

	DroppedLines int64 // lines this destination lost since Open, to DropOldest or its budget
}

// Backlog returns what is not passed at this moment. After Open with a large
// backlog, Frames and Lines are estimated from the bytes until the older
// segments are counted.
func (d *Destination) Backlog() Backlog {
	s := d.spool
	s.mu.Lock()
	b := d.total()
	at := d.base
	if at.seg == nil || at.off >= at.seg.size {
		at = place{seg: d.following(at.seg)}
	}
	inFlight := len(d.marks) > 0
	if inFlight {
		b.Oldest = time.Unix(0, d.marks[0].received)
	}
	s.mu.Unlock()
	if !inFlight && at.seg != nil {
		b.Oldest = d.received(at)
	}
	return b
}

// total adds up what d's segments hold from base on. spool.mu is held.
func (d *Destination) total() Backlog {
	b := Backlog{Exact: true, DroppedLines: d.dropped}
	var uncounted int64 // bytes
	for _, g := range d.queue {
		p := d.base
		switch {
		case p.seg != nil && g.first < p.seg.first:
			continue // passed, and about to be unlinked
		case p.seg != g:
			p = place{}
		}
		b.Bytes += g.size - p.off
		if g.counted {
			b.Frames += g.frames - p.frames
			b.Lines += g.lines - p.lines
		} else {
			uncounted += g.size - p.off
		}
	}
	if uncounted > 0 {
		b.Exact = false
		frames, lines := d.spool.estimate(uncounted)
		b.Frames += frames
		b.Lines += lines
	}
	return b
}

// estimate guesses the frames and lines in n bytes by what the counted
// segments hold. s.mu is held.
func (s *Spool) estimate(n int64) (frames, lines int64) {
	var bytes, f, l float64
	for _, g := range s.segments {
		if g.counted {
			bytes += float64(g.size)
			f += float64(g.frames)
			l += float64(g.lines)
		}
	}
	if bytes == 0 {
		return 0, 0
	}
	return int64(f / bytes * float64(n)), int64(l / bytes * float64(n))
}

// received reads when the frame at p was received.
func (d *Destination) received(p place) time.Time {
	c, err := openCursor(d.spool.sys, d.spool.path(d.directory(), p.seg.name()), 0, anySeq)
	if err != nil {
		return time.Time{}
	}
	defer c.Close()
	h, err := c.header(p.off, p.off+maxHeader+maxBody)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(0, h.received)
}

// tally is what a segment holds.
type tally struct {
	frames, lines int64
	last          uint64
}

func (n *tally) add(h header) {
	n.frames++
	n.lines += int64(h.lines)
	n.last = max(n.last, h.seq)
}

// countOne counts the frames and lines of one segment that somebody is owed
// and that Open did not read, header by header. While there are more it leaves
// word to go on, so that no other chore waits for a whole backlog.
func (s *Spool) countOne() {
	g, more := s.uncounted()
	if g == nil {
		return
	}
	var n tally
	err := s.walk(g, nil, func(h header, _ int64) error {
		n.add(h)
		return s.stillOpen()
	})
	if s.stillOpen() != nil {
		return
	}
	if err != nil {
		s.log.Warn("counting a segment", "segment", g.name(), "error", err)
	}
	s.count(g, n)
	if more {
		signal(s.chores)
	}
}

func (s *Spool) count(g *segment, n tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.counted, g.frames, g.lines, g.last = true, n.frames, n.lines, n.last
}

// uncounted returns the oldest segment to be counted, and whether there are
// more.
func (s *Spool) uncounted() (oldest *segment, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		if g.counted || len(g.owed) == 0 {
			continue
		}
		if oldest != nil {
			return oldest, true
		}
		oldest = g
	}
	return oldest, false
}
