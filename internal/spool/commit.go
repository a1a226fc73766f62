package spool

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// request is one call of Append on its way through a commit:
//
//	Append ─┐              ┌─ admit ── write ── fdatasync ── answer ─┐
//	Append ─┼─► pending ─► │   one commit at a time; what arrives    │
//	Append ─┘              └── meanwhile shares the next one ────────┘
type request struct {
	frames []*Frame
	sums   []uint32
	bytes  int64
	done   chan error // of one; answered once
}

// Append makes frames durable, in order and next to each other, gives each its
// Seq, and returns nil; or it returns an error and none of them will be read.
// Calls that wait together share one sync. A ctx that ends takes back what
// still waits for its turn; a commit under way is waited for.
func (s *Spool) Append(ctx context.Context, frames ...*Frame) error {
	if err := s.append(ctx, frames); err != nil {
		return fmt.Errorf("append to spool: %w", err)
	}
	return nil
}

func (s *Spool) append(ctx context.Context, frames []*Frame) error {
	if err := ctx.Err(); err != nil || len(frames) == 0 {
		return err
	}
	r, err := newRequest(frames)
	if err != nil {
		return err
	}
	if err := s.enqueue(r); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
	}
	if s.withdraw(r) {
		return ctx.Err()
	}
	return <-r.done
}

// newRequest does what needs no lock, in the caller's goroutine.
func newRequest(frames []*Frame) (*request, error) {
	r := &request{frames: frames, sums: make([]uint32, len(frames)), done: make(chan error, 1)}
	now := time.Now()
	for i, f := range frames {
		if f.Received.IsZero() {
			f.Received = now
		}
		if err := f.check(); err != nil {
			return nil, err
		}
		r.sums[i] = crc32.Checksum(f.Body, castagnoli)
		r.bytes += f.bytes()
	}
	return r, nil
}

func (s *Spool) enqueue(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.pending = append(s.pending, r)
	if len(s.pending) >= s.awaited {
		signal(s.work)
	}
	return nil
}

// withdraw takes r back unless a commit has it.
func (s *Spool) withdraw(r *request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.pending, r)
	if i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
	return i >= 0
}

// commits serves requests until the spool closes and none is left.
func (s *Spool) commits() {
	for {
		select {
		case <-s.work:
			s.drain()
		case <-s.closing:
			s.drain()
			return
		}
	}
}

func (s *Spool) drain() {
	for s.waiting() {
		s.delay()
		s.commit()
		s.gather()
	}
}

func (s *Spool) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) > 0
}

// delay lets a commit wait for company.
func (s *Spool) delay() {
	if s.cfg.CommitDelay <= 0 {
		return
	}
	t := time.NewTimer(s.cfg.CommitDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.closing:
	}
}

// patient is how long a commit waits for those whom the one before has answered.
const patient = time.Millisecond

// expect lets the next commit wait for the writers that are about to be
// answered: under load they come again at once, and what they share with those
// who wait already is one sync, not two. So a writer that is alone never waits.
// s.mu is held.
func (s *Spool) expect(answered int) {
	if s.cfg.CommitDelay > 0 {
		return
	}
	s.awaited = len(s.pending) + answered
	select {
	case <-s.work: // a word of those who wait already
	default:
	}
}

// gather waits until those who are expected are there, or long enough.
func (s *Spool) gather() {
	s.mu.Lock()
	complete := len(s.pending) >= s.awaited
	s.mu.Unlock()
	if !complete {
		t := time.NewTimer(patient)
		defer t.Stop()
		select {
		case <-t.C:
		case <-s.work:
		case <-s.closing:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaited = 0
}

// commit takes waiting requests and answers each of them.
func (s *Spool) commit() {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.active != nil && time.Since(s.active.born) >= s.cfg.SegmentAge {
		s.seal()
	}
	reqs := s.admit(s.take())
	if len(reqs) == 0 {
		return
	}
	if s.settle(reqs) != nil {
		return
	}
	if s.active.size >= s.cfg.SegmentBytes {
		s.seal()
	}
}

// take returns the waiting requests, no more than fill a segment, but one at
// least.
func (s *Spool) take() []*request {
	room := s.cfg.SegmentBytes
	if s.active != nil {
		room -= s.active.size
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.pending) && (n == 0 || room > s.pending[n].bytes) {
		room -= s.pending[n].bytes
		n++
	}
	reqs := s.pending[:n:n]
	if s.pending = s.pending[n:]; len(s.pending) == 0 {
		s.pending = nil // an array without an end holds on to what was written
	}
	return reqs
}

// write makes reqs durable or leaves no readable trace of them. A segment that
// failed once is not trusted again: after a failed sync nobody knows what the
// disk holds.
func (s *Spool) write(reqs []*request) error {
	s.mu.Lock()
	first := s.next
	s.mu.Unlock()
	if s.active == nil {
		a, err := s.create(first)
		if err != nil {
			return spaceError(err)
		}
		s.active = a
	}
	a := s.active
	n, seq := s.encode(reqs, first)
	s.burn(seq)
	err := s.sys.Write(a.file, s.vectors, a.size)
	if err == nil {
		err = s.datasync(a.file)
	}
	if err == nil && !a.linked {
		err = s.link(a)
	}
	clear(s.vectors) // the bodies are the callers' again
	if err != nil {
		s.abandon(err)
		return spaceError(err)
	}
	s.publish(reqs, first, n)
	return nil
}

// encode lays out reqs as buffers for one write, and returns their bytes and
// the number after the last one.
func (s *Spool) encode(reqs []*request, seq uint64) (int64, uint64) {
	s.headers, s.vectors = s.headers[:0], s.vectors[:0]
	var n, bodies int64
	for _, r := range reqs {
		n += r.bytes
		for _, f := range r.frames {
			bodies += int64(len(f.Body))
		}
	}
	s.headers = slices.Grow(s.headers, int(n-bodies)) // the vectors alias it
	for _, r := range reqs {
		for i, f := range r.frames {
			start := len(s.headers)
			s.headers = appendHeader(s.headers, f, seq, r.sums[i])
			s.vectors = append(s.vectors, s.headers[start:], f.Body)
			seq++
		}
	}
	return n, seq
}

// burn makes sure that numbers below next are never given again, whatever
// becomes of the frames that bear them.
func (s *Spool) burn(next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = next
}

// abandon ends the active segment where its last good commit ended.
func (s *Spool) abandon(cause error) {
	a := s.active
	s.log.Error("a commit failed; its segment is given up at the last good commit",
		"segment", a.name(), "size", a.size, "error", cause)
	if a.linked {
		if err := s.sys.Truncate(a.file, a.size); err != nil {
			s.log.Error("cutting a segment", "segment", a.name(), "error", err)
		}
	}
	s.seal()
}

// publish lets the destinations read what was written.
func (s *Spool) publish(reqs []*request, seq uint64, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.active.segment
	for _, r := range reqs {
		for _, f := range r.frames {
			f.Seq = seq
			g.frames++
			g.lines += int64(f.Lines)
			s.stats.Frames++
			s.stats.Lines += int64(f.Lines)
			seq++
		}
	}
	g.size += n
	g.last = seq - 1
	g.touched = time.Now()
	s.stats.Commits++
	s.stats.Bytes += n
	if g.kept {
		s.stats.KeptBytes += n
	}
	if len(g.owed) > 0 {
		s.stats.UndeliveredBytes += n
	}
	s.expect(len(reqs))
	s.wake()
}

// spaceError makes ErrNoSpace of the ways in which a disk says that it is full.
func spaceError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
