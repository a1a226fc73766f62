package spool

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// housekeep does what has time: saves progress, seals segments that are old,
// unlinks those that are passed, holds destinations to their budgets, trims
// kept/ and counts what Open did not read.
func (s *Spool) housekeep() {
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	age := time.NewTicker(min(saveEvery, s.cfg.SegmentAge))
	defer age.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-s.chores:
		case <-age.C:
			s.sealOld()
		case <-save.C:
			if err := s.saveAll(); err != nil {
				s.log.Error("saving progress", "error", err)
			}
		}
		for _, d := range s.every() {
			d.sweep()
		}
		s.holdToBudgets()
		s.trim()
		s.countOne()
	}
}

// sealOld seals the active segment at its age, so that an idle spool lets go
// of what is delivered.
func (s *Spool) sealOld() {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.active != nil && time.Since(s.active.born) >= s.cfg.SegmentAge {
		s.seal()
	}
}

// every returns all destinations on disk, by name.
func (s *Spool) every() []*Destination {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.destinations), func(a, b *Destination) int {
		return strings.Compare(a.name, b.name)
	})
}

// saveAll saves the progress of every destination that made some.
func (s *Spool) saveAll() error {
	var errs []error
	for _, d := range s.every() {
		errs = append(errs, d.save())
	}
	return errors.Join(errs...)
}

// save writes d's progress down if it is not.
func (d *Destination) save() error {
	d.saving.Lock()
	defer d.saving.Unlock()
	s := d.spool
	s.mu.Lock()
	passed, known := d.passed, s.destinations[d.name] == d
	s.mu.Unlock()
	if passed == d.saved || !known {
		return nil
	}
	if err := s.replace(s.path(d.directory(), progressName), formatNumber(passed)); err != nil {
		return err
	}
	d.saved = passed
	return nil
}

// sweep unlinks the segments that d has passed.
func (d *Destination) sweep() {
	if len(d.passedSegments()) > 0 {
		d.spool.disk.Lock()
		defer d.spool.disk.Unlock()
		d.unlinkPassed()
	}
}

// unlinkPassed is sweep for who holds spool.disk. Progress comes first: it
// keeps what is passed from being linked again out of kept/. On a disk so full
// that it cannot be written the segment goes all the same, which makes room for it.
func (d *Destination) unlinkPassed() {
	defer d.closePassed()
	done := d.passedSegments()
	if len(done) == 0 {
		return
	}
	s := d.spool
	saved := d.save()
	for _, g := range done {
		if err := s.unlink(g, d); err != nil {
			s.log.Error("unlinking a passed segment", "destination", d.name, "segment", g.name(), "error", err)
			break
		}
	}
	if saved != nil {
		saved = d.save()
	}
	if saved != nil {
		s.log.Error("saving progress", "destination", d.name, "error", saved)
	}
}

// closePassed closes the segment that d has read last, if that is unlinked: as
// long as it is open it fills the disk. A reader that is at work does so itself.
func (d *Destination) closePassed() {
	if !d.reading.TryLock() {
		return
	}
	defer d.reading.Unlock()
	if d.cursor != nil && !d.spool.holds(d.cursorOf, d) {
		d.closeCursor()
	}
}
