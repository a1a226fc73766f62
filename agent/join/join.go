// Package join makes this machine a node of a relay, keeps its agent up to
// date, and undoes both. It knows the relay by what it answers over HTTP.
//
//	room ─► relay ─► code ─► exchange ─► token ─► note ─► node file ─► start ─► first 204
//
// Room for the three files is made before the exchange. Whatever ends it before
// the node file is in place undoes it; from then on a second try goes on from there.
package join

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
)

// Setup is what joining, leaving and upgrading work on.
type Setup struct {
	Root     string // goes before every path; empty but in tests
	NodeFile string // as a path without Root
	Version  string // of this program
	Out      io.Writer
	Agent    Agent
	Service  Service
	// Patience is how long a first write is waited for.
	Patience time.Duration
	// Program is this program's path; empty: the system says it.
	Program string
	// Apart carries out an upgrade that is prepared, in a process that does not
	// end with this one; nil: this one does it.
	Apart func(ctx context.Context) error
}

// Agent is the program that gathers, here and as it runs.
type Agent interface {
	// Check says what is wrong with a node file.
	Check(nodeFile string) error
	// Once gathers and sends once. It returns nil if lines were stored.
	Once(ctx context.Context, nodeFile string) error
	// Drain sends what the buffers on disk hold, with no agent running, and
	// returns how many lines are left.
	Drain(ctx context.Context, nodeFile string) (left int64, err error)
	// Discard removes the buffers on disk.
	Discard(nodeFile string) error
	// Target is where a node file has lines written to, and the pins of its key.
	Target(nodeFile string) (url, pins string, err error)
	// State asks the agent that runs; it fails if none does.
	State(ctx context.Context) (State, error)
	// Flush has the agent that runs send what it has, Reload read its files again.
	Flush(ctx context.Context) error
	Reload(ctx context.Context) error
}

// State is how the agent that runs is doing.
type State struct {
	Version string
	Started time.Time
	Clock   string // why lines are held; empty if the time is known
	Outputs []Output
}

// Output is how the agent's writing to one place is doing.
type Output struct {
	URL         string
	LastSuccess time.Time
	LastError   string
	Waiting     int64 // lines
}

// Service is what keeps the agent running.
type Service interface {
	// Manages reports whether it has the agent in its care.
	Manages(ctx context.Context) bool
	// Active reports whether the agent runs in its care, or is meant to.
	Active(ctx context.Context) bool
	Start(ctx context.Context) error // now and at every boot, anew if it runs
	Stop(ctx context.Context) error  // now and at every boot
	Restart(ctx context.Context) error
}

// Options are what Join is told.
type Options struct {
	URL, Pin string
	Name     string // of the node; empty: the machine's host name
	Force    bool   // replace a node file that joining did not write
	// Code asks for the invite's code, again if wrong says why.
	Code func(ctx context.Context, wrong string) (string, error)
}

// errCode is a code that the relay does not take, and whoever typed it may try
// once more.
var errCode = errors.New("the code is wrong")

// Join makes this machine a node of the relay at o.URL. A second call goes on
// from where the first was broken off.
func (s *Setup) Join(ctx context.Context, o Options) error {
	relay, err := Dial(o.URL, o.Pin)
	if err != nil {
		return err
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	me, err := s.identify(o.Name)
	if err != nil {
		return err
	}
	note, err := s.readNote()
	if err != nil {
		return err
	}
	if note.fits(relay, me, o.Name) {
		on, err := s.goesOn(ctx, relay, note)
		if err != nil || on {
			return err
		}
		me.Node = note.Node
	}
	how, err := s.plan(relay, note, me, o.Force)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "This machine joins %s as %s.\n", relay, me.Node)
	fresh, err := s.install(ctx, relay, me, how, o.Code)
	if err != nil {
		return fmt.Errorf("%w\nThis machine has not joined: vitals-agent is installed, and nothing else was changed.", err) //nolint:staticcheck // it is the end of what is told
	}
	return s.start(ctx, relay, fresh)
}

// goesOn takes up what an earlier call has left, if the relay still knows this
// node's token.
func (s *Setup) goesOn(ctx context.Context, relay *Relay, note *Note) (bool, error) {
	token, err := s.token()
	if err != nil {
		return false, nil // it is asked for anew
	}
	err = relay.Probe(ctx, note.Database, token)
	if errors.Is(err, ErrUnknownToken) {
		fmt.Fprintln(s.Out, "The relay does not know this node's token any more, so it joins anew.")
		return false, nil
	}
	if err != nil {
		return false, err
	}
	fmt.Fprintf(s.Out, "This machine has joined %s as %s %s, and its token holds: no code is needed.\n", relay, note.Node, note.When.Local().Format("on 2006-01-02 at 15:04"))
	now, err := fileSum(s.path(note.NodeFile))
	if err == nil && (now == "" || now == note.Replaces) { // it was broken off just before
		err = s.finish(note)
	}
	if err != nil {
		return false, roomError(err)
	}
	return true, s.start(ctx, relay, note)
}

// finish writes the node file of a joining that was broken off.
func (s *Setup) finish(note *Note) error {
	f, err := s.newFile(note.NodeFile, 0o644, 0, 0, 0)
	if err != nil {
		return err
	}
	if err := f.write(note.nodeFile(s.path(secretsDirectory), s.isPi())); err != nil {
		return err
	}
	return s.place(f, planned{before: note.Before, copy: note.Copied && f.existed})
}

// install exchanges the code and writes the files, or undoes both.
func (s *Setup) install(ctx context.Context, relay *Relay, me Identity, how planned, code func(context.Context, string) (string, error)) (note *Note, err error) {
	files, err := s.reserve(how)
	if err != nil {
		return nil, err
	}
	defer files.discard()
	if err := relay.Meet(ctx); err != nil {
		return nil, err
	}
	answer, err := s.exchange(ctx, relay, me, code)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		files.undo()
		// Without this the relay would go on knowing a token that nobody has.
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = relay.Leave(short, answer.Token)
		err = roomError(err)
	}()
	if err := answer.check(); err != nil {
		return nil, err
	}
	note = &Note{
		Relay: relay.String(), Pin: relay.Pin(), Node: answer.Node, Machine: me.Machine, TokenID: answer.TokenID,
		Database: answer.Database, Tags: answer.Tags, Interval: answer.Interval, When: time.Now().UTC().Truncate(time.Second),
		NodeFile: s.NodeFile, Sum: how.sum, Replaces: how.replaces, Before: how.before, Copied: how.copy, Made: files.made,
	}
	text := note.nodeFile(s.path(secretsDirectory), s.isPi())
	if !how.keep {
		note.Sum = sum(text)
	}
	if err := files.token.commit([]byte(answer.Token + "\n")); err != nil {
		return nil, fmt.Errorf("keep the token: %w", err)
	}
	if !how.keep {
		if err := files.node.write(text); err != nil {
			return nil, fmt.Errorf("write the node file: %w", err)
		}
		if err := s.Agent.Check(files.node.temporary); err != nil {
			return nil, fmt.Errorf("the node file for this relay would not be sound: %w", err)
		}
	}
	if err := errors.Join(ctx.Err(), files.note.commit(note.encode())); err != nil {
		return nil, fmt.Errorf("keep what was joined: %w", err)
	}
	if how.keep {
		return note, nil
	}
	return note, s.place(files.node, how)
}

// exchange trades the code for a token, and asks again for one that is wrong.
func (s *Setup) exchange(ctx context.Context, relay *Relay, me Identity, code func(context.Context, string) (string, error)) (*Answer, error) {
	const attempts = 3
	wrong := ""
	for i := 1; ; i++ {
		typed, err := code(ctx, wrong)
		if err != nil {
			return nil, err
		}
		normal, err := Normalize(typed)
		if err == nil {
			var answer *Answer
			answer, err = relay.Join(ctx, Request{Code: normal, Node: me.Node, Machine: me.Machine, Version: s.Version})
			if err == nil {
				return answer, nil
			}
		}
		if !errors.Is(err, errCode) || i == attempts {
			return nil, err
		}
		wrong = err.Error()
	}
}

// path is where a path is on this machine.
func (s *Setup) path(name string) string { return filepath.Join(s.Root, name) }

// Normalize makes of a typed code what the relay knows: no dashes, no small
// letters, and none of the letters that look like digits.
func Normalize(typed string) (string, error) {
	const alphabet, length = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", 16
	clean := strings.NewReplacer("-", "", " ", "", "\t", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(strings.TrimSpace(typed)))
	if len(clean) != length || strings.Trim(clean, alphabet) != "" {
		return "", fmt.Errorf("%w: it has four groups of four letters and digits, as in K7QX-4M2P-9TRD-8WVB, and is below the line that vitals-relay invite printed", errCode)
	}
	return clean[:4] + "-" + clean[4:8] + "-" + clean[8:12] + "-" + clean[12:], nil
}
