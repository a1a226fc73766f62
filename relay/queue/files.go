package queue

import (
	"context"
	"sync"

	"github.com/rpicluster/vitals/internal/spool"
)

// Files is the queue of a single relay: the spool of segments on its disk.
type Files struct {
	spool  *spool.Spool
	keys   keys
	frames sync.Pool
}

var (
	_ Queue  = (*Files)(nil)
	_ Reader = (*fileReader)(nil)
)

// OpenFiles opens the spool that config describes.
func OpenFiles(config spool.Config) (*Files, error) {
	s, err := spool.Open(config)
	if err != nil {
		return nil, err
	}
	return &Files{spool: s, frames: sync.Pool{New: func() any { return new(spool.Frame) }}}, nil
}

// Append makes a batch durable.
func (q *Files) Append(ctx context.Context, b *Batch) error {
	f := q.frames.Get().(*spool.Frame)
	*f = spool.Frame{Key: q.keys.of(b.Target), Lines: b.Lines, RawBytes: b.RawBytes, Received: b.Received, Body: b.Body}
	err := q.spool.Append(ctx, f)
	b.Seq, b.Received = f.Seq, f.Received
	f.Body = nil
	q.frames.Put(f)
	return err
}

// Reader opens a destination's place in the queue.
func (q *Files) Reader(destination string) (Reader, error) {
	d, err := q.spool.Destination(destination)
	if err != nil {
		return nil, err
	}
	return &fileReader{destination: d}, nil
}

// Destinations names every destination on disk.
func (q *Files) Destinations() ([]string, error) { return q.spool.Destinations() }

// Forget removes a destination's links and progress.
func (q *Files) Forget(destination string) error { return q.spool.Forget(destination) }

// Kept calls fn with every batch that is kept.
func (q *Files) Kept(ctx context.Context, fn func(*Batch) error) error {
	var b Batch
	return q.spool.Kept(ctx, func(f *spool.Frame) error {
		b.take(f)
		return fn(&b)
	})
}

// Stats returns the spool's figures.
func (q *Files) Stats() Stats {
	s := q.spool.Stats()
	return Stats{
		Bytes: s.Bytes, UndeliveredBytes: s.UndeliveredBytes, KeptBytes: s.KeptBytes, FreeBytes: s.FreeBytes,
		Batches: s.Frames, Lines: s.Lines, Commits: s.Commits, Syncs: s.Syncs,
		DamagedFrames: s.DamagedFrames, DroppedLines: s.DroppedLines,
	}
}

// Close syncs every destination's progress and closes the spool.
func (q *Files) Close() error { return q.spool.Close() }

// take fills b from a frame, whose body it shares.
func (b *Batch) take(f *spool.Frame) {
	*b = Batch{Seq: f.Seq, Target: decodeKey(f.Key), Lines: f.Lines, RawBytes: f.RawBytes, Received: f.Received, Body: f.Body}
}

// fileReader is a destination of the spool.
type fileReader struct {
	destination *spool.Destination
	frame       spool.Frame
}

// Next reads the next batch, waiting for one.
func (r *fileReader) Next(ctx context.Context, b *Batch) error {
	r.frame.Body = b.Body[:0]
	if err := r.destination.Next(ctx, &r.frame); err != nil {
		return err
	}
	b.take(&r.frame)
	return nil
}

// TryNext is Next without the waiting.
func (r *fileReader) TryNext(b *Batch) (bool, error) {
	r.frame.Body = b.Body[:0]
	ok, err := r.destination.TryNext(&r.frame)
	if ok {
		b.take(&r.frame)
	}
	return ok, err
}

// Advance says that everything up to and including seq is delivered.
func (r *fileReader) Advance(seq uint64) error { return r.destination.Advance(seq) }

// Rewind goes back to what is not delivered.
func (r *fileReader) Rewind() { r.destination.Rewind() }

// Limit sets how far the destination may be behind.
func (r *fileReader) Limit(b Budget) { r.destination.Limit(b) }

// Close ends the reading.
func (r *fileReader) Close() error { return r.destination.Close() }

// Backlog is what the destination has not passed.
func (r *fileReader) Backlog() Backlog {
	b := r.destination.Backlog()
	return Backlog{Batches: b.Frames, Lines: b.Lines, Bytes: b.Bytes, Oldest: b.Oldest, DroppedLines: b.DroppedLines}
}
