package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// drainPatience is how long what is buffered may take to be sent.
const drainPatience = 60 * time.Second

// Leave undoes a joining. Lines that wait are sent first; with force those that
// cannot be sent are given up, and a relay that does not answer is left alone.
// A second call goes on from where the first was broken off.
func (s *Setup) Leave(ctx context.Context, force bool) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	note, err := s.readNote()
	if err != nil {
		return err
	}
	if note == nil {
		return fmt.Errorf("this machine has not joined a relay: there is no %s. A node file of your own, and its token, are yours to remove", notePath)
	}
	relay, err := Dial(note.Relay, note.Pin)
	if err != nil {
		return err
	}
	if err := s.sendRest(ctx, relay, note, force); err != nil {
		return err
	}
	if err := s.giveBack(ctx, relay, note, force); err != nil {
		return err
	}
	if err := s.remove(note); err != nil {
		return fmt.Errorf("%w; run leave again once that is mended", roomError(err))
	}
	switch s.owner(ctx, s.self()) {
	case "deb":
		fmt.Fprintln(s.Out, "The program is still there; apt-get purge vitals-agent removes it.")
	case "rpm":
		fmt.Fprintln(s.Out, "The program is still there; rpm --erase vitals-agent removes it.")
	default:
		fmt.Fprintf(s.Out, "The program is still there: %s.\n", s.self())
	}
	return nil
}

// sendRest stops the agent, with nothing left to send.
func (s *Setup) sendRest(ctx context.Context, relay *Relay, note *Note, force bool) error {
	token, err := s.token()
	send := err == nil // else it is given back already
	if send {
		if err := relay.Probe(ctx, note.Database, token); err != nil {
			if !errors.Is(err, ErrUnknownToken) && !force {
				return fmt.Errorf("%w; or leave with --force, which gives up what waits here", err)
			}
			send = false
		}
	}
	manages := s.manages(ctx, note.NodeFile)
	if state, err := s.Agent.State(ctx); err == nil {
		if !manages || !s.Service.Active(ctx) {
			return fmt.Errorf("an agent runs here, since %s, that systemd has not started: end it, and run leave again", state.Started.Local().Format(time.DateTime))
		}
		if send {
			if err := s.empty(ctx, relay); err != nil && !force {
				return fmt.Errorf("%w. The agent goes on. Run leave again when all is sent, or give the lines up with --force", err)
			}
		}
	}
	if manages {
		if err := s.Service.Stop(ctx); err != nil {
			return fmt.Errorf("stop the agent: %w", err)
		}
		fmt.Fprintln(s.Out, "vitals-agent is stopped, and starts with this machine no more.")
	}
	if _, err := os.Stat(s.path(note.NodeFile)); err != nil || !send {
		return nil
	}
	draining, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	left, err := s.Agent.Drain(draining, s.path(note.NodeFile))
	if left > 0 && err == nil {
		err = errors.New("the relay takes them slowly")
	}
	if err != nil && !force {
		return fmt.Errorf("%d lines could not be sent (%w). Run leave again when the relay takes them, start the agent again with systemctl enable --now vitals-agent, or give them up with --force", left, err)
	}
	return nil
}

// empty waits until the running agent has sent what it has.
func (s *Setup) empty(ctx context.Context, relay *Relay) error {
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	for {
		_ = s.Agent.Flush(ctx) // it sends by itself as well
		state, err := s.Agent.State(ctx)
		o, found := state.output(relay.String())
		if err != nil || !found || o.Waiting == 0 {
			return nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d lines still wait to be sent: %s", o.Waiting, or(o.LastError, "the relay takes them slowly"))
		}
	}
}

// giveBack has the relay forget the token.
func (s *Setup) giveBack(ctx context.Context, relay *Relay, note *Note, force bool) error {
	token, err := s.token()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = relay.Leave(ctx, token)
	}
	switch {
	case err == nil:
		fmt.Fprintf(s.Out, "The relay knows %s as retired, and its token no more.\n", note.Node)
		return nil
	case force:
		fmt.Fprintf(s.Out, "The relay still knows this node's token (%v). On the primary: vitals-relay token revoke %s\n", err, note.TokenID)
		return nil
	}
	return fmt.Errorf("give the token back: %w. Run leave again then; or use --force, and on the primary vitals-relay token revoke %s", err, note.TokenID)
}

// remove removes what joining has written, the note last.
func (s *Setup) remove(note *Note) error {
	if err := removeFile(s.path(tokenPath)); err != nil {
		return err
	}
	if err := s.removeNodeFile(note); err != nil {
		return err
	}
	if err := removeFile(s.path(notePath)); err != nil {
		return err
	}
	removeEmpty(s, note.Made)
	return nil
}

// removeNodeFile puts back what was there before; what was changed by hand is
// kept under another name.
func (s *Setup) removeNodeFile(note *Note) error {
	path := s.path(note.NodeFile)
	if note.Before != "" {
		if _, err := os.Lstat(s.path(note.Before)); errors.Is(err, fs.ErrNotExist) {
			return nil // the file is the one of before: put back by an earlier call, or never replaced
		}
	}
	now, err := fileSum(path)
	if err != nil {
		return err
	}
	if now != "" {
		if err := s.Agent.Discard(path); err != nil {
			return fmt.Errorf("remove the buffer: %w", err)
		}
	}
	if now != "" && now != note.Sum && now != note.Replaces {
		kept, err := s.freeName(note.NodeFile + ".left")
		if err == nil {
			err = os.Rename(path, s.path(kept))
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(s.Out, "%s was changed by hand; it is kept as %s.\n", note.NodeFile, kept)
	}
	fmt.Fprintln(s.Out, "Token, node file and buffer are removed.")
	if note.Before == "" {
		return removeFile(path)
	}
	if err := os.Rename(s.path(note.Before), path); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "%s is again what it was before this machine joined.\n", note.NodeFile)
	return nil
}

// removeFile removes a file that may be gone already.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
