package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// start has the agent run with what was joined, and waits until the relay has
// stored the first of its lines.
func (s *Setup) start(ctx context.Context, relay *Relay, note *Note) error {
	fmt.Fprintf(s.Out, "Its token is in %s, for the agent alone; its node file is %s.\n", tokenPath, note.NodeFile)
	before, running := s.Agent.State(ctx)
	was, _ := before.output(relay.String())
	switch {
	case s.manages(ctx, note.NodeFile):
		if err := s.Service.Start(ctx); err != nil {
			return fmt.Errorf("start the agent: %w; journalctl -u vitals-agent -n 30 shows why. This machine has joined: "+
				"once that is mended, systemctl enable --now vitals-agent, or the same line once more, which asks for no code", err)
		}
		fmt.Fprintln(s.Out, "vitals-agent runs, and starts with this machine.")
		if err := s.firstWrite(ctx, relay, func(now State, _ Output) bool { return !now.Started.Equal(before.Started) }); err != nil {
			return err
		}
	case running == nil:
		if err := s.Agent.Reload(ctx); err != nil {
			return fmt.Errorf("the agent that runs does not take the node file: %w; start it again with vitals-agent --config %s", err, note.NodeFile)
		}
		if err := s.firstWrite(ctx, relay, func(_ State, now Output) bool { return !now.LastSuccess.Equal(was.LastSuccess) }); err != nil {
			return err
		}
	default:
		if err := s.Agent.Once(ctx, s.path(note.NodeFile)); err != nil {
			return fmt.Errorf("this machine has joined, but its first lines were not stored: %w. Once that is mended, the same line once more goes on from here and asks for no code", err)
		}
		fmt.Fprintf(s.Out, "The relay has stored its first lines. systemd does not run the agent here; start it, and have it started at every boot, with\n\n  vitals-agent --config %s\n\n", note.NodeFile)
	}
	fmt.Fprintf(s.Out, "The nodes are on %s/ . To undo all of this: sudo vitals-agent leave\n", relay)
	return nil
}

// firstWrite waits until the agent that is meant has had a write answered.
func (s *Setup) firstWrite(ctx context.Context, relay *Relay, meant func(State, Output) bool) error {
	waiting, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	took, err := s.wrote(waiting, relay.String(), meant)
	var held heldError
	switch {
	case errors.As(err, &held):
		fmt.Fprintf(s.Out, "The relay takes this node's token. The agent holds its lines until this machine knows the time: %s\n", held.why)
		return nil
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("the agent runs, but the relay has stored nothing of it within %s: %w. It goes on trying; vitals-agent status shows how it is doing", s.Patience, err)
	}
	fmt.Fprintf(s.Out, "The relay has stored its first lines, after %s.\n", took.Round(100*time.Millisecond))
	return nil
}

// heldError is an agent that sends nothing until the time is known.
type heldError struct{ why string }

// Error implements error.
func (e heldError) Error() string { return "lines are held until the time is known: " + e.why }

// wrote waits until the agent that is meant has had a write to url answered. It
// is asked to send at once.
func (s *Setup) wrote(ctx context.Context, url string, meant func(State, Output) bool) (time.Duration, error) {
	began := time.Now()
	last := errors.New("it does not answer at its socket")
	flushed := false
	for {
		state, err := s.Agent.State(ctx)
		if err == nil {
			o, found := state.output(url)
			switch {
			case !found:
				last = fmt.Errorf("its node file has no output to %s", url)
			case meant(state, o) && !o.LastSuccess.IsZero():
				return time.Since(began), nil
			case state.Clock != "" && meant(state, o):
				return 0, heldError{state.Clock}
			case o.LastError != "":
				last = errors.New(o.LastError)
			case o.Waiting > 0 && !flushed:
				flushed = s.Agent.Flush(ctx) == nil
				last = errors.New("what it sends is not answered yet")
			default:
				last = errors.New("it has gathered nothing yet")
			}
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return 0, last
		}
	}
}

// output is the one that writes to url.
func (s State) output(url string) (Output, bool) {
	for _, o := range s.Outputs {
		if strings.TrimRight(o.URL, "/") == url {
			return o, true
		}
	}
	return Output{}, false
}
