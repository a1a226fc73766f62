package spool

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Open opens the spool of a directory, creating it when absent. Whatever state
// the directory is in, it keeps what can be read: the newest segment is cut
// after its last whole frame, damage elsewhere is stepped over when it is read,
// files that are none of the spool's are left alone. Only the newest segment is
// read; of the others Open looks at names and sizes, so a large backlog costs
// nothing here.
func Open(cfg Config) (*Spool, error) { return open(cfg, host{}) }

func open(cfg Config, sys system) (*Spool, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{
		cfg:          cfg,
		log:          cfg.Logger,
		sys:          sys,
		work:         make(chan struct{}, 1),
		chores:       make(chan struct{}, 1),
		closing:      make(chan struct{}),
		destinations: map[string]*Destination{},
	}
	s.close = sync.OnceValue(s.shut)
	err := s.makeDirectory(cfg.Directory)
	if err == nil {
		s.lock, err = acquire(s.path(lockName))
	}
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.lock.Close())
	}
	s.wg.Go(s.commits)
	s.wg.Go(s.housekeep)
	signal(s.chores)
	return s, nil
}

// acquire locks the directory for this process.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		pid, _ := io.ReadAll(io.LimitReader(f, 20))
		f.Close()
		return nil, fmt.Errorf("%w: pid %s holds %s", ErrLocked, cmp.Or(string(bytes.TrimSpace(pid)), "unknown"), path)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil && !errors.Is(err, unix.ENOSPC) { // a full disk may be opened; only the pid is missing
		f.Close()
		return nil, err
	}
	return f, nil
}

// load reads the directory. Nothing else runs yet.
func (s *Spool) load() error {
	for _, dir := range []string{keptName, destinationsName} {
		if err := s.makeDirectory(s.path(dir)); err != nil {
			return err
		}
	}
	if err := s.removeTemporary(); err != nil {
		return err
	}
	found := map[uint64]*segment{}
	if err := s.loadLinks(found, nil); err != nil {
		return err
	}
	if err := s.loadDestinations(found); err != nil {
		return err
	}
	s.loadSequence()
	s.damagedBytes = s.weighDamaged()
	s.mend()
	s.tidy()
	return nil
}

// removeTemporary removes the names of segments that were being made. Those
// that were acknowledged have others.
func (s *Spool) removeTemporary() error {
	entries, err := os.ReadDir(s.cfg.Directory)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), segmentSuffix+temporary) {
			err = errors.Join(err, s.removeIfThere(s.path(e.Name())))
		}
	}
	return err
}

// loadDestinations finds the destinations and clears away what a crash left of
// one that was being made or forgotten.
func (s *Spool) loadDestinations(found map[uint64]*segment) error {
	entries, err := os.ReadDir(s.path(destinationsName))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, unborn) || strings.HasPrefix(name, gone) {
			if err := os.RemoveAll(s.path(destinationsName, name)); err != nil {
				return err
			}
			continue
		}
		if !e.IsDir() || CheckName(name) != nil {
			s.stray(filepath.Join(destinationsName, name))
			continue
		}
		d := &Destination{spool: s, name: name}
		s.destinations[name] = d
		if err := s.loadLinks(found, d); err != nil {
			return err
		}
	}
	for _, d := range s.every() {
		s.loadProgress(d)
	}
	return nil
}

// loadLinks reads the segments in the directory of d, or in kept/ when d is nil.
func (s *Spool) loadLinks(found map[uint64]*segment, d *Destination) error {
	dir := keptName
	if d != nil {
		dir = d.directory()
	}
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		first, ok := parseSegmentName(name)
		info, err := e.Info()
		switch {
		case name == progressName:
		case name == progressName+temporary:
			err = s.removeIfThere(s.path(dir, name))
		case !ok || err == nil && !info.Mode().IsRegular():
			s.stray(filepath.Join(dir, name))
		case err == nil:
			s.loadLink(found, d, first, info)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// loadLink notes one name of a segment. os.ReadDir sorts, and names are
// padded, so queues come out in order.
func (s *Spool) loadLink(found map[uint64]*segment, d *Destination, first uint64, info fs.FileInfo) {
	g := found[first]
	if g == nil {
		g = &segment{first: first, sealed: true, touched: info.ModTime()}
		found[first] = g
		i, _ := slices.BinarySearchFunc(s.segments, first, compareFirst)
		s.segments = slices.Insert(s.segments, i, g)
	}
	// The names of one file agree. Those of a directory that was copied without
	// its links may not; then the longest counts, and what another lacks of it
	// shows as damage where that is read.
	g.size = max(g.size, info.Size())
	if d == nil {
		g.kept = true
	} else {
		g.owed = append(g.owed, d)
		d.queue = append(d.queue, g)
	}
}

func (s *Spool) stray(path string) {
	s.log.Warn("a file that is not the spool's is left alone", "path", s.path(path))
}

// loadProgress reads how far d had come. Without a sound answer it begins
// again with the first frame there is, for what has taken the progress may have
// taken links from the same directory: sent twice, never skipped.
func (s *Spool) loadProgress(d *Destination) {
	n, err := readNumber(s.path(d.directory(), progressName))
	if err == nil {
		d.passed, d.saved = n, n
		return
	}
	if len(s.segments) > 0 {
		d.passed = s.segments[0].first - 1
	}
	d.saved = anySeq // so that it is written down again
	s.log.Error("progress is lost; beginning again with the first frame there is",
		"destination", d.name, "after", d.passed, "error", err)
}

// loadSequence finds a number above every one that was ever given: they all
// show in a segment, in somebody's progress or in the sequence file.
func (s *Spool) loadSequence() {
	last, err := readNumber(s.path(sequenceName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Error("the sequence file cannot be read; going by segments and progress", "error", err)
	}
	for _, d := range s.destinations {
		last = max(last, d.passed)
	}
	if g := s.newest(); g != nil {
		last = max(last, g.first)
	}
	s.next = last + 1
}

// weighDamaged adds up what is in damaged/ already.
func (s *Spool) weighDamaged() (bytes int64) {
	entries, _ := os.ReadDir(s.path(damagedName)) // absent as a rule
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// tidy sets the figures, and unlinks what is passed or not to be kept.
func (s *Spool) tidy() {
	for _, g := range s.segments {
		s.stats.Bytes += g.size
		if g.kept {
			s.stats.KeptBytes += g.size
		}
		if len(g.owed) > 0 {
			s.stats.UndeliveredBytes += g.size
		}
	}
	for _, d := range s.every() {
		for _, g := range slices.Clone(d.queue) {
			if s.endsBy(g, d.passed) {
				s.letGo(g, d)
			}
		}
	}
	for _, g := range s.keptSegments() {
		if !s.keeps() || g.size == 0 {
			s.letGo(g, nil)
		}
	}
	s.trim()
}

func (s *Spool) letGo(g *segment, d *Destination) {
	if err := s.unlink(g, d); err != nil {
		s.log.Error("unlinking a segment", "segment", g.name(), "error", err)
	}
}
