package spool

import (
	"fmt"
	"slices"
	"time"
)

// admit answers the requests that there is no room for and returns the others.
// s.disk is held.
func (s *Spool) admit(reqs []*request) []*request {
	open := s.anyOpen()
	var total int64
	for _, r := range reqs {
		total += r.bytes
	}
	if len(reqs) == 0 || s.room(total, open) == nil {
		return reqs
	}
	total = 0 // one by one, then
	return slices.DeleteFunc(reqs, func(r *request) bool {
		err := s.room(total+r.bytes, open)
		if err != nil {
			r.done <- err
			return true
		}
		total += r.bytes
		return false
	})
}

// room makes room for n bytes, or says why there is none.
func (s *Spool) room(n int64, open bool) error {
	if !open && !s.keeps() {
		return ErrNoDestination
	}
	if s.lastNumber() > maxSeq-1<<32 {
		return fmt.Errorf("%w: its sequence numbers are used up; begin a new directory", ErrFull)
	}
	if err := s.roomOnDisk(n); err != nil {
		return err
	}
	if s.cfg.MaxBytes == 0 || !open {
		return nil
	}
	return s.roomInBound(n)
}

// roomOnDisk refuses before the disk is full, so that progress can still be
// written. What is merely kept, or passed, makes way first, then what only
// optional destinations are owed.
func (s *Spool) roomOnDisk(n int64) error {
	for swept := false; ; {
		free, err := s.sys.Free(s.cfg.Directory)
		if err != nil {
			return err
		}
		if free-n >= s.cfg.MinFreeBytes {
			return nil
		}
		switch {
		case s.reclaim():
		case !swept:
			s.sweepAll()
			swept = true
		case s.dropOldest(optional):
		default:
			return fmt.Errorf("%w: %d bytes free, %d to be left", ErrNoSpace, free, s.cfg.MinFreeBytes)
		}
	}
}

// sweepAll seals the growing segment, which may be all that fills a bound, and
// gives free what is passed. s.disk is held.
func (s *Spool) sweepAll() {
	s.seal()
	for _, d := range s.every() {
		d.unlinkPassed()
	}
}

// roomInBound keeps undelivered bytes below MaxBytes. What is passed makes way
// before anything is refused.
func (s *Spool) roomInBound(n int64) error {
	fits := func() bool { return s.undelivered()+n <= s.cfg.MaxBytes }
	if fits() {
		return nil
	}
	s.sweepAll()
	for !fits() {
		if n <= s.cfg.MaxBytes && (s.dropOldest(optional) || s.cfg.DropOldest && s.dropOldest(anybody)) {
			continue
		}
		return fmt.Errorf("%w: %d bytes undelivered, %d more would pass %d",
			ErrFull, s.undelivered(), n, s.cfg.MaxBytes)
	}
	return nil
}

// anyOpen reports whether a new segment will be owed to anybody.
func (s *Spool) anyOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.destinations {
		if d.open {
			return true
		}
	}
	return false
}

// Bound changes MaxBytes, from the next Append on. Segments stay as large as
// they were to be when the spool was opened, or become smaller.
func (s *Spool) Bound(maxBytes int64) {
	s.disk.Lock()
	defer s.disk.Unlock()
	s.cfg.MaxBytes = maxBytes
	s.boundSegments(maxBytes)
}

func (s *Spool) undelivered() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats.UndeliveredBytes
}

func (s *Spool) lastNumber() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next - 1
}

// anybody and optional tell of which segments dropOldest may take.
func anybody(g *segment) bool { return len(g.owed) > 0 }

func optional(g *segment) bool {
	return len(g.owed) > 0 && !slices.ContainsFunc(g.owed, func(d *Destination) bool { return !d.budget.Optional })
}

// dropOldest takes the oldest undelivered segment of a kind from every
// destination that has not passed it, and counts what each of them loses.
func (s *Spool) dropOldest(kind func(*segment) bool) bool {
	g, owed := s.oldestUndelivered(kind)
	if g == nil {
		return false
	}
	if s.active != nil && s.active.segment == g {
		s.seal() // it would go on growing without a name
	}
	frames := s.list(g)
	for _, d := range owed {
		if !s.dropFrom(d, g, frames, "the spool is full") {
			return false
		}
	}
	return true
}

// dropFrom takes g from d and counts what it loses. s.disk is held, and g is
// sealed.
func (s *Spool) dropFrom(d *Destination, g *segment, frames []listed, why string) bool {
	s.tellDropped(d, g, d.drop(g, frames), why)
	if err := s.unlink(g, d); err != nil {
		s.log.Error("dropping a segment", "destination", d.name, "segment", g.name(), "error", err)
		return false
	}
	return true
}

// tellEvery is the time between two lines in the log on what one destination
// loses: a spool that is full drops a segment for every one that comes.
const tellEvery = time.Minute

// tellDropped logs the first segment that d loses, and from then on sums.
// s.disk is held.
func (s *Spool) tellDropped(d *Destination, g *segment, lost int64, why string) {
	d.untold.segments++
	d.untold.lines += lost
	now := time.Now()
	if !d.toldAt.IsZero() && now.Sub(d.toldAt) < tellEvery {
		return
	}
	s.log.Warn("the oldest segments of a destination are dropped", "destination", d.name, "why", why,
		"segments", d.untold.segments, "newest", g.name(), "lines", d.untold.lines)
	d.untold, d.toldAt = losses{}, now
}

// losses are what a destination does not get.
type losses struct{ segments, lines int64 }

func (s *Spool) oldestUndelivered(kind func(*segment) bool) (*segment, []*Destination) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		if kind(g) {
			return g, slices.Clone(g.owed)
		}
	}
	return nil, nil
}

// listed is one frame of a list.
type listed struct {
	seq   uint64
	lines int64
}

// list reads the headers of g.
func (s *Spool) list(g *segment) (frames []listed) {
	err := s.walk(g, nil, func(h header, _ int64) error {
		frames = append(frames, listed{h.seq, int64(h.lines)})
		return nil
	})
	if err != nil {
		s.log.Error("counting the lines of a segment", "segment", g.name(), "error", err)
	}
	return frames
}

// reclaim removes the oldest segment that only kept/ links, and reports
// whether there was one.
func (s *Spool) reclaim() bool {
	g := s.oldestKept(func(g *segment) bool { return len(g.owed) == 0 })
	return g != nil && s.dropKept(g)
}
