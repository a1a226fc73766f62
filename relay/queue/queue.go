// Package queue keeps what the relay has accepted between the door and the
// destinations. A write is answered only after Append has made it durable;
// each destination reads at its own pace.
package queue

import (
	"context"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/spool"
)

// What a caller may want to tell apart. Any error of Append means "not now":
// nothing of the batch may be acknowledged.
var (
	ErrFull    = spool.ErrFull
	ErrNoSpace = spool.ErrNoSpace
	ErrClosed  = spool.ErrClosed
)

// Batch is the lines of one write, all of one target.
type Batch struct {
	Seq      uint64 // given by Append; grows, and is never given twice
	Target   influx.Target
	Lines    int
	RawBytes int64     // inflated size of Body
	Received time.Time // given by Append when zero
	Body     []byte    // gzip, one or more members, whose content ends in a newline
}

// Queue is what a relay needs of one. Package queuetest holds the behaviour
// that every implementation must show.
type Queue interface {
	// Append makes a batch durable. Batches that wait together share a sync.
	// The batch and its body are the caller's again when it returns.
	Append(ctx context.Context, b *Batch) error
	// Reader opens a destination's place in the queue. A new one begins with
	// what is still kept.
	Reader(destination string) (Reader, error)
	// Destinations names every destination that the queue holds something
	// for, configured or not.
	Destinations() ([]string, error)
	// Forget gives up a destination and what it has not passed.
	Forget(destination string) error
	// Kept calls fn with every batch that is kept, oldest first. The batch is
	// valid until fn returns.
	Kept(ctx context.Context, fn func(*Batch) error) error
	Stats() Stats
	Close() error
}

// Reader is one destination's place. One goroutine at a time reads; Advance,
// Limit, Close and Backlog may be called from any.
type Reader interface {
	// Next reads the next batch into b, waiting for one; b.Body's capacity is
	// reused.
	Next(ctx context.Context, b *Batch) error
	// TryNext is Next without the waiting.
	TryNext(b *Batch) (bool, error)
	// Advance says that everything up to and including seq is delivered.
	Advance(seq uint64) error
	// Rewind takes the reading position back to what is not delivered.
	Rewind()
	// Limit sets how far the destination may be behind.
	Limit(b Budget)
	// Close ends the reading with ErrClosed. Nothing is added for the
	// destination until Reader is called for it again; then it gets what is
	// still kept of what came in between.
	Close() error
	Backlog() Backlog
}

// Budget is how far a destination may be behind. The zero value is that of one
// that must get everything: when the queue is full of its backlog, Append
// refuses. Of an optional one the oldest batches are dropped instead, and
// counted in Backlog.DroppedLines: whenever its backlog is beyond the budget,
// and before anything would be refused because of it.
type Budget = spool.Budget

// Stats are a queue's figures; counters count since it was opened.
type Stats struct {
	Bytes            int64 `json:"bytes"`
	UndeliveredBytes int64 `json:"undelivered_bytes"`
	KeptBytes        int64 `json:"kept_bytes"`
	FreeBytes        int64 `json:"free_bytes"` // of the disk; -1 when unknown
	Batches          int64 `json:"batches"`
	Lines            int64 `json:"lines"`
	Commits          int64 `json:"commits"`
	Syncs            int64 `json:"syncs"`
	DamagedFrames    int64 `json:"damaged_frames"`
	DroppedLines     int64 `json:"dropped_lines"`
}

// Backlog is what a destination has not passed yet.
type Backlog struct {
	Batches      int64     `json:"batches"`
	Lines        int64     `json:"lines"`
	Bytes        int64     `json:"bytes"`
	Oldest       time.Time `json:"oldest,omitzero"`
	DroppedLines int64     `json:"dropped_lines"`
}
