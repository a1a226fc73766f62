package join

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/internal/rights"
)

// file is one that is about to be written. Its room on the disk is there before
// anything is asked of anybody.
type file struct {
	path, temporary string
	mode            os.FileMode
	old             []byte // what was there
	existed         bool
	committed       bool
}

// files are the three of a joining; node is nil if the one that is there stays.
type files struct {
	setup             *Setup
	token, note, node *file
	made              []string // directories, without Root
}

const agentUser = "vitals"

// reserve makes the directories and the room that a joining needs.
func (s *Setup) reserve(how planned) (*files, error) {
	f := &files{setup: s}
	if err := f.reserve(how); err != nil {
		f.discard()
		return nil, roomError(err)
	}
	return f, nil
}

func (f *files) reserve(how planned) (err error) {
	s := f.setup
	uid, gid := rights.User(agentUser)
	for _, dir := range []struct {
		path string
		mode os.FileMode
		gid  int
	}{{filepath.Dir(s.NodeFile), 0o755, 0}, {secretsDirectory, 0o750, gid}, {stateDirectory, 0o755, 0}} {
		if err := f.makeDirectory(dir.path, dir.mode, dir.gid); err != nil {
			return err
		}
	}
	if f.token, err = s.newFile(tokenPath, 0o600, uid, gid, 512); err != nil {
		return err
	}
	if f.note, err = s.newFile(notePath, 0o600, 0, 0, 16<<10); err != nil {
		return err
	}
	if !how.keep {
		f.node, err = s.newFile(s.NodeFile, 0o644, 0, 0, 16<<10)
	}
	return err
}

// roomError says what to do about a disk that does not take the files.
func roomError(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: make room there (df -h shows how much there is) and try again; a code that was typed is still good", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run it as root, with sudo", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: make it writable (mount -o remount,rw), and try again", err)
	}
	return err
}

// makeDirectory makes a directory and remembers that it did.
func (f *files) makeDirectory(name string, mode os.FileMode, gid int) error {
	path := f.setup.path(name)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if parent := filepath.Dir(name); parent != "/" && parent != "." {
		if err := f.makeDirectory(parent, 0o755, 0); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	f.made = append(f.made, name)
	return errors.Join(os.Chmod(path, mode), own(path, 0, gid))
}

// own gives a file to its user, as only root can.
func own(path string, uid, gid int) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, uid, gid)
}

// newFile makes room for a file of at most so many bytes.
func (s *Setup) newFile(name string, mode os.FileMode, uid, gid, room int) (*file, error) {
	f := &file{path: s.path(name), mode: mode}
	f.temporary = f.path + ".new"
	old, err := os.ReadFile(f.path)
	if err == nil {
		f.old, f.existed = old, true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.Remove(f.temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	out, err := os.OpenFile(f.temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = out.Write(bytes.Repeat([]byte{'\n'}, room))
	if err = errors.Join(err, out.Sync(), out.Close(), own(f.temporary, uid, gid)); err != nil {
		_ = os.Remove(f.temporary)
		return nil, err
	}
	return f, nil
}

// write fills the room.
func (f *file) write(text []byte) error {
	out, err := os.OpenFile(f.temporary, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return errors.Join(err, out.Truncate(int64(len(text))), out.Chmod(f.mode), out.Sync(), out.Close())
}

// commit writes the file and puts it in its place.
func (f *file) commit(text []byte) error {
	if err := f.write(text); err != nil {
		return err
	}
	return f.rename()
}

func (f *file) rename() error {
	if err := os.Rename(f.temporary, f.path); err != nil {
		return err
	}
	f.committed = true
	return durable.SyncDirectory(filepath.Dir(f.path))
}

// undo takes back what was put in its place.
func (f *files) undo() {
	for _, one := range []*file{f.node, f.note, f.token} {
		switch {
		case one == nil || !one.committed:
		case one.existed:
			if err := os.WriteFile(one.path, one.old, one.mode); err != nil {
				_ = os.Remove(one.path) // half of one is worse than none
			}
		default:
			_ = os.Remove(one.path)
		}
	}
}

// discard removes what has not come to its place, and directories that were
// made for it.
func (f *files) discard() {
	for _, one := range []*file{f.token, f.note, f.node} {
		if one != nil && !one.committed {
			_ = os.Remove(one.temporary)
		}
	}
	removeEmpty(f.setup, f.made)
}

// removeEmpty removes directories that have nothing in them, the last made first.
func removeEmpty(s *Setup, made []string) {
	for i := len(made) - 1; i >= 0; i-- {
		_ = os.Remove(s.path(made[i])) // which refuses those that are not empty
	}
}

// lock keeps a second command from working on the same files.
func (s *Setup) lock() (unlock func(), err error) {
	// Of the state's directory the parent, which is there before any has joined.
	dir, err := os.Open(filepath.Dir(s.path(stateDirectory)))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		dir.Close()
		return nil, errors.New("another join, leave or upgrade is under way on this machine; wait for it to end")
	}
	return func() { dir.Close() }, nil
}
