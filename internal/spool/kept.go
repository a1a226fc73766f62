package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// Kept calls fn with every frame in kept/, oldest first, as far as there were
// any when it was called. fn must not hold on to the frame. Segments that leave
// kept/ meanwhile may be left out.
func (s *Spool) Kept(ctx context.Context, fn func(*Frame) error) error {
	var f Frame
	for _, g := range s.keptSegments() {
		err := s.walk(g, &f, func(header, int64) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return fn(&f)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read what the spool keeps: %w", err)
		}
	}
	return nil
}

func (s *Spool) keptSegments() []*segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.segments), func(g *segment) bool { return !g.kept })
}

// trim holds kept/ to its bounds, oldest out first.
func (s *Spool) trim() {
	s.disk.Lock()
	defer s.disk.Unlock()
	for {
		g := s.oldestKept(s.excess)
		if g == nil || !s.dropKept(g) {
			return
		}
	}
}

// excess reports whether the oldest segment kept is one too many. s.mu is held.
func (s *Spool) excess(g *segment) bool {
	return s.stats.KeptBytes > s.cfg.KeptBytes ||
		s.cfg.KeptAge > 0 && time.Since(g.touched) > s.cfg.KeptAge
}

// oldestKept returns the oldest sealed segment in kept/ that is ripe, and not
// lent.
func (s *Spool) oldestKept(ripe func(*segment) bool) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		if g.kept && g.sealed && (!g.lent || len(g.owed) == 0) && ripe(g) {
			return g
		}
	}
	return nil
}

func (s *Spool) dropKept(g *segment) bool {
	if err := s.unlink(g, nil); err != nil {
		s.log.Error("removing a kept segment", "segment", g.name(), "error", err)
		return false
	}
	return true
}
