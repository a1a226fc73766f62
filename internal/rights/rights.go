// Package rights has root work in directories that are another user's without
// doing more there than that user could.
package rights

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links a path may lead through.
const maxLinks = 40

// AsOwner does something at a path. Called by root, where another user could lay
// links on the way there it does it with the rights of that user: a link to what
// is root's is then of no use. Nothing else may go on in this process meanwhile.
func AsOwner(path string, do func() error) (err error) {
	if os.Geteuid() != 0 {
		return do()
	}
	uid, gid, err := owner(path)
	if err != nil {
		return fmt.Errorf("see whose %s is: %w", path, err)
	}
	if uid == 0 {
		return do()
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		return err
	}
	group := os.Getegid()
	defer func() {
		back := errors.Join(syscall.Seteuid(0), syscall.Setegid(group), syscall.Setgroups(groups))
		if back != nil {
			err = errors.Join(err, fmt.Errorf("become root again: %w", back))
		}
	}()
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setegid(gid), syscall.Seteuid(uid)); err != nil {
		return fmt.Errorf("work as the owner of %s: %w", path, err)
	}
	return do()
}

// owner is the first on the way to a path who is not root: whoever can change
// what is behind there.
func owner(path string) (uid, gid int, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return 0, 0, err
	}
	todo, at := strings.Split(path, "/"), "/"
	for links := 0; len(todo) > 0; {
		next := filepath.Join(at, todo[0])
		todo = todo[1:]
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, 0, nil // root makes what is missing
		}
		if err != nil {
			return 0, 0, err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return int(st.Uid), int(st.Gid), nil
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return 0, 0, syscall.ELOOP
		}
		target, err := os.Readlink(next)
		if err != nil {
			return 0, 0, err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return 0, 0, nil
}
