package trust

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// User is a user of this machine with the groups it is in.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// What a user may do, as the last digit of a mode has it.
const (
	mayExecute = 1
	mayRead    = 4
)

// checkAccess refuses what the user that it is run as may not execute, for the
// kernel would say so at every start. The interpreter of a script opens it again
// by its name, so that one must be within reach and readable, too.
func (r Rules) checkAccess(f *File, info *syscall.Stat_t) error {
	user := r.user()
	if user.UID == 0 {
		return nil
	}
	want, words := uint32(mayExecute), "executed"
	if f.Script {
		want, words = mayExecute|mayRead, "read and executed"
	}
	as := owner(int(user.UID))
	if !user.may(info, want) && !hasList(f.Path) {
		return &Refusal{f.Path, fmt.Sprintf("may not be %s by %s, as whom it is run (mode %s)", words, as, mode(info)), "chmod a+rx " + quote(f.Path)}
	}
	for dir := f.real; f.Script && dir != "/"; {
		dir = filepath.Dir(dir)
		var info syscall.Stat_t
		if err := syscall.Stat(dir, &info); err != nil {
			return fmt.Errorf("look at directory: %w", &os.PathError{Op: "stat", Path: dir, Err: err})
		}
		if !user.may(&info, mayExecute) && !hasList(dir) {
			return &Refusal{f.Path, fmt.Sprintf("is where %s, as whom it is run, may not go: %s (mode %s)", as, dir, mode(&info)), "chmod a+x " + quote(dir)}
		}
	}
	return nil
}

// user is whom the files are run as.
func (r Rules) user() User {
	if r.User != nil {
		return *r.User
	}
	self := User{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	groups, _ := os.Getgroups()
	for _, g := range groups {
		self.Groups = append(self.Groups, uint32(g))
	}
	return self
}

// may reports whether the mode lets the user do all that is wanted.
func (u User) may(info *syscall.Stat_t, want uint32) bool {
	bits := info.Mode
	switch {
	case info.Uid == u.UID:
		bits >>= 6
	case info.Gid == u.GID || slices.Contains(u.Groups, info.Gid):
		bits >>= 3
	}
	return bits&want == want
}

// hasList reports whether more is said of who may do what than the mode has.
// The kernel decides then.
func hasList(path string) bool {
	n, err := unix.Lgetxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
