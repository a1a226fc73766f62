package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// segment is one file of frames. Its fields but first are guarded by Spool.mu.
type segment struct {
	first uint64 // its name: the seq of its first frame

	size    int64 // up to here it is durable, and read
	sealed  bool  // it grows no more
	touched time.Time

	counted bool // the next three are known
	last    uint64
	frames  int64
	lines   int64

	kept    bool           // linked in kept/
	lent    bool           // … where somebody reads it who is owed it and has no link
	owed    []*Destination // linked in these directories
	damaged map[int64]bool // offsets that were reported
}

const segmentSuffix = ".gz"

func (g *segment) name() string { return segmentName(g.first) }

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// parseSegmentName returns the number in a segment's name.
func parseSegmentName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil && n > 0 && n <= maxSeq && segmentName(n) == name
}

// compareFirst orders segments by name.
func compareFirst(g *segment, first uint64) int {
	switch {
	case g.first < first:
		return -1
	case g.first > first:
		return 1
	}
	return 0
}

// active is the segment that commits go to. Spool.disk guards it.
type active struct {
	*segment
	file   *os.File
	born   time.Time
	linked bool // it has its names, and is in Spool.segments
}

// create begins a segment under a temporary name. It gets its own names with
// its first frames, so that no half-written one is ever found. Like the number
// in it, the temporary name is never used again: it may be a second name of a
// segment if it could not be removed.
func (s *Spool) create(first uint64) (*active, error) {
	f, err := s.sys.Create(s.path(segmentName(first) + temporary))
	if err != nil {
		return nil, err
	}
	return &active{segment: &segment{first: first, counted: true}, file: f, born: time.Now()}, nil
}

// link gives the active segment its names and makes them durable.
func (s *Spool) link(a *active) error {
	dirs, open := s.holders()
	for i, dir := range dirs {
		if err := s.linkInto(dir, a.file.Name(), a.name()); err != nil {
			for _, made := range dirs[:i+1] {
				err = errors.Join(err, s.removeIfThere(s.path(made, a.name())))
			}
			return err
		}
	}
	a.linked = true
	if err := s.removeIfThere(a.file.Name()); err != nil {
		s.log.Error("removing a segment's temporary name", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a.kept = s.keeps()
	a.owed = open
	s.segments = append(s.segments, a.segment)
	for _, d := range open {
		d.queue = append(d.queue, a.segment)
	}
	return nil
}

// linkInto gives the file from a name in the directory dir, durably. A
// directory that somebody removed under us is made again.
func (s *Spool) linkInto(dir, from, name string) error {
	to := s.path(dir, name)
	err := s.sys.Link(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.makeDirectory(s.path(dir)); err != nil {
			return err
		}
		err = s.sys.Link(from, to)
	}
	if err != nil {
		return fmt.Errorf("%w (the file system must know hard links)", err)
	}
	return s.syncDirectory(s.path(dir))
}

// holders returns where a new segment is linked: the directories, and the open
// destinations that some of them belong to.
func (s *Spool) holders() (dirs []string, open []*Destination) {
	if s.keeps() {
		dirs = append(dirs, keptName)
	}
	for _, d := range s.every() {
		if d.isOpen() {
			dirs = append(dirs, d.directory())
			open = append(open, d)
		}
	}
	return dirs, open
}

// seal ends the active segment; the next commit begins another. s.disk is held.
func (s *Spool) seal() {
	a := s.active
	if a == nil {
		return
	}
	s.active = nil
	if err := a.file.Close(); err != nil {
		s.log.Error("closing a sealed segment", "segment", a.name(), "error", err)
	}
	if !a.linked {
		if err := s.removeIfThere(a.file.Name()); err != nil {
			s.log.Error("removing an unused segment", "error", err)
		}
		return
	}
	s.mu.Lock()
	a.sealed = true
	s.mu.Unlock()
	signal(s.chores)
}

// unlink removes the name of g in the directory of d, or in kept/ when d is
// nil. The last name frees the bytes; before the newest segment goes, the
// number that it would have shown is written down. s.disk is held.
func (s *Spool) unlink(g *segment, d *Destination) error {
	if !s.holds(g, d) {
		return nil
	}
	if s.lastLink(g) && s.newest() == g {
		if err := s.markSequence(); err != nil {
			return err
		}
	}
	dir := keptName
	if d != nil {
		dir = d.directory()
	}
	if err := s.removeIfThere(s.path(dir, g.name())); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(g, d)
	return nil
}

// release forgets the link that unlink removed. s.mu is held.
func (s *Spool) release(g *segment, d *Destination) {
	if d == nil {
		g.kept = false
		s.stats.KeptBytes -= g.size
	} else {
		g.owed = without(g.owed, d)
		d.queue = without(d.queue, g)
		if len(g.owed) == 0 {
			s.stats.UndeliveredBytes -= g.size
		}
	}
	if !g.kept && len(g.owed) == 0 {
		s.stats.Bytes -= g.size
		s.segments = without(s.segments, g)
	}
}

// owe links g to d in memory. s.mu is held.
func (s *Spool) owe(g *segment, d *Destination) {
	if len(g.owed) == 0 {
		s.stats.UndeliveredBytes += g.size
	}
	g.owed = append(g.owed, d)
	d.queue = append(d.queue, g)
}

// without returns list without x, leaving list itself to its other readers.
func without[T comparable](list []T, x T) []T {
	i := slices.Index(list, x)
	switch i {
	case -1:
		return list
	case 0:
		return list[1:]
	}
	return slices.Concat(list[:i], list[i+1:])
}

func (s *Spool) holds(g *segment, d *Destination) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return d == nil && g.kept || d != nil && slices.Contains(g.owed, d)
}

func (s *Spool) lastLink(g *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !g.kept && len(g.owed) == 1 || g.kept && len(g.owed) == 0
}

func (s *Spool) newest() *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 {
		return nil
	}
	return s.segments[len(s.segments)-1]
}

// markSequence writes down the last number given, for a spool without segments.
func (s *Spool) markSequence() error {
	s.mu.Lock()
	last := s.next - 1
	s.mu.Unlock()
	if err := s.replace(s.path(sequenceName), formatNumber(last)); err != nil {
		return fmt.Errorf("write down the sequence: %w", err)
	}
	return nil
}

// removeIfThere removes a name; a name that is gone already is as good.
func (s *Spool) removeIfThere(path string) error {
	if err := s.sys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// source returns a path to read g by; "" when nobody links it any more.
func (s *Spool) source(g *segment) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case g.kept:
		return s.path(keptName, g.name())
	case len(g.owed) > 0:
		return s.path(g.owed[0].directory(), g.name())
	}
	return ""
}

// walk reads every frame of g, at its size of now; bodies only with an f to hold
// them. A segment that nobody links any more holds none.
func (s *Spool) walk(g *segment, f *Frame, visit func(h header, off int64) error) error {
	s.mu.Lock()
	limit := g.size
	low, high := s.bounds(g)
	s.mu.Unlock()
	for path := s.source(g); path != ""; {
		c, err := openCursor(s.sys, path, low, high)
		if next := s.source(g); errors.Is(err, fs.ErrNotExist) && next != path {
			path = next // this link was removed under us; there are others
			continue
		}
		if err != nil {
			return err
		}
		defer c.Close()
		return c.walk(limit, f, visit, func(d *damage) { s.quarantine(g, c, d) })
	}
	return nil
}

// bounds returns the sequence numbers that g may hold. s.mu is held.
func (s *Spool) bounds(g *segment) (low, high uint64) {
	i, _ := slices.BinarySearchFunc(s.segments, g.first+1, compareFirst)
	if i < len(s.segments) {
		return g.first, s.segments[i].first - 1
	}
	return g.first, anySeq
}
