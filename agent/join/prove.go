package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
)

// carryOut installs what is prepared, and puts the version before back if the
// new one does not prove itself. Called again after it was broken off, it does
// the same.
func (s *Setup) carryOut(ctx context.Context, j *journal) error {
	err := s.put(ctx, j)
	if err == nil {
		err = s.prove(ctx, j, j.To)
	}
	if err == nil {
		fmt.Fprintf(s.Out, "vitals-agent is %s now, and the relay has stored what it wrote. To go back to %s: sudo vitals-agent upgrade --rollback\n", j.To, j.From)
		return s.forget(j)
	}
	if ctx.Err() != nil {
		err = errors.New("it was broken off")
	}
	ctx = context.WithoutCancel(ctx)
	if back := s.restore(ctx, j); back != nil {
		return fmt.Errorf("%s does not do: %w. And %s could not be put back: %w; once that is mended: sudo vitals-agent upgrade --rollback", j.To, err, j.From, back)
	}
	err = fmt.Errorf("%s does not do, and %s is back: %w", j.To, j.From, err)
	return errors.Join(err, s.forget(j))
}

// put installs the package, or of an archive the program alone.
func (s *Setup) put(ctx context.Context, j *journal) error {
	file := s.path(previousDirectory + "/" + j.Package.Name)
	if got, err := fileSum(file); err != nil || got != j.Package.SHA256 {
		return fmt.Errorf("the package %s is not there any more as it was (%v)", j.Package.Name, err)
	}
	fmt.Fprintf(s.Out, "Installs %s.\n", j.Package.Name)
	// Killed in the middle, a package manager would refuse all that follows.
	whole := context.WithoutCancel(ctx)
	switch j.Package.Kind {
	case "deb":
		return errors.Join(command(whole, "dpkg", "--install", "--force-confold", file), ctx.Err())
	case "rpm":
		return errors.Join(command(whole, "rpm", "--upgrade", "--oldpackage", "--replacepkgs", file), ctx.Err())
	}
	candidate := s.candidate()
	if err := extract(ctx, file, j.Package.Kind, candidate); err != nil {
		return err
	}
	return copyFile(candidate, j.Path, 0o755)
}

// prove returns nil when the program that is installed, which is of that
// version, has had a write answered.
func (s *Setup) prove(ctx context.Context, j *journal, version string) error {
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	if !j.Runs {
		// Under no service manager: one gather, and whoever runs the agent starts it anew.
		if err := command(ctx, j.Path, "--once", "--quiet", "--config", s.path(s.NodeFile)); err != nil {
			return fmt.Errorf("what it gathers is not stored: %w", err)
		}
		if state, err := s.Agent.State(ctx); err == nil && state.Version != version {
			fmt.Fprintf(s.Out, "The agent that runs is still %s: start it anew.\n", state.Version)
		}
		return nil
	}
	before, err := s.Agent.State(ctx)
	if err != nil || before.Version != version { // a package may have started it anew
		if err := s.Service.Restart(ctx); err != nil {
			return fmt.Errorf("it does not start: %w", err)
		}
	}
	if _, err = s.wrote(ctx, j.Relay, func(now State, _ Output) bool { return now.Version == version }); err != nil {
		return fmt.Errorf("nothing that it wrote was answered within %s: %w", s.Patience, err)
	}
	return nil
}

// restore puts the version before back and has it run.
func (s *Setup) restore(ctx context.Context, j *journal) error {
	if err := copyFile(s.previous(), j.Path, 0o755); err != nil {
		return err
	}
	if !j.Runs {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	if state, err := s.Agent.State(ctx); err == nil && state.Version == j.From {
		return nil // the new one never ran
	}
	return s.Service.Restart(ctx)
}

// rollback goes back to the version before because somebody wants to.
func (s *Setup) rollback(ctx context.Context, j *journal) error {
	out, err := exec.CommandContext(ctx, s.previous(), "version").Output()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no version to go back to: no upgrade has left one in %s", filepath.Dir(s.previous()))
	case err != nil:
		return fmt.Errorf("ask %s for its version: %w", s.previous(), err)
	}
	was := strings.TrimPrefix(strings.TrimSpace(string(out)), programName+" ")
	if j == nil {
		if was == s.Version {
			return fmt.Errorf("this is already %s, the version that the last upgrade has replaced", was)
		}
		j = &journal{From: was, To: s.Version, Path: s.self(), Runs: s.runs(ctx)}
		// Without a relay that is known it goes back all the same.
		if relay, err := s.relay(); err == nil {
			j.Relay = relay.String()
		}
	}
	if err := s.restore(ctx, j); err != nil {
		return fmt.Errorf("go back to %s: %w", was, err)
	}
	if err := s.prove(ctx, j, was); err != nil {
		return errors.Join(fmt.Errorf("%s is back, but %w; see vitals-agent status", was, err), s.forget(j))
	}
	fmt.Fprintf(s.Out, "vitals-agent is %s again, and the relay has stored what it wrote.\n", was)
	if kind := s.owner(ctx, j.Path); kind != "tar.gz" {
		fmt.Fprintf(s.Out, "The package in the system's list is still that of %s; installing the older package puts that right.\n", j.To)
	}
	return s.forget(j)
}

// forget removes what an upgrade that is over has needed. The version before
// stays.
func (s *Setup) forget(j *journal) error {
	err := errors.Join(removeFile(s.candidate()), removeFile(s.journalPath()))
	if j.Package.Name != "" {
		err = errors.Join(err, removeFile(s.path(previousDirectory+"/"+j.Package.Name)))
	}
	return err
}
