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

func (s *Spool) copyDamage(path string, c *cursor, d *damage) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	s.mu.Lock()
	s.damagedBytes += d.to - d.from
	full := s.damagedBytes > maxDamagedBytes
	s.mu.Unlock()
	if full {
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
