package trust

import (
	"fmt"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// plain is a path that a shell takes as it is.
var plain = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9/._+@%:,-]+$`)
})

// quote makes a path fit to be pasted into a shell.
func quote(path string) string {
	if plain().MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// mode is the permissions in octal, as ls and chmod know them.
func mode(info *syscall.Stat_t) string { return fmt.Sprintf("%04o", info.Mode&0o7777) }

// account is a user's name, or the number where there is none.
func account(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

// owner is "pi (uid 1000)".
func owner(uid int) string {
	number := strconv.Itoa(uid)
	if name := account(uid); name != number {
		return fmt.Sprintf("%s (uid %s)", name, number)
	}
	return "uid " + number
}

// kind says what a file is that is none.
func kind(mode uint32) string {
	switch mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		return "a directory"
	case syscall.S_IFIFO:
		return "a pipe"
	}
	return "a device"
}
