// Package spool keeps frames of bytes safely on disk between receiving them and
// handing them to every destination, in segment files that zcat can print.
package spool

import (
	"errors"
	"log/slog"
	"time"
)

// Config says where a spool lives and what bounds it. The zero value of every
// field but Directory is a sound default.
type Config struct {
	Directory string // everything lives below it; created when absent

	MaxBytes     int64 // bound of undelivered bytes, each segment counted once; 0: none
	DropOldest   bool  // when full: drop the oldest segment, counted, instead of answering ErrFull
	MinFreeBytes int64 // with less free space than this on the file system, Append answers ErrNoSpace

	SegmentBytes int64         // a segment is sealed at this size; default 8 MiB
	SegmentAge   time.Duration // … or at this age; default 5 min
	CommitDelay  time.Duration // how long a commit waits for company; 0: not at all

	KeptBytes int64         // bound of kept/; 0: nothing is kept
	KeptAge   time.Duration // bound of the age of what is kept; 0: none

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

// Stats are a spool's figures; counters count since Open.
type Stats struct {
	Segments         int   // segments on disk
	Bytes            int64 // their bytes, each segment counted once
	UndeliveredBytes int64 // … of those that at least one destination has not passed
	KeptBytes        int64 // … of those in kept/
	FreeBytes        int64 // free space of the file system; -1 when unknown

	Frames  int64 // frames appended
	Lines   int64 // lines appended
	Commits int64 // commits made; each syncs once, however many Appends share it
	Syncs   int64 // fsync and fdatasync calls, those of directories and progress included

	DamagedFrames int64 // stretches of bytes that could not be read as a frame
	DroppedLines  int64 // lines dropped unread because the spool was full, for all destinations
}

// Backlog is what a destination has not passed yet.
type Backlog struct {
	Frames int64
	Lines  int64
	Bytes  int64     // on disk, exact at any time
	Oldest time.Time // when the oldest frame was received; zero when there is none
	Exact  bool      // Frames and Lines are exact, not yet an estimate

	DroppedLines int64 // lines this destination lost to DropOldest since Open
}
