// Package trust finds the files of drop-in collectors and decides which of
// them may be run: a program that the agent starts on every node must not be
// one that somebody else can put there.
package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Prefix begins the file name of every collector that is a program of its own.
const Prefix = "vitals-plugin-"

// Rules say where drop-ins are looked for and which may be run.
type Rules struct {
	// Directories are searched in order; the first that has a file wins.
	Directories []string
	// Owner is a user whose files are trusted beside root's; -1: nobody.
	Owner int
	// Pinned asks that the lock file holds the file's SHA-256.
	Pinned bool
	// LockFile is where pins are kept.
	LockFile string
}

// File is a program that may be run. It is held open, so that what is run is
// what was checked.
type File struct {
	*os.File
	Path   string
	SHA256 string // in hex
	Script bool   // begins with "#!", so that it can be run by its path only
	Stamp  Stamp
}

// Stamp tells one state of a file from another without reading it.
type Stamp struct {
	Device, Inode  uint64
	Size           int64
	ModUnixNano    int64
	ChangeUnixNano int64 // moves with the mode and the owner, too
}

// Refusal is why a file may not be run, and the command that mends it.
type Refusal struct {
	Path   string
	Reason string // such as "is writable by everybody (mode 0777)"
	Remedy string // such as "chmod go-w /usr/local/lib/vitals/plugins/vitals-plugin-x"
}

// Error joins path, reason and remedy.
func (r *Refusal) Error() string {
	if r.Remedy == "" {
		return r.Path + " " + r.Reason
	}
	return fmt.Sprintf("%s %s; run: %s", r.Path, r.Reason, r.Remedy)
}

// Find returns the path of the drop-in called name, or an error that wraps
// fs.ErrNotExist. It does not say whether the file may be run.
func (r Rules) Find(name string) (string, error) {
	for _, dir := range r.Directories {
		path, err := filepath.Abs(filepath.Join(dir, Prefix+name))
		if err != nil {
			return "", err
		}
		if _, err := os.Lstat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("no file %s%s in %q: %w", Prefix, name, r.Directories, fs.ErrNotExist)
}
