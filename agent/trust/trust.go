// Package trust finds the files of drop-in collectors and decides which of
// them may be run: a program that the agent starts on every node must not be
// one that somebody else can put there.
//
//	Find ─► path ─► Verify: owner, mode ─► directories up to / ─► kind ─► SHA-256 ─► pin ─► File
//	                  └──────────── Refusal: what is wrong, what mends it ─────────────┘
package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rpicluster/vitals/plugins"
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
	// Path is $PATH of what is run, in which env(1) looks for the interpreter of
	// a script; empty: this process's own.
	Path string
	// User is whom the files are run as; nil: the agent's own.
	User *User
}

// File is a program that may be run. It is held open, so that what is run is
// what was checked.
type File struct {
	*os.File
	Path   string
	SHA256 string // in hex
	Script bool   // begins with "#!", so that it can be run by its path only
	Stamp  Stamp

	real string // its path without links, by which it may be pinned
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

// Found is a file in a plugin directory that is meant as a drop-in.
type Found struct {
	Name   string // of the collector
	Path   string
	SHA256 string // in hex; empty with Err
	// Err is why it may not be run; nil: it may.
	Err error
	// Shadowed is the path of the file of the same name in an earlier
	// directory, which is used instead.
	Shadowed string
}

// List returns every file in the directories that is meant as a drop-in, in
// the order in which they are searched. What an editor or a copy under way
// leaves there is not meant as one.
func (r Rules) List() []Found {
	var all []Found
	first := map[string]string{}
	r.each(func(path, is string) {
		found := Found{Name: is, Path: path, Shadowed: first[is]}
		if first[is] == "" {
			first[is] = path
		}
		if !plugins.ValidName(is) {
			found.Err = &Refusal{Path: path, Reason: "is not named as a drop-in is: after " + Prefix +
				" come small letters, digits and _, a letter first, 32 at most"}
		} else if f, err := r.Verify(path); err != nil {
			found.Err = err
		} else {
			found.SHA256 = f.SHA256
			f.Close()
		}
		all = append(all, found)
	})
	return all
}

// Names are those of the collectors in the directories, whether they may be
// run or not.
func (r Rules) Names() []string {
	var names []string
	r.each(func(_, is string) {
		if plugins.ValidName(is) {
			names = append(names, is)
		}
	})
	return names
}

// each calls f for every file with the prefix. A directory that is not there
// or cannot be read has none.
func (r Rules) each(f func(path, name string)) {
	for _, dir := range r.Directories {
		dir, err := filepath.Abs(dir)
		if err != nil {
			continue
		}
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), Prefix)
			if ok && !strings.HasSuffix(name, "~") && !strings.HasSuffix(name, ".tmp") {
				f(filepath.Join(dir, e.Name()), name)
			}
		}
	}
}
