package influx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// search writes one batch in parts, to find the lines that a server refuses
// and to get all others stored:
//
//	todo ─► write ─► 204: stored
//	         ├─ 413: halves                    a line alone: rejected
//	         ├─ some are refused: those that the answer names, and the rest,
//	         │  each written by itself; else halves      alone: rejected
//	         └─ 500 (of a suspect batch): halves         alone: accused
//
// No line is rejected that was not refused alone, or together with others of
// which the server says that it has stored none. It is resumed where it was if
// the server goes away in the middle. Lines are written more than once, which
// changes nothing: they are the same points.
type search struct {
	sender *Sender
	target Target
	id     uint32 // of the batch's body

	all      int
	todo     [][][]byte // parts still to be written, the next one last
	limit    int        // parts of more lines are cut without trying
	most     int        // … and of more than so many it is known that they must be
	stored   int
	named    bool // the server has said which lines are bad
	unnamed  int  // lines that were refused alone, and not named
	accused  []accused
	rejected []rejection
}

// accused is a line that made a server fail.
type accused struct {
	line   []byte
	reason string
	trials int
}

type rejection struct {
	lines  [][]byte
	reason string
}

const (
	// trials is how often a line must fail, in attempts apart, while the
	// server takes another write before and after it.
	trials = 3
	// doubt is how many lines a server may refuse one by one, naming none and
	// storing none, before it is more likely that something else is wrong.
	doubt = 32
	// mostNamed is how many lines a vitals-relay names as InfluxDB 3 does: where
	// there are so many there may be more.
	mostNamed = 1000
)

// newSearch begins with the answer to the write of the whole batch.
func newSearch(sender *Sender, t Target, id uint32, lines [][]byte, e *WriteError, b Batch) *search {
	s := &search{sender: sender, target: t, id: id, all: len(lines), limit: len(lines), most: len(lines)}
	if len(lines) == 0 || !s.settle(lines, e, b) {
		s.todo = append(s.todo, lines)
	}
	return s
}

// run writes what is still to be written. An error leaves the rest for the
// next run.
func (s *search) run(ctx context.Context, b Batch) error {
	if b.TooSlow {
		s.limit = max(1, min(s.limit/2, s.most))
	}
	for taken := false; len(s.todo) > 0; {
		part := s.todo[len(s.todo)-1]
		s.todo = s.todo[:len(s.todo)-1]
		if len(part) > s.limit {
			s.halve(part)
			continue
		}
		body := Gzip(nil, bytes.Join(part, nil))
		e := s.sender.write(ctx, s.target, body)
		if e == nil {
			s.stored += len(part)
			s.sender.proof().remember(s.target, body)
			taken, s.limit = true, min(2*s.limit, s.most) // a server that was away takes more than it seemed
			continue
		}
		if !s.settle(part, e, b) {
			if taken && e.TooSlow() {
				s.most = max(1, len(part)/2)
			}
			s.todo = append(s.todo, part)
			return e
		}
		if b.Suspect && e.Suspect() && s.sender.fails(ctx) {
			return e // as it would whatever it is sent: halving goes on when it is well
		}
		if s.stored == 0 && !s.named && s.unnamed >= min(doubt, s.all) && s.all > 1 {
			s.sender.search = nil // it begins anew when somebody has looked
			return &WriteError{Class: Hold, Status: e.Status, Message: "every line is refused: " + e.Message}
		}
	}
	return s.try(ctx)
}

// settle deals with a part whose write ended in e, unless that says nothing
// about its lines.
func (s *search) settle(part [][]byte, e *WriteError, b Batch) bool {
	switch {
	case e.Class == Poison:
		s.named = true
		s.set(part, e.Message)
	case e.Class == Split:
		s.named = true
		s.most = max(1, len(part)/2)
		s.limit = min(s.limit, s.most)
		s.halveOr(part, func() {
			s.set(part, e.Message)
			s.limit, s.most = s.all, s.all // the line was too large, not the parts
		})
	case e.Class == Partial, e.Class == BadLines:
		s.settleRefusal(part, e)
	case b.Suspect && e.Suspect():
		s.halveOr(part, func() { s.accused = append(s.accused, accused{line: part[0], reason: e.Message}) })
	default:
		return false
	}
	return true
}

// settleRefusal deals with a part of which the server refuses some lines.
func (s *search) settleRefusal(part [][]byte, e *WriteError) {
	if s.settleNamed(part, e) {
		return
	}
	bad, good, verbatim, complete := blamed(part, e.Message)
	s.named = s.named || len(bad) > 0 || e.Class == Partial
	switch {
	case e.Class == Partial && e.Dropped >= len(part), verbatim && len(bad) == len(part):
		s.set(part, e.Message)
	case verbatim && complete && len(bad) > 0 && e.others:
		s.stored += len(good)
		s.set(bad, e.Message)
	case len(bad) > 0 && len(good) > 0:
		// An answer may name too few: it speaks of one shard. Or too many: the
		// type of a field may differ from shard to shard.
		s.todo = append(s.todo, bad, good)
	default:
		s.halveOr(part, func() {
			if !s.named {
				s.unnamed++
			}
			s.set(part, e.Message)
		})
	}
}

// settleNamed deals with a part in which an InfluxDB 3 names the lines that it
// refuses by their numbers. All others are stored, or, where it has not said so,
// none. It does nothing if the names are not those of the lines.
func (s *search) settleNamed(part [][]byte, e *WriteError) bool {
	reasons := map[int]string{}
	for _, n := range e.named {
		if n.Number < 1 || n.Number > len(part) || !n.of(part[n.Number-1]) {
			return false
		}
		reasons[n.Number-1] = n.Reason
	}
	if len(reasons) == 0 {
		return false
	}
	s.named = true
	var good [][]byte
	for i, l := range part {
		if reason, bad := reasons[i]; bad {
			s.set(part[i:i+1], reason)
		} else {
			good = append(good, l)
		}
	}
	if e.Class == Partial && len(e.named) < mostNamed {
		s.stored += len(good)
	} else if len(good) > 0 {
		s.todo = append(s.todo, good)
	}
	return true
}

func (s *search) halve(part [][]byte) {
	half := len(part) / 2
	s.todo = append(s.todo, part[half:], part[:half])
}

// halveOr halves a part, or deals with a line that is alone.
func (s *search) halveOr(part [][]byte, alone func()) {
	if len(part) > 1 {
		s.halve(part)
		return
	}
	alone()
}

// set sets lines aside, together with those refused for the same reason.
func (s *search) set(lines [][]byte, reason string) {
	for i := range s.rejected {
		if s.rejected[i].reason == reason {
			s.rejected[i].lines = append(s.rejected[i].lines, lines...)
			return
		}
	}
	s.rejected = append(s.rejected, rejection{slices.Clone(lines), reason})
}

// try tries each accused line once more, between two writes that the server is
// known to take. A server that fails those has troubles of its own.
func (s *search) try(ctx context.Context) error {
	var unproven error
	for i := 0; i < len(s.accused); {
		a := &s.accused[i]
		before := s.sender.serverIsSound(ctx)
		if before != nil && before != ErrUnproven {
			return s.undecided(a, before)
		}
		e := s.sender.write(ctx, s.target, Gzip(nil, a.line))
		switch {
		case e == nil:
			s.stored++
			s.sender.proof().remember(s.target, Gzip(nil, a.line))
			s.accused = slices.Delete(s.accused, i, i+1)
			continue
		case !e.Suspect():
			return e
		case before == ErrUnproven:
			unproven = ErrUnproven
			i++
			continue
		}
		if err := s.sender.serverIsSound(ctx); err != nil {
			return s.undecided(a, err)
		}
		if a.trials++; a.trials >= trials {
			s.set([][]byte{a.line}, a.reason)
			s.accused = slices.Delete(s.accused, i, i+1)
			continue
		}
		i++
	}
	if len(s.accused) > 0 {
		return s.undecided(&s.accused[0], unproven)
	}
	return nil
}

// undecided is the error of a search that must go on later.
func (s *search) undecided(a *accused, err error) error {
	var e *WriteError
	if errors.As(err, &e) {
		return e
	}
	return &WriteError{Class: Retry, Status: 500, Message: fmt.Sprintf("%s (%d lines may be the cause)", a.reason, len(s.accused)), err: err}
}

// handOver hands over the refused lines.
func (s *search) handOver() error {
	for len(s.rejected) > 0 {
		r := s.rejected[0]
		if err := s.sender.Rejected(s.target, bytes.Join(r.lines, nil), r.reason); err != nil {
			return fmt.Errorf("set rejected lines aside: %w", err)
		}
		s.rejected = s.rejected[1:]
	}
	return nil
}
