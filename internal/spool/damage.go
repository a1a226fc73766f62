package spool

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxDamagedBytes bounds damaged/: it is there to be looked at, not to fill
// the disk that is failing.
const maxDamagedBytes = 64 << 20

// quarantine counts damage, once for all destinations, and puts its bytes
// aside as far as they can be read.
func (s *Spool) quarantine(g *segment, c *cursor, d *damage) {
	if !s.countDamage(g, d.from) {
		return
	}
	name := fmt.Sprintf("%s-%d", strings.TrimSuffix(g.name(), segmentSuffix), d.from)
	s.log.Error("a part of a segment cannot be read; the rest is",
		"segment", g.name(), "from", d.from, "to", d.to, "copy", name, "error", d.cause)
	if err := s.copyDamage(s.path(damagedName, name), c, d); err != nil {
		s.log.Error("putting damaged bytes aside", "copy", name, "error", err)
	}
}

func (s *Spool) countDamage(g *segment, from int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.damaged[from] {
		return false
	}
	if g.damaged == nil {
		g.damaged = map[int64]bool{}
	}
	g.damaged[from] = true
	s.stats.DamagedFrames++
	return true
}

// roomForDamaged takes room for n more bytes in damaged/, if there is as much. It
// looks again what is there, if that is asked for: somebody may have emptied it.
func (s *Spool) roomForDamaged(n int64, again bool) bool {
	var there int64
	if again {
		there = s.weighDamaged()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if again {
		s.damagedBytes = there
	}
	if s.damagedBytes+n > maxDamagedBytes {
		return false
	}
	s.damagedBytes += n
	return true
}

func (s *Spool) copyDamage(path string, c *cursor, d *damage) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	if !s.roomForDamaged(d.to-d.from, false) && !s.roomForDamaged(d.to-d.from, true) {
		return fmt.Errorf("%s holds %d bytes already; look at it and empty it", damagedName, maxDamagedBytes)
	}
	if err := s.makeDirectory(s.path(damagedName)); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, io.NewSectionReader(c.file, d.from, d.to-d.from))
	return err
}
