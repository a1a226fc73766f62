package spool

import "time"

// Budget is how far a destination may be behind. The zero value is that of a
// destination that must get everything: what it has not passed fills the spool.
type Budget struct {
	// Optional: where room is short, what only optional destinations have not
	// passed is dropped, counted, before anything is refused.
	Optional bool
	MaxBytes int64         // of an optional one's backlog; 0: no bound of its own
	MaxAge   time.Duration // … of the frames in it; 0: none
}

// Limit sets d's budget. An optional destination that is beyond it loses its
// oldest segments, soon and as wholes.
func (d *Destination) Limit(b Budget) {
	s := d.spool
	s.disk.Lock()
	defer s.disk.Unlock()
	s.boundSegments(b.MaxBytes)
	s.mu.Lock()
	d.budget = b
	s.mu.Unlock()
	signal(s.chores)
}

// boundSegments makes segments small enough for a bound. s.disk is held.
func (s *Spool) boundSegments(bound int64) {
	if bound > 0 {
		s.cfg.SegmentBytes = min(s.cfg.SegmentBytes, max(bound/boundParts, smallestSegment))
	}
}

// holdToBudgets drops what is beyond the budgets.
func (s *Spool) holdToBudgets() {
	s.disk.Lock()
	defer s.disk.Unlock()
	for _, d := range s.every() {
		for g := d.beyond(); g != nil; g = d.beyond() {
			if s.active != nil && s.active.segment == g {
				s.seal()
			}
			if !s.dropFrom(d, g, s.list(g), "it is too far behind") {
				break
			}
		}
	}
}

// beyond returns the oldest segment of d if that is one too many.
func (d *Destination) beyond() *segment {
	s := d.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.budget.Optional || len(d.queue) == 0 {
		return nil
	}
	backlog, g := d.total().Bytes, d.queue[0]
	tooMuch := d.budget.MaxBytes > 0 && backlog > d.budget.MaxBytes
	tooOld := d.budget.MaxAge > 0 && backlog > 0 && time.Since(g.touched) > d.budget.MaxAge
	if tooMuch || tooOld {
		return g
	}
	return nil
}

// Close ends the reading: nothing is added for d any more until it is opened
// again. What it has not passed stays.
func (d *Destination) Close() error {
	if !d.shut() {
		return nil // it was closed, or the spool is
	}
	d.stopReading()
	d.sweep()
	return d.save()
}

func (d *Destination) shut() bool {
	s := d.spool
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.stillOpen() != nil || !d.isOpen() {
		return false
	}
	s.seal() // or it would go on growing under d's name
	s.mu.Lock()
	defer s.mu.Unlock()
	d.rewind() // at one stroke with what follows: whoever opens d again begins there
	d.open = false
	return true
}
