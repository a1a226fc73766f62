package influx

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
)

// Batch is lines on their way: gzip members whose content ends in a newline.
type Batch struct {
	Body  []byte
	Lines int
	// Suspect says that this batch has failed repeatedly in a way its own
	// lines may have caused: it is taken apart (Backoff.Suspect).
	Suspect bool
	// TooSlow says that the server has repeatedly not answered in time: the
	// batch is written in smaller parts (Backoff.TooSlow).
	TooSlow bool
}

// ErrUnproven is wrapped by the error of a batch of which every line fails and
// no other write is known that would tell whether the lines or the server are
// to blame. More lines in the batch may tell.
var ErrUnproven = errors.New("nothing else was written to compare with")

// Sender applies the delivery policy to batches, one at a time: it is for one
// goroutine.
type Sender struct {
	Client *Client
	// Rejected takes lines that the server will never store. Lines it returns
	// an error for are not given up.
	Rejected func(t Target, lines []byte, reason string) error
	// CreateDatabase, if set, is asked for a database, or what a retention
	// policy of it lacks, before the write is tried again.
	CreateDatabase func(ctx context.Context, database string) error
	// FixedDatabase and FixedPolicy say that somebody has chosen these, for all
	// lines: that there is none of that name, nor ever will be, is no fault of the
	// lines, and they are held.
	FixedDatabase, FixedPolicy bool
	// Proof is shared by the senders of one server; nil: the sender's own.
	Proof  *Proof
	Logger *slog.Logger

	search *search // in the batch that failed last
}

// Deliver makes an attempt at b, with all the splitting and taking apart that
// the answers call for. After nil every line is stored or was handed to
// Rejected. Otherwise the error is a *WriteError of class Retry, Wait, Hold or
// MissingDatabase, or Rejected's, and b must be tried again; what was found out
// about its lines so far is remembered until another batch comes.
func (s *Sender) Deliver(ctx context.Context, t Target, b Batch) error {
	id := crc32.ChecksumIEEE(b.Body)
	if s.search == nil || s.search.target != t || s.search.id != id {
		s.search = nil
		err := s.write(ctx, t, b.Body)
		if err == nil {
			s.proof().remember(t, b.Body)
			return nil
		}
		if !err.takesApart(b) {
			return err
		}
		raw, broken := Gunzip(b.Body)
		if broken != nil {
			return s.Rejected(t, b.Body, fmt.Sprintf("not gzip: %v", broken))
		}
		s.search = newSearch(s, t, id, cutLines(raw), err, b)
	}
	if err := s.search.run(ctx, b); err != nil {
		return err
	}
	if err := s.search.handOver(); err != nil {
		return err
	}
	s.search = nil
	return nil
}

// takesApart reports whether writing b in parts can help.
func (e *WriteError) takesApart(b Batch) bool {
	switch e.Class {
	case Split, Partial, BadLines, Poison:
		return true
	}
	return b.Suspect && e.Suspect() || b.TooSlow && e.TooSlow()
}

// write makes one write, and a second one if a database or retention policy
// that was missing could be made.
func (s *Sender) write(ctx context.Context, t Target, body []byte) *WriteError {
	e := asWriteError(s.Client.Write(ctx, t, body))
	if e != nil && s.CreateDatabase != nil && (e.Class == MissingDatabase || e.Class == Poison) {
		if err := s.CreateDatabase(ctx, t.Database); err == nil {
			e = asWriteError(s.Client.Write(ctx, t, body))
		} else {
			s.notCreated(e, err)
		}
	}
	if e != nil && e.Class == Poison && (s.FixedPolicy && !e.name || s.FixedDatabase && e.name) {
		e.Class = Hold
	}
	return e
}

// notCreated says what it means that what e misses could not be made.
func (s *Sender) notCreated(e *WriteError, err error) {
	e.Message += "; creating it: " + err.Error()
	switch {
	case strings.HasSuffix(err.Error(), "invalid name") && !s.FixedDatabase:
		e.Class, e.name = Poison, true // there will never be one
	case e.Class == Poison:
		e.Class = Retry // it could not even be asked for
	}
}

func asWriteError(err error) *WriteError {
	var e *WriteError
	if err == nil || errors.As(err, &e) {
		return e
	}
	return &WriteError{Class: Retry, Message: err.Error(), err: err}
}
