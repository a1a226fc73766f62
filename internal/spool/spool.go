// Package spool keeps frames of bytes safely on disk between receiving them and
// handing them to every destination, in segment files that zcat can print.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where a spool lives and what bounds it. The zero value of every
// field but Directory is a sound default.
type Config struct {
	Directory string // everything lives below it; created when absent

	MaxBytes     int64 // bound of undelivered bytes, each segment counted once; 0: none
	DropOldest   bool  // when full: drop the oldest segment, counted, instead of answering ErrFull
	MinFreeBytes int64 // with less free space than this on the file system, Append answers ErrNoSpace

	SegmentBytes int64         // a segment is sealed at this size; default 8 MiB, at most an eighth of a bound
	SegmentAge   time.Duration // … or at this age; default 5 min
	CommitDelay  time.Duration // how long a commit waits for company; 0: not at all

	KeptBytes int64         // bound of kept/; 0: nothing is kept
	KeptAge   time.Duration // bound of the age of what is kept; 0: none

	// Committed, if not nil, is told of every commit how long its write and its
	// sync took. It must not wait.
	Committed func(took time.Duration)

	Logger *slog.Logger // nil: silent
}

// What a caller may want to tell apart.
var (
	// ErrFull: MaxBytes of undelivered bytes are reached.
	ErrFull = errors.New("spool is full")
	// ErrNoSpace: the file system has less free space than MinFreeBytes, or none.
	ErrNoSpace = errors.New("not enough free disk space")
	// ErrClosed: the spool, or this destination of it, was closed.
	ErrClosed = errors.New("spool is closed")
	// ErrLocked: another process has the directory open.
	ErrLocked = errors.New("spool is in use by another process")
	// ErrNoDestination: there is no destination and KeptBytes is 0, so nothing would hold what is appended.
	ErrNoDestination = errors.New("spool has no destination and keeps nothing")
)

const (
	defaultSegmentBytes = 8 << 20
	defaultSegmentAge   = 5 * time.Minute
	saveEvery           = 5 * time.Second // what a crash may cause to be sent again
	smallestSegment     = 4 << 10
	boundParts          = 8 // segments that fit a bound at least, so that freeing one frees a small part
)

// check completes c.
func (c *Config) check() error {
	if c.Directory == "" {
		return errors.New("directory is not set")
	}
	if min(c.MaxBytes, c.MinFreeBytes, c.SegmentBytes, c.KeptBytes) < 0 ||
		min(c.SegmentAge, c.CommitDelay, c.KeptAge) < 0 {
		return errors.New("a bound is negative")
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = defaultSegmentBytes
	}
	if c.SegmentAge == 0 {
		c.SegmentAge = defaultSegmentAge
	}
	for _, bound := range []int64{c.MaxBytes, c.KeptBytes} {
		if bound > 0 {
			c.SegmentBytes = min(c.SegmentBytes, max(bound/boundParts, smallestSegment))
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Spool is an open directory:
//
//	<Directory>/
//	├── lock                          flock; the pid of who holds it
//	├── sequence                      the last number given, when no segment shows it
//	├── kept/
//	│   ├── 00000000000000000001.gz   a segment, named after its first frame
//	│   └── 00000000000000000230.gz ──────┐
//	├── destinations/                     │ the same file, linked
//	│   └── influx/                       │
//	│       ├── 00000000000000000230.gz ──┘
//	│       └── progress                  the last number passed
//	└── damaged/
//	    └── 00000000000000000001-8191     bytes that could not be read
//
// A segment exists as long as somebody links it. Two goroutines serve a
// spool: one commits, one keeps house.
//
// Locks, in this order: Destination.reading, disk, Destination.saving, mu.
type Spool struct {
	cfg Config
	log *slog.Logger
	sys system

	lock    *os.File
	work    chan struct{} // a request waits
	chores  chan struct{} // there is something to unlink or to count
	closing chan struct{}
	close   func() error // once
	wg      sync.WaitGroup
	syncs   atomic.Int64

	// disk is held while segments are written, linked and unlinked.
	disk    sync.Mutex
	active  *active
	headers []byte   // of the commit under way
	vectors [][]byte // the same

	// mu is held for moments only, never during a call to the disk.
	mu           sync.Mutex
	closed       bool
	pending      []*request
	awaited      int        // with so many pending, a commit that waits for company begins
	next         uint64     // the next sequence number
	segments     []*segment // oldest first
	destinations map[string]*Destination
	news         chan struct{} // closed when there is more to read; nil when nobody waits
	stats        Stats
	damagedBytes int64 // in damaged/
}

const (
	lockName         = "lock"
	sequenceName     = "sequence"
	progressName     = "progress"
	keptName         = "kept"
	destinationsName = "destinations"
	damagedName      = "damaged"
	temporary        = ".tmp"
)

func (s *Spool) path(elements ...string) string {
	return filepath.Join(append([]string{s.cfg.Directory}, elements...)...)
}

// keeps reports whether segments are linked into kept/.
func (s *Spool) keeps() bool { return s.cfg.KeptBytes > 0 }

// Stats are a spool's figures; counters count since Open.
type Stats struct {
	Segments         int   // segments on disk
	Bytes            int64 // their bytes, each segment counted once
	UndeliveredBytes int64 // … of those that at least one destination has not passed
	KeptBytes        int64 // … of those in kept/
	FreeBytes        int64 // free space of the file system; -1 when unknown

	Frames  int64 // frames appended
	Lines   int64 // lines appended
	Commits int64 // commits made; each syncs its segment once, however many Appends share it
	Syncs   int64 // fsync and fdatasync calls, those of directories and progress included

	DamagedFrames int64 // stretches of bytes that could not be read as a frame
	DroppedLines  int64 // lines dropped unread because room was short or a budget was passed, for all destinations
}

// Stats returns the figures of this moment.
func (s *Spool) Stats() Stats {
	free, err := s.sys.Free(s.cfg.Directory)
	if err != nil {
		free = -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Segments = len(s.segments)
	st.FreeBytes = free
	st.Syncs = s.syncs.Load()
	return st
}

// wake makes a waiting Next look again. s.mu is held.
func (s *Spool) wake() {
	if s.news != nil {
		close(s.news)
		s.news = nil
	}
}

// signal leaves a word in a channel of one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close commits what waits, saves every destination's progress and gives the
// directory free. Blocked calls of Next return ErrClosed.
func (s *Spool) Close() error { return s.close() }

// shut is Close. Commits end first, so that nobody waits for an answer in vain.
func (s *Spool) shut() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.closing)
	s.wg.Wait()

	s.disk.Lock()
	s.seal()
	s.disk.Unlock()
	err := s.saveAll()
	s.mu.Lock()
	s.wake()
	s.mu.Unlock()
	for _, d := range s.every() {
		d.stopReading()
	}
	if err := errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}

// stillOpen returns ErrClosed once Close was called.
func (s *Spool) stillOpen() error {
	select {
	case <-s.closing:
		return ErrClosed
	default:
		return nil
	}
}
