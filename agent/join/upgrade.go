package join

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/rpicluster/vitals/internal/durable"
)

// previousDirectory has the program that an upgrade has replaced, and while one
// is under way what it needs.
const previousDirectory = stateDirectory + "/previous"

// UpgradeOptions are what Upgrade is told.
type UpgradeOptions struct {
	Check    bool // say whether there is a newer version, and change nothing
	Rollback bool // go back to the version before
	Force    bool // install another version also if it is not newer
}

// journal is what an upgrade is about to do. It is there from before the
// installation until the new version has proven itself or is gone again.
type journal struct {
	From    string  `json:"from"` // versions, as the programs say them
	To      string  `json:"to"`
	Path    string  `json:"path"` // of the program
	Relay   string  `json:"relay"`
	Runs    bool    `json:"runs"` // in the care of the service manager
	Package Package `json:"package"`
}

// Upgrade replaces this program by the version that the relay hands out, and
// puts it back if the new one has no write answered.
//
//	fetch ─► check ─► keep the old one ─► journal │─► install ─► start ─► prove ─► done
//	                                              │                        └──► put back
//
// What is behind the bar is done by a process of its own, which ends what it has
// begun whatever becomes of this one.
func (s *Setup) Upgrade(ctx context.Context, o UpgradeOptions) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	j, err := s.readJournal()
	switch {
	case err != nil:
		return err
	case o.Check:
		return s.check(ctx)
	case o.Rollback:
		return s.rollback(ctx, j)
	case j != nil:
		return s.carryOut(ctx, j)
	}
	if j, err = s.prepare(ctx, o.Force); err != nil {
		return fmt.Errorf("%w\nNothing was changed; %s stays.", err, s.Version) //nolint:staticcheck // it is the end of what is told
	}
	if j == nil {
		return nil
	}
	if s.Apart != nil {
		unlock()
		err := s.Apart(ctx)
		if again, relock := s.lock(); relock == nil {
			defer again()
		}
		if left, _ := s.readJournal(); left == nil {
			return err
		} // else it was killed
	}
	return s.carryOut(ctx, j)
}

// runs reports whether the service manager has the agent running, or tries to.
func (s *Setup) runs(ctx context.Context) bool {
	return s.Service.Manages(ctx) && s.Service.Active(ctx)
}

// check tells whether there is a newer version.
func (s *Setup) check(ctx context.Context) error {
	relay, p, err := s.newest(ctx, true)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Out, "%s has %s; this is %s%s\n", relay, p.Version, strings.TrimPrefix(s.Version, "v"), map[bool]string{true: ", the same"}[same(s.Version, p.Version)])
	return err
}

// relay is the one that this machine writes to.
func (s *Setup) relay() (*Relay, error) {
	note, err := s.readNote()
	if err != nil {
		return nil, err
	}
	if note != nil {
		return Dial(note.Relay, note.Pin)
	}
	address, pins, err := s.Agent.Target(s.path(s.NodeFile))
	if err != nil {
		return nil, fmt.Errorf("this machine has not joined a relay, and its node file names none: %w", err)
	}
	return Dial(address, pins)
}

// newest is the newest package for this machine, and the relay that has it.
func (s *Setup) newest(ctx context.Context, open bool) (*Relay, Package, error) {
	relay, err := s.relay()
	if err == nil && relay.open() && !open {
		err = fmt.Errorf("%s is asked over plain HTTP: whoever is on the way could put another program in the place of this one, which root would run. Turn TLS on there ([relay.tls] own_key = true) and join again; to install it all the same: --force", relay)
	}
	if err != nil {
		return nil, Package{}, err
	}
	p, err := relay.Newest(ctx, architecture(runtime.GOARCH), s.owner(ctx, s.self()))
	return relay, p, err
}

// architecture is what packages call one of Go's.
func architecture(goarch string) string {
	if goarch == "arm" {
		return "armhf"
	}
	return goarch
}

// self is the path of this program.
func (s *Setup) self() string {
	if s.Program != "" {
		return s.Program
	}
	path, err := os.Executable()
	if err != nil {
		return "/usr/bin/" + programName
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if path == s.previous() { // called because the new one cannot be
		return "/usr/bin/" + programName
	}
	return path
}

// owner is the kind of the package that a file belongs to.
func (s *Setup) owner(ctx context.Context, path string) string {
	if exec.CommandContext(ctx, "dpkg-query", "--search", path).Run() == nil {
		return "deb"
	}
	if exec.CommandContext(ctx, "rpm", "--query", "--file", path).Run() == nil {
		return "rpm"
	}
	return "tar.gz"
}

// prepare does what changes nothing yet. It returns no journal where there is
// nothing to do.
func (s *Setup) prepare(ctx context.Context, force bool) (*journal, error) {
	relay, p, err := s.newest(ctx, force)
	if err != nil {
		return nil, err
	}
	if same(s.Version, p.Version) && !force {
		fmt.Fprintf(s.Out, "%s has %s, and this is that version.\n", relay, p.Version)
		return nil, nil
	}
	switch after, known := newer(s.Version, p.Version); {
	case force || after:
	case known:
		return nil, fmt.Errorf("%s has %s, which is older than %s; to install it all the same: --force", relay, p.Version, s.Version)
	default:
		return nil, fmt.Errorf("%s has %s, and it cannot be told whether that is newer than %s; to install it: --force", relay, p.Version, s.Version)
	}
	if state, err := s.Agent.State(ctx); err == nil && state.Clock != "" {
		return nil, fmt.Errorf("the agent sends nothing until this machine knows the time, so a new version could not prove itself; try again then (%s)", state.Clock)
	}
	directory := s.path(previousDirectory)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return nil, roomError(err)
	}
	file, err := relay.Fetch(ctx, p, directory)
	if err != nil {
		return nil, roomError(err)
	}
	is, err := s.inspect(ctx, file, p)
	if err == nil && !same(is, p.Version) {
		err = fmt.Errorf("the program in %s is %s: put the right package on the relay", p.Name, is)
	}
	if err != nil {
		return nil, roomError(errors.Join(err, os.Remove(file), removeFile(s.candidate())))
	}
	j := &journal{From: s.Version, To: is, Path: s.self(), Relay: relay.String(), Runs: s.runs(ctx), Package: p}
	if err := copyFile(j.Path, s.previous(), 0o755); err != nil {
		return nil, roomError(fmt.Errorf("keep the present version: %w", err))
	}
	if err := s.writeJournal(j); err != nil {
		return nil, roomError(err)
	}
	fmt.Fprintf(s.Out, "%s is here and sound: %s, %d bytes.\n", p.Name, is, p.Bytes)
	return j, nil
}

// inspect looks at the program in a package, and leaves it beside it.
func (s *Setup) inspect(ctx context.Context, file string, p Package) (is string, err error) {
	candidate := s.candidate()
	if err := extract(ctx, file, p.Kind, candidate); err != nil {
		return "", err
	}
	return fitsHere(ctx, candidate, "/proc/self/exe")
}

// candidate is the program in the package that is about to be installed.
func (s *Setup) candidate() string { return s.path(previousDirectory + "/candidate") }

// previous is the version before.
func (s *Setup) previous() string { return s.path(previousDirectory + "/" + programName) }

func (s *Setup) journalPath() string { return s.path(previousDirectory + "/upgrade.json") }

func (s *Setup) readJournal() (*journal, error) {
	text, err := os.ReadFile(s.journalPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	j := new(journal)
	if err == nil {
		err = json.Unmarshal(text, j)
	}
	if err != nil {
		return nil, fmt.Errorf("read what an earlier upgrade was about to do: %w; remove %s to begin anew", err, s.journalPath())
	}
	return j, nil
}

func (s *Setup) writeJournal(j *journal) error {
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	path := s.journalPath()
	if err := writeSynced(path+".new", append(text, '\n')); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return durable.SyncDirectory(filepath.Dir(path))
}

func writeSynced(path string, text []byte) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return errors.Join(err, out.Sync(), out.Close())
}

// copyFile makes to a copy of from, whole at any time.
func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	temporary := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".new")
	out, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Chmod(mode), out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(temporary, to)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return err
	}
	return durable.SyncDirectory(filepath.Dir(to))
}
