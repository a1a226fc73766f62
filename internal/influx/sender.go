package influx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
)

// Batch is lines on their way: gzip members whose content ends in a newline.
type Batch struct {
	Body  []byte
	Lines int
	// Suspect says that this batch has failed repeatedly in a way its own
	// lines may have caused: it is taken apart (Backoff.Suspect).
	Suspect bool
}

// maxWrites bounds the requests that finding the bad lines of one batch may
// cost. Lines that are then still under suspicion are set aside together.
const maxWrites = 200

// Sender applies the delivery policy to batches.
type Sender struct {
	Client *Client
	// Rejected takes lines that the server will never store. Lines it returns
	// an error for are not given up.
	Rejected func(t Target, lines []byte, reason string) error
	// CreateDatabase, if set, is asked once for a database that is missing
	// before the write is tried again.
	CreateDatabase func(ctx context.Context, database string) error
	Logger         *slog.Logger
}

// Deliver makes one attempt at b, with all the splitting and taking apart that
// the answers call for. After nil every line is stored or was handed to
// Rejected. Otherwise the error is a *WriteError of class Retry, Wait, Hold or
// MissingDatabase, or Rejected's, and the whole of b must be tried again.
func (s *Sender) Deliver(ctx context.Context, t Target, b Batch) error {
	err := s.Client.Write(ctx, t, b.Body)
	if e := (*WriteError)(nil); errors.As(err, &e) && e.Class == MissingDatabase && s.CreateDatabase != nil {
		if creating := s.CreateDatabase(ctx, t.Database); creating == nil {
			err = s.Client.Write(ctx, t, b.Body)
		} else {
			e.Message += "; creating it: " + creating.Error()
			if strings.HasSuffix(creating.Error(), "invalid name") {
				e.Class = Poison // there will never be one
			}
		}
	}
	if err == nil {
		return nil
	}
	var e *WriteError
	if !errors.As(err, &e) || !e.mended() && !(b.Suspect && e.Suspect()) {
		return err
	}
	raw, err := Gunzip(b.Body)
	if err != nil {
		return s.Rejected(t, b.Body, fmt.Sprintf("not gzip: %v", err))
	}
	search := &search{sender: s, target: t, suspect: b.Suspect, writes: 1}
	lines := cutLines(raw)
	if err := search.settle(ctx, lines, e); err != nil {
		return err
	}
	return search.reject(lines, e)
}

// mended reports whether taking the batch apart can help.
func (e *WriteError) mended() bool {
	switch e.Class {
	case Split, Partial, BadLines, Poison:
		return true
	}
	return false
}

// search finds the lines of one batch that a server refuses.
type search struct {
	sender   *Sender
	target   Target
	suspect  bool // failures of class Retry count against the lines
	writes   int
	rejected []rejection
	stored   int  // lines that went through
	named    bool // the server has said which lines are bad
}

type rejection struct {
	lines  [][]byte
	reason string
}

// set sets lines aside, together with those refused for the same reason.
func (s *search) set(lines [][]byte, reason string) {
	if len(lines) == 0 {
		return
	}
	for i := range s.rejected {
		if s.rejected[i].reason == reason {
			s.rejected[i].lines = append(s.rejected[i].lines, lines...)
			return
		}
	}
	s.rejected = append(s.rejected, rejection{slices.Clone(lines), reason})
}

// try writes lines and settles what comes back.
func (s *search) try(ctx context.Context, lines [][]byte) error {
	if len(lines) == 0 {
		return nil
	}
	if s.writes++; s.writes > maxWrites {
		s.set(lines, fmt.Sprintf("some of these lines are refused; gave up looking for them after %d writes", maxWrites))
		return nil
	}
	err := s.sender.Client.Write(ctx, s.target, Gzip(nil, bytes.Join(lines, nil)))
	if err == nil {
		s.stored += len(lines)
		return nil
	}
	var e *WriteError
	if !errors.As(err, &e) {
		return err
	}
	return s.settle(ctx, lines, e)
}

// settle deals with lines whose write ended in e.
func (s *search) settle(ctx context.Context, lines [][]byte, e *WriteError) error {
	switch {
	case e.Class == Poison:
		s.named = true
		s.set(lines, e.Message)
		return nil
	case e.Class == Partial, e.Class == BadLines:
		bad, good := blamed(lines, e.Message)
		if e.Class == Partial && e.Dropped >= len(lines) {
			bad, good = lines, nil
		}
		s.named = s.named || len(bad) > 0 || e.Class == Partial
		if e.Class == Partial && (len(bad) > 0 && len(bad) >= e.Dropped) {
			s.stored += len(good)
			s.set(bad, e.Message)
			return nil
		}
		if e.Class == BadLines && len(bad) > 0 {
			s.set(bad, e.Message)
			return s.try(ctx, good)
		}
	case e.Class == Split:
		s.named = true
	case s.suspect && e.Suspect():
		// Only if the server still answers are the lines to blame.
		if err := s.sender.Client.Ping(ctx); err != nil {
			return e
		}
	default:
		return e
	}
	if len(lines) == 1 {
		s.set(lines, e.Message)
		return nil
	}
	half := len(lines) / 2
	if err := s.try(ctx, lines[:half]); err != nil {
		return err
	}
	return s.try(ctx, lines[half:])
}

// reject hands the refused lines over. If a server refuses every line without
// naming one, it is more likely that something else is wrong: nothing is given
// up then, and somebody should look.
func (s *search) reject(all [][]byte, e *WriteError) error {
	if s.stored == 0 && !s.named && len(all) > 1 || s.suspect && s.stored == 0 && e.Suspect() {
		if e.Class == BadLines {
			return &WriteError{Class: Hold, Status: e.Status, Message: "every line is refused: " + e.Message}
		}
		return e
	}
	for _, r := range s.rejected {
		if err := s.sender.Rejected(s.target, bytes.Join(r.lines, nil), r.reason); err != nil {
			return fmt.Errorf("set rejected lines aside: %w", err)
		}
	}
	return nil
}

var typeConflict = regexp.MustCompile(`input field "(.*?)" on measurement "(.*?)" is type (\w+), already exists as type`)

// blamed parts lines by whether the server's message names them: word for
// word, or as a field whose type is not that of what is stored.
func blamed(lines [][]byte, message string) (bad, good [][]byte) {
	quoted := map[string]bool{}
	for _, piece := range strings.Split(message, "unable to parse '")[1:] {
		if i := strings.LastIndex(piece, "': "); i >= 0 {
			quoted[piece[:i]] = true
		}
	}
	conflict := typeConflict.FindStringSubmatch(message)
	for _, l := range lines {
		text := strings.TrimSuffix(string(l), "\n")
		if quoted[text] || conflict != nil && hasField(l, conflict[2], conflict[1], conflict[3]) {
			bad = append(bad, l)
		} else {
			good = append(good, l)
		}
	}
	return bad, good
}
