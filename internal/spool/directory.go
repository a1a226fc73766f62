package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

const (
	maxName = 128
	unborn  = ".new-" // before the name of a destination that is being made
	gone    = ".old-" // … that is being forgotten
)

// CheckName says what keeps name from being a destination's.
func CheckName(name string) error {
	other := func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", r)
	}
	if name == "" || len(name) > maxName || name[0] == '.' || strings.ContainsFunc(name, other) {
		return fmt.Errorf("destination name %q: use 1 to %d letters, digits, '.', '_' and '-', not beginning with '.'", name, maxName)
	}
	return nil
}

// Destination opens a destination. One that is new gets everything in kept/,
// one that comes back what is on disk since its progress; either then gets
// every frame appended, once and in order.
func (s *Spool) Destination(name string) (*Destination, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	d, err := s.destination(name)
	if err != nil {
		return nil, fmt.Errorf("open destination %s: %w", name, err)
	}
	d.find()
	return d, nil
}

func (s *Spool) destination(name string) (*Destination, error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	if err := s.stillOpen(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	d := s.destinations[name]
	s.mu.Unlock()
	switch {
	case d == nil:
		return s.found(name)
	case !d.isOpen():
		return d, s.fillGap(d)
	}
	return d, nil
}

// found makes a new destination: under a hidden name until it has everything,
// so that a crash leaves a whole one or none.
func (s *Spool) found(name string) (*Destination, error) {
	if !s.keeps() {
		s.seal() // what it holds already is not this destination's
	}
	d := &Destination{spool: s, name: name, passed: s.lastNumber()}
	owed := s.keptSegments()
	if len(owed) > 0 {
		d.passed = owed[0].first - 1
	}
	temp := unborn + name
	if err := s.fillHidden(temp, owed, d.passed); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.path(destinationsName, temp)))
	}
	if err := s.sys.Rename(s.path(destinationsName, temp), s.path(d.directory())); err != nil {
		return nil, err
	}
	if err := s.syncDirectory(s.path(destinationsName)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.path(d.directory())))
	}
	d.saved = d.passed
	s.join(d, owed)
	return d, nil
}

// fillHidden makes a destination's directory under a hidden name.
func (s *Spool) fillHidden(temp string, owed []*segment, passed uint64) error {
	if err := os.RemoveAll(s.path(destinationsName, temp)); err != nil { // of an attempt that failed
		return err
	}
	if err := s.sys.Mkdir(s.path(destinationsName, temp)); err != nil {
		return err
	}
	for _, g := range owed {
		if err := s.linkTo(g, s.path(keptName, g.name()), s.path(destinationsName, temp, g.name())); err != nil {
			return err
		}
	}
	return s.replace(s.path(destinationsName, temp, progressName), formatNumber(passed))
}

// fillGap opens a destination that is on disk: it is owed every segment that
// is, from its progress on. That also makes a segment whole which a crash left
// linked in some directories only.
func (s *Spool) fillGap(d *Destination) error {
	owed := s.since(d)
	for _, g := range owed {
		err := s.linkTo(g, s.source(g), s.path(d.directory(), g.name()))
		if errors.Is(spaceError(err), ErrNoSpace) && s.lend(g) {
			s.log.Warn("the disk is full; a segment is read where it is kept", "destination", d.name, "segment", g.name())
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := s.syncDirectory(s.path(d.directory())); err != nil {
		return err
	}
	s.join(d, owed)
	return nil
}

// linkTo gives g another name. One that somebody has removed is no obstacle:
// whoever reads it says so.
func (s *Spool) linkTo(g *segment, from, to string) error {
	err := s.sys.Link(from, to)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.active != nil && s.active.segment == g {
		s.seal() // it would go on growing without a name
	}
	return nil
}

// lend keeps g in kept/ as long as anybody is owed it, and reports whether it is
// there.
func (s *Spool) lend(g *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.lent = g.kept
	return g.lent
}

// since returns the segments that may hold frames that d has not passed and
// does not link.
func (s *Spool) since(d *Destination) (owed []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		if !s.endsBy(g, d.passed) && !slices.Contains(g.owed, d) {
			owed = append(owed, g)
		}
	}
	return owed
}

// endsBy reports whether g surely holds no frame after seq. s.mu is held.
func (s *Spool) endsBy(g *segment, seq uint64) bool {
	_, high := s.bounds(g)
	if g.counted && g.sealed {
		high = g.last
	}
	return high <= seq
}

// join opens d to the segments linked for it and to all that follow.
func (s *Spool) join(d *Destination, owed []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range owed {
		s.owe(g, d)
	}
	slices.SortFunc(d.queue, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })
	d.open = true
	d.highest = d.passed
	s.destinations[d.name] = d
	signal(s.chores)
}

// find steps over the frames that were passed before Open, so that Backlog is
// right from the start.
func (d *Destination) find() {
	d.reading.Lock()
	defer d.reading.Unlock()
	for {
		v, err := d.look()
		if err != nil || !v.more {
			return
		}
		if err := d.openSegment(v); err != nil {
			return // reading will say so
		}
		h, err := d.cursor.read(v.at.off, v.limit, v.after, nil)
		if err != nil || h.seq > v.after {
			return
		}
		d.take(v, h)
	}
}

// Destinations returns the name of every destination on disk, opened or not.
func (s *Spool) Destinations() ([]string, error) {
	if err := s.stillOpen(); err != nil {
		return nil, err
	}
	var names []string
	for _, d := range s.every() {
		names = append(names, d.name)
	}
	return names, nil
}

// Forget removes a destination with everything that it has not passed.
func (s *Spool) Forget(name string) error {
	hidden := s.path(destinationsName, gone+name)
	d, err := s.hide(name, hidden)
	if d != nil {
		d.stopReading()
		err = errors.Join(err, os.RemoveAll(hidden))
	}
	if err != nil {
		return fmt.Errorf("forget destination %s: %w", name, err)
	}
	return nil
}

// hide takes a destination away at one stroke; its directory is hidden until
// its files are removed, which may take a while.
func (s *Spool) hide(name, hidden string) (*Destination, error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	if err := s.stillOpen(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	d := s.destinations[name]
	s.mu.Unlock()
	if d == nil {
		return nil, fs.ErrNotExist
	}
	s.seal()                                 // or it might go on growing without a name
	if err := s.markSequence(); err != nil { // d's progress and links may be all that shows it
		return nil, err
	}
	was := d.isOpen()
	d.setOpen(false) // its readers shall not take a missing file for damage
	if err := s.sys.Rename(s.path(d.directory()), hidden); err != nil {
		d.setOpen(was)
		return nil, err
	}
	s.leave(d)
	return d, s.syncDirectory(s.path(destinationsName))
}

// leave takes d out of memory and ends its readers.
func (s *Spool) leave(d *Destination) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.destinations, d.name)
	for _, g := range slices.Clone(d.queue) {
		s.release(g, d)
	}
	s.wake()
}
