package output

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/spool"
)

// Requeued is what a replay has moved.
type Requeued struct {
	Lines int64 `json:"lines"` // that are sent once more
	// Left are rejected lines that nobody can read, and so were left alone.
	Left int64 `json:"left"`
}

// Purged is what a purge has thrown away.
type Purged struct {
	Waiting  int64 `json:"waiting_lines"`
	Rejected int64 `json:"rejected_lines"`
}

// Store is a buffer that no running output holds open.
type Store struct {
	directory string
	name      string
	max       int64
	spool     *spool.Spool
	queue     *spool.Destination
	rejects   *rejects
}

// Requeuer takes lines to be sent, and has them safe when it returns nil.
type Requeuer interface {
	requeue(ctx context.Context, frames ...*spool.Frame) error
	// room is how many bytes may still wait.
	room() int64
}

var (
	_ Requeuer = (*Store)(nil)
	_ Requeuer = (*Output)(nil)
)

// OpenStore opens the buffer of a name for itself. With create it is made if it
// is not there.
func OpenStore(directory, name string, maxBytes int64, create bool) (*Store, error) {
	if !create && !isBuffer(directory, name) {
		return nil, noBuffer(directory, name)
	}
	s := &Store{directory: directory, name: name, max: maxBytes, rejects: rejectsOf(directory, name)}
	var err error
	s.spool, err = spool.Open(spool.Config{Directory: filepath.Join(directory, name), MaxBytes: maxBytes, MinFreeBytes: minFreeBytes, Logger: slog.New(slog.DiscardHandler)})
	if errors.Is(err, spool.ErrLocked) {
		return nil, fmt.Errorf("buffer %s: an agent that cannot be asked holds it; stop that one, or set RUNTIME_DIRECTORY to its own: %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("buffer %s: %w", name, err)
	}
	if s.queue, err = s.spool.Destination(queueName); err != nil {
		return nil, errors.Join(fmt.Errorf("buffer %s: %w", name, err), s.spool.Close())
	}
	return s, nil
}

// Close gives the buffer free.
func (s *Store) Close() error { return s.spool.Close() }

// Remove closes the buffer and removes it with all that is left in it.
func (s *Store) Remove() error {
	if err := s.Close(); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.directory, s.name)); err != nil {
		return fmt.Errorf("remove buffer: %w", err)
	}
	return nil
}

func (s *Store) requeue(ctx context.Context, frames ...*spool.Frame) error {
	return s.spool.Append(ctx, frames...)
}

func (s *Store) room() int64 { return s.max - s.spool.Stats().UndeliveredBytes }

// MoveWaiting moves everything that waits here to another buffer. What was
// moved before an error is not here any more.
func (s *Store) MoveWaiting(ctx context.Context, to Requeuer) (Requeued, error) {
	var done Requeued
	if size := s.queue.Backlog().Bytes; size > to.room() {
		return done, fmt.Errorf("buffer %s: %d bytes wait there, and no more than %d have room; raise buffer_max_bytes", s.name, size, max(0, to.room()))
	}
	for {
		var f spool.Frame
		ok, err := s.queue.TryNext(&f)
		if err != nil || !ok {
			return done, err
		}
		seq := f.Seq
		moved := &spool.Frame{Lines: f.Lines, RawBytes: f.RawBytes, Body: f.Body}
		if err := to.requeue(ctx, moved); err != nil {
			return done, err
		}
		done.Lines += int64(f.Lines)
		if err := s.queue.Advance(seq); err != nil {
			return done, err
		}
	}
}

// MoveRejected moves the lines that were set aside here to another buffer, or
// to this one.
func (s *Store) MoveRejected(ctx context.Context, to Requeuer) (Requeued, error) {
	return s.rejects.move(ctx, to)
}

// Purge throws lines away: those set aside, and unless told otherwise those
// that wait.
func (s *Store) Purge(rejectedOnly bool) (done Purged, err error) {
	if done.Rejected, err = s.rejects.clear(); err != nil || rejectedOnly {
		return done, err
	}
	done.Waiting, err = passAll(s.queue)
	return done, err
}

// passAll passes everything that waits, unsent.
func passAll(q *spool.Destination) (lines int64, err error) {
	for {
		var f spool.Frame
		ok, err := q.TryNext(&f)
		if err != nil || !ok {
			return lines, err
		}
		lines += int64(f.Lines)
		if err := q.Advance(f.Seq); err != nil {
			return lines, err
		}
	}
}

func (o *Output) requeue(ctx context.Context, frames ...*spool.Frame) error {
	if o.spool == nil {
		return fmt.Errorf("output %s has no buffer on disk to put lines into", o.config.ID)
	}
	if err := o.spool.Append(ctx, frames...); err != nil {
		return err
	}
	o.poke()
	return nil
}

func (o *Output) room() int64 {
	if o.spool == nil {
		return 0
	}
	o.mu.Lock()
	limit := o.config.BufferMaxBytes
	o.mu.Unlock()
	return limit - o.spool.Stats().UndeliveredBytes
}

// MoveRejected queues the lines that were set aside here at another output, or
// at this one.
func (o *Output) MoveRejected(ctx context.Context, to Requeuer) (Requeued, error) {
	if o.spool == nil {
		return Requeued{}, nil
	}
	return o.rejects.move(ctx, to)
}

// Purge is a Store's, while Run runs.
func (o *Output) Purge(ctx context.Context, rejectedOnly bool) (done Purged, err error) {
	if o.rejects.path() != "" {
		if done.Rejected, err = o.rejects.clear(); err != nil {
			return done, err
		}
	}
	if rejectedOnly {
		return done, nil
	}
	busy := o.do(ctx, func() { done.Waiting, err = o.passAll() })
	return done, errors.Join(busy, err)
}

// passAll throws everything that waits away. Nothing is being sent meanwhile.
func (o *Output) passAll() (lines int64, err error) {
	o.moving.Lock()
	defer o.moving.Unlock()
	if o.queue != nil {
		o.rewind()
		lines, err = passAll(o.queue)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	lines += int64(o.memory.lines)
	o.memory.seal()
	o.memory.remove(len(o.memory.sealed))
	o.counts.dropped[DroppedPurge] += lines
	return lines, err
}

// move queues the rejected lines elsewhere, and forgets them here.
func (r *rejects) move(ctx context.Context, to Requeuer) (done Requeued, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, err := r.readAll()
	if err != nil || len(text) == 0 {
		return done, err
	}
	sound, n, left, leftLines := sift(text)
	if int64(len(sound)) > to.room() {
		return done, fmt.Errorf("no more than %d bytes have room, and the rejected lines take %d; raise buffer_max_bytes", max(0, to.room()), len(sound))
	}
	for _, p := range cut(sound, n, requeueLines, defaultBatchBytes) {
		if p.lines == 0 {
			continue
		}
		f := &spool.Frame{Lines: p.lines, RawBytes: int64(len(p.text)), Body: influx.Gzip(nil, p.text)}
		if err := to.requeue(ctx, f); err != nil {
			return done, fmt.Errorf("queue rejected lines: %w", err)
		}
		done.Lines += int64(p.lines)
	}
	done.Left = int64(leftLines)
	if err := r.remove(); err != nil || len(left) == 0 {
		return done, err
	}
	return done, r.append(left)
}

// requeueLines is how many rejected lines are sent together.
const requeueLines = 500
