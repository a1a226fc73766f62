package trust

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks on one path are as many as the kernel follows.
const maxLinks = 40

// walk goes from / to path as the kernel does and refuses it if somebody
// untrusted could put something else in the place of the file or of anything
// on the way to it. It returns the path without links; what that names is
// checked by nobody, and followed, if it is a link itself, only where follow
// is set.
func (r Rules) walk(path string, follow bool) (string, error) {
	at, links := "/", 0
	if err := r.checkDirectory(at, false); err != nil {
		return "", err
	}
	for todo := split(path); len(todo) > 0; {
		next := filepath.Join(at, todo[0])
		todo = todo[1:]
		last := len(todo) == 0
		if last && !follow {
			return next, r.checkDirectory(at, true)
		}
		info, err := os.Lstat(next)
		switch {
		case err != nil:
			return "", err
		case info.Mode()&os.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", &Refusal{Path: path, Reason: "leads through too many symbolic links"}
			}
			target, err := r.readLink(next, info)
			if err != nil {
				return "", err
			}
			if filepath.IsAbs(target) {
				at = "/"
			}
			todo = append(split(target), todo...)
		case last:
			return next, r.checkDirectory(at, true)
		default:
			if err := r.checkDirectory(next, false); err != nil {
				return "", err
			}
			at = next
		}
	}
	return at, nil
}

// readLink reads a link that nobody untrusted has made.
func (r Rules) readLink(path string, info os.FileInfo) (string, error) {
	if refusal := r.checkUser(path, int(info.Sys().(*syscall.Stat_t).Uid)); refusal != nil {
		refusal.Remedy = "chown -h root:root " + quote(path)
		return "", refusal
	}
	return os.Readlink(path)
}

// checkDirectory refuses a directory in which somebody untrusted may put or
// rename files. In one such as /tmp everybody may do so with what is theirs:
// that is no way to replace what lies deeper, but would be one to add a file.
func (r Rules) checkDirectory(path string, holdsFile bool) error {
	var info syscall.Stat_t
	if err := syscall.Lstat(path, &info); err != nil {
		return fmt.Errorf("look at directory: %w", &os.PathError{Op: "lstat", Path: path, Err: err})
	}
	sticky := info.Mode&syscall.S_ISVTX != 0 && info.Uid == 0
	if refusal := r.checkUser(path, int(info.Uid)); refusal != nil {
		return refusal
	}
	if sticky && !holdsFile {
		return nil
	}
	return checkMode(path, &info)
}

// split returns the names that a path is made of.
func split(path string) []string {
	return strings.FieldsFunc(filepath.Clean(path), func(r rune) bool { return r == '/' })
}
