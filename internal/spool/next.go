package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// patience is how often a place that the disk fails to read is tried before it
// counts as damaged.
const patience = 3

// Next reads the next frame into f, whose Body's capacity it uses again, and
// waits while there is none. It returns ErrClosed when the spool is closed or
// the destination forgotten. Any other error is the disk's: a later call tries
// again, and gives the place up as damaged after a few.
func (d *Destination) Next(ctx context.Context, f *Frame) error {
	for {
		news := d.spool.listen()
		if ok, err := d.TryNext(f); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		}
	}
}

// listen returns a channel that is closed when there is more to read.
func (s *Spool) listen() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.news == nil {
		s.news = make(chan struct{})
	}
	return s.news
}

// TryNext is Next without the waiting: false when there is no frame now.
func (d *Destination) TryNext(f *Frame) (bool, error) {
	d.reading.Lock()
	defer d.reading.Unlock()
	for {
		v, err := d.look()
		if err != nil || !v.more {
			return false, err
		}
		found, err := d.readAt(v, f)
		if found || err != nil {
			return found, err
		}
		d.sweep() // what was stepped over may have been all that was left of a segment
	}
}

// view is what a reader sees of the spool at one moment.
type view struct {
	more      bool
	at        place
	limit     int64
	low, high uint64
	after     uint64 // frames up to here need not be read
	moves     int
}

// look finds the next place to read, turning to the next segment where one has
// ended.
func (d *Destination) look() (view, error) {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	if !d.open || d.spool.closed {
		return view{}, fmt.Errorf("destination %s: %w", d.name, ErrClosed)
	}
	for d.at.seg == nil || d.at.off >= d.at.seg.size {
		next := d.following(d.at.seg)
		if next == nil || d.at.seg != nil && !d.at.seg.sealed {
			return view{}, nil
		}
		d.move(place{seg: next, seq: d.at.seq})
	}
	low, high := d.spool.bounds(d.at.seg)
	return view{more: true, at: d.at, limit: d.at.seg.size, low: low, high: high,
		after: max(d.passed, d.at.seq), moves: d.moves}, nil
}

// following returns the segment in the queue after g. spool.mu is held.
func (d *Destination) following(g *segment) *segment {
	i := 0
	if g != nil {
		i, _ = slices.BinarySearchFunc(d.queue, g.first+1, compareFirst)
	}
	if i == len(d.queue) {
		return nil
	}
	return d.queue[i]
}

// move takes the read position on to p; while nothing is in flight, everything
// before it is passed. spool.mu is held.
func (d *Destination) move(p place) {
	d.at = p
	if len(d.marks) == 0 {
		d.base = p
	}
}

// readAt reads what lies at v: a frame, or something to be stepped over.
func (d *Destination) readAt(v view, f *Frame) (bool, error) {
	g := v.at.seg
	if err := d.openSegment(v); errors.Is(err, fs.ErrNotExist) {
		d.missing(v, err)
		return false, nil
	} else if err != nil {
		return false, d.failed(err)
	}
	h, err := d.cursor.read(v.at.off, v.limit, v.after, f)
	bad, damaged := errors.AsType[*damage](err)
	if err != nil && !damaged {
		if d.failures++; d.failures < patience {
			return false, d.failed(err)
		}
		bad = d.cursor.skip(v.at.off, v.limit, err)
	}
	d.failures = 0
	if bad != nil {
		d.spool.quarantine(g, d.cursor, bad)
		d.skipTo(v, bad.to)
		return false, nil
	}
	return d.take(v, h), nil
}

func (d *Destination) failed(err error) error {
	return fmt.Errorf("destination %s: read: %w", d.name, err)
}

// openSegment points the cursor at the segment of v.
func (d *Destination) openSegment(v view) error {
	g := v.at.seg
	if d.cursor == nil || d.cursorOf != g {
		d.closeCursor()
		c, err := openCursor(d.spool.sys, d.spool.path(d.directory(), g.name()), v.low, v.high)
		if errors.Is(err, fs.ErrNotExist) { // somebody has removed our name of it
			if c, err = d.openElsewhere(v); err == nil {
				d.spool.log.Warn("a destination's link to a segment is gone; reading it by another", "destination", d.name, "segment", g.name())
			}
		}
		if err != nil {
			return err
		}
		d.cursor, d.cursorOf = c, g
	}
	d.cursor.high = v.high
	return nil
}

// openElsewhere opens the segment of v by a name that it has in kept/ or in
// another destination's directory.
func (d *Destination) openElsewhere(v view) (*cursor, error) {
	s, g := d.spool, v.at.seg
	s.mu.Lock()
	var paths []string
	if g.kept {
		paths = append(paths, s.path(keptName, g.name()))
	}
	for _, other := range g.owed {
		paths = append(paths, s.path(other.directory(), g.name()))
	}
	s.mu.Unlock()
	err := error(fs.ErrNotExist)
	for _, path := range paths {
		var c *cursor
		if c, err = openCursor(s.sys, path, v.low, v.high); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func (d *Destination) closeCursor() {
	if d.cursor != nil {
		d.cursor.Close() // only read: nothing can be lost
		d.cursor = nil
	}
}

// stopReading closes the file that the destination reads.
func (d *Destination) stopReading() {
	d.reading.Lock()
	defer d.reading.Unlock()
	d.closeCursor()
}

// take moves over the frame h that was read at v. It reports whether the frame
// is the caller's: not when it is passed already, or when somebody moved the
// read position meanwhile.
func (d *Destination) take(v view, h header) bool {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	if d.moves != v.moves {
		return false
	}
	p := v.at
	p.off += h.total()
	p.frames++
	p.lines += int64(h.lines)
	p.seq = max(p.seq, h.seq)
	if h.seq <= v.after {
		d.move(p)
		return false
	}
	d.at = p
	d.marks = append(d.marks, mark{seq: h.seq, received: h.received, after: p})
	d.highest = max(d.highest, h.seq)
	return true
}

// missing moves over a segment that somebody removed, unless it was us.
func (d *Destination) missing(v view, err error) {
	if d.skipTo(v, v.limit) && d.spool.countDamage(v.at.seg, v.at.off) {
		d.spool.log.Error("a segment is gone", "destination", d.name, "error", err)
	}
}

// skipTo moves over something that cannot be read; false when somebody moved
// the read position meanwhile, or ended it.
func (d *Destination) skipTo(v view, off int64) bool {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	if d.moves != v.moves || !d.open {
		return false
	}
	p := v.at
	p.off = off
	d.move(p)
	return true
}
