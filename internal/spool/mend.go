package spool

import (
	"bytes"
	"errors"
	"os"
	"slices"
)

// mend cuts the newest segment after its last whole frame: a crash can have
// left more, which was never acknowledged. A segment without any frame is
// removed.
func (s *Spool) mend() {
	g := s.newest()
	if g == nil {
		return
	}
	if err := s.mendSegment(g); err != nil {
		s.next = max(s.next, g.first) + uint64(g.size/frameBytes)
		s.log.Error("mending the newest segment; it is read as it is", "segment", g.name(), "error", err)
	}
}

func (s *Spool) mendSegment(g *segment) error {
	c, err := openCursor(s.sys, s.source(g), g.first, anySeq)
	if err != nil {
		return err
	}
	defer c.Close()
	var n tally
	var f Frame
	var end int64
	var inside []*damage
	visit := func(h header, off int64) error {
		n.add(h)
		end = off + h.total()
		return nil
	}
	if err := c.walk(g.size, &f, visit, func(d *damage) { inside = append(inside, d) }); err != nil {
		return err
	}
	unread := func(d *damage) bool { return d.from >= end && !malformed(d.cause) }
	if i := slices.IndexFunc(inside, unread); i >= 0 {
		return inside[i] // not cut: it may be readable the next time
	}
	for _, d := range inside {
		if d.from >= end && s.torn(c, d) {
			continue
		}
		s.quarantine(g, c, d)
	}
	// Frames of one segment bear successive numbers; those that cannot be read
	// may have been given all the same.
	s.next = max(s.next, g.first, n.last+1) + uint64((g.size-end)/frameBytes)
	s.count(g, n)
	if end == g.size {
		return nil
	}
	s.log.Warn("the newest segment is cut after its last whole frame", "segment", g.name(), "from", g.size, "to", end)
	return s.cut(g, end)
}

// torn reports whether d is the beginning of a frame that was never finished,
// as a crash leaves it, rather than damage to one that was.
func (s *Spool) torn(c *cursor, d *damage) bool {
	b, err := c.peek(d.from, maxHeader, d.to)
	if err != nil && len(b) == 0 {
		return false
	}
	h, err := parseHeader(b)
	if err == nil {
		return d.from+h.total() > d.to
	}
	return errors.Is(err, errShort) && int64(len(b)) == d.to-d.from || s.zero(c, d)
}

// zero reports whether d is all zeros: a size that reached the disk before the
// bytes did.
func (s *Spool) zero(c *cursor, d *damage) bool {
	for off := d.from; off < d.to; {
		b, _ := c.peek(off, len(c.room), d.to)
		if len(b) == 0 || len(bytes.Trim(b, "\x00")) > 0 {
			return false
		}
		off += int64(len(b))
	}
	return true
}

// cut shortens g to end under each of its names, or removes it.
func (s *Spool) cut(g *segment, end int64) error {
	g.size = end
	for _, d := range slices.Clone(g.owed) {
		if err := s.cutLink(g, d); err != nil {
			return err
		}
	}
	if g.kept {
		return s.cutLink(g, nil)
	}
	return nil
}

func (s *Spool) cutLink(g *segment, d *Destination) error {
	if g.size == 0 {
		return s.unlink(g, d)
	}
	dir := keptName
	if d != nil {
		dir = d.directory()
	}
	f, err := os.OpenFile(s.path(dir, g.name()), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() <= g.size {
		return err
	}
	if err := s.sys.Truncate(f, g.size); err != nil {
		return err
	}
	return s.datasync(f)
}
