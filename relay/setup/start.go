package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/internal/rights"
)

// startRelay has the relay run by the node file as it is now.
func (s *setup) startRelay(ctx context.Context) error {
	if !s.Services.Manages(ctx, relayUnit) {
		if s.done.Running = s.Relay.Running(); s.done.Running && !s.changed {
			s.note("relay", "", "runs")
			return nil
		}
		s.done.Todo = append(s.done.Todo, "vitals-relay --config "+s.NodeFile)
		if s.done.Running { // by the node file before
			s.done.Running = false
			s.note("relay", "", "runs by the node file before: end it, then")
		}
		return nil
	}
	if s.Services.Active(ctx, relayUnit) && s.Relay.Running() && !s.changed {
		s.done.Running = true
		s.note("relay", "", "runs")
		return nil
	}
	if err := s.Services.Start(ctx, relayUnit); err != nil {
		return fmt.Errorf("start the relay: %w; journalctl -u %s says why. When that is mended, run vitals-relay init again", err, relayUnit)
	}
	for deadline := time.Now().Add(s.Patience); !s.Relay.Running(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("the relay was started and does not answer after %s; journalctl -u %s says why. When that is mended, run vitals-relay init again", s.Patience, relayUnit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.done.Running = true
	s.note("relay", "sudo systemctl disable --now "+relayUnit, "started, now and at every boot")
	return nil
}

// makeToken makes the agent's token, unless it has one that the relay knows.
func (s *setup) makeToken(ctx context.Context) error {
	text, err := os.ReadFile(s.NodeFile)
	if err != nil {
		return fmt.Errorf("read the node file: %w", err)
	}
	if !s.done.Running || s.config.Auth.Mode == "off" || !strings.Contains(string(text), tokenReference) {
		return nil
	}
	known, err := s.Relay.Tokens(ctx)
	if err != nil {
		return err
	}
	path := filepath.Join(s.Secrets, "relay")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the agent's token: %w", err)
	}
	if id := tokenID(string(old)); slices.Contains(known, id) {
		s.note("token", "", "of the agent, in %s as before", path)
		return nil
	}
	_, gid := rights.User("vitals")
	if err := makeDirectory(s.Secrets, 0o750, 0, gid); err != nil {
		return err
	}
	token, err := s.Relay.Token(ctx, s.Node)
	if err != nil {
		return fmt.Errorf("make the agent's token: %w", err)
	}
	uid, gid := rights.User("vitals")
	if err := durable.WriteFor(path, []byte(token+"\n"), 0o600, uid, gid); err != nil {
		return fmt.Errorf("keep the agent's token: %w", err) // the next one takes its place
	}
	s.agent = true
	s.note("token", "sudo vitals-relay token revoke "+tokenID(token), "of the agent, in %s", path)
	return nil
}

// tokenID is the part of a token that may be shown.
func tokenID(token string) string {
	rest, ok := strings.CutPrefix(strings.TrimSpace(token), "vt_")
	id, _, found := strings.Cut(rest, "_")
	if !ok || !found {
		return ""
	}
	return id
}

// startAgent has the agent run, once it has what it needs.
func (s *setup) startAgent(ctx context.Context) error {
	switch {
	case !s.Services.Manages(ctx, agentUnit):
		if s.done.Running && !s.agent {
			return nil
		}
		s.done.Todo = append(s.done.Todo, "vitals-agent --config "+s.NodeFile)
		return nil
	case !s.done.Running:
		return nil
	case s.Services.Active(ctx, agentUnit) && !s.agent && !s.changed:
		s.note("agent", "", "runs")
		return nil
	}
	if err := s.Services.Start(ctx, agentUnit); err != nil {
		return fmt.Errorf("start the agent: %w; journalctl -u %s says why. When that is mended, run vitals-relay init again", err, agentUnit)
	}
	s.note("agent", "sudo systemctl disable --now "+agentUnit, "started, now and at every boot")
	return nil
}
