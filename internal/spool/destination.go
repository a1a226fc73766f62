package spool

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Destination reads a spool in order, at its own pace:
//
//	  passed               read                  durable
//	────┼───────────────────┼──────────────────────┼──── frames
//	    │◄─ marks: read, ──►│◄─ what Next returns ►│
//	    │   not passed      │                      │
//	   base                 at
//
// Its methods may be called from several goroutines.
type Destination struct {
	spool *Spool
	name  string

	// reading is held while a frame is read from the disk.
	reading  sync.Mutex
	cursor   *cursor // nil between segments
	cursorOf *segment
	failures int // of reading the disk at the same place, in a row

	// saving is held while the progress file is written; it comes last.
	saving sync.Mutex
	saved  uint64 // what the progress file says

	// What it has lost and the log was not told, and when that was told last:
	// guarded by spool.disk.
	untold losses
	toldAt time.Time

	// The rest is guarded by spool.mu.
	open    bool
	queue   []*segment // linked in its directory, oldest first
	passed  uint64     // everything up to here is passed
	highest uint64     // the last frame ever read
	base    place      // the first frame not passed
	at      place      // the next frame to read
	marks   []mark     // the frames between base and at
	moves   int        // how often at was moved by others than the reader
	budget  Budget
	dropped int64
}

// place is a position between two frames of a segment.
type place struct {
	seg    *segment // nil: before the first of the queue
	off    int64
	seq    uint64 // of the last frame before it
	frames int64  // before it in seg
	lines  int64
}

// mark is a frame that was read and is not passed.
type mark struct {
	seq      uint64
	received int64
	after    place
}

func (d *Destination) directory() string { return filepath.Join(destinationsName, d.name) }

func (d *Destination) isOpen() bool {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	return d.open
}

func (d *Destination) setOpen(open bool) {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	d.open = open
}

// Advance says that everything up to and including seq is passed: it will not
// be read again. The progress is on disk 5 s later at most, and before a
// segment is unlinked. Only what Next has returned can be passed.
func (d *Destination) Advance(seq uint64) error {
	if err := d.advance(seq); err != nil {
		return fmt.Errorf("destination %s: %w", d.name, err)
	}
	d.sweep()
	return nil
}

func (d *Destination) advance(seq uint64) error {
	s := d.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.open || s.closed {
		return ErrClosed
	}
	if seq <= d.passed {
		return nil
	}
	if seq > d.highest {
		return fmt.Errorf("cannot pass %d: only %d was read", seq, d.highest)
	}
	d.passed = seq
	n := 0
	for n < len(d.marks) && d.marks[n].seq <= seq {
		d.base = d.marks[n].after
		n++
	}
	d.marks = slices.Delete(d.marks, 0, n)
	if len(d.marks) == 0 {
		d.base = d.at
	}
	return nil
}

// Rewind takes the read position back to the first frame not passed.
func (d *Destination) Rewind() {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	d.rewind()
}

// rewind is Rewind for who holds spool.mu.
func (d *Destination) rewind() {
	d.at = d.base
	d.marks = d.marks[:0]
	d.moves++
	d.spool.wake()
}

// drop gives g up unread and returns how many of its lines d had not passed.
func (d *Destination) drop(g *segment, frames []listed) (lost int64) {
	s := d.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range frames {
		if f.seq > d.passed {
			lost += f.lines
			d.passed = f.seq
		}
	}
	d.highest = max(d.highest, d.passed)
	d.dropped += lost
	s.stats.DroppedLines += lost
	d.marks = slices.DeleteFunc(d.marks, func(m mark) bool { return m.seq <= d.passed })
	end := place{seg: g, off: g.size, seq: d.passed}
	if d.base.seg == nil || d.base.seg.first <= g.first {
		d.base = end
	}
	if d.at.seg == nil || d.at.seg.first <= g.first {
		d.at = end
	}
	d.moves++
	return lost
}

// passedSegments returns the segments at the head of the queue that d needs no
// more.
func (d *Destination) passedSegments() (done []*segment) {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	for _, g := range d.queue {
		ended := d.base.seg == g && d.base.off >= g.size
		left := d.base.seg != nil && g.first < d.base.seg.first
		if !g.sealed || !ended && !left {
			break
		}
		done = append(done, g)
	}
	return done
}
