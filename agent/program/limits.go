package program

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Limits are what the process of a drop-in is held to, beside those that are
// the same for all.
type Limits struct {
	// Memory bounds what the program may allocate, in bytes; 0: no bound.
	Memory int64
	// User is whom the program runs as; nil: as the agent. Others than the
	// agent's own need an agent that is root.
	User *User
}

// User is a user of this machine with the groups it is in.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

const (
	maxFiles = 256
	niceness = 5   // a gather is never more urgent than what the machine is for
	oomScore = 500 // of 1000: among the first to go when memory is short
)

// programFD is the number under which the shim finds the program to run.
const programFD = lifelineFD + 1

// shimArgs follow Shim in the command that becomes path with argv.
func shimArgs(memory int64, path string, argv []string) []string {
	return append([]string{strconv.Itoa(os.Getpid()), strconv.FormatInt(memory, 10), path}, argv...)
}

// Command is the command that puts a program under l by way of shim, for those
// that start it otherwise than with Start. It is for this process's children.
func (l Limits) Command(shim []string, path string) []string {
	return append(slices.Clone(shim), shimArgs(l.Memory, path, []string{path})...)
}

// Exec is the shim that a drop-in is started through: it puts this process,
// which the agent has started, under its limits, and becomes the program. The
// arguments are what a Process passes on; it returns only with an error.
func Exec(args []string) error {
	if len(args) < 4 {
		return fmt.Errorf("exec-plugin is how the agent starts collectors; it is not run by hand")
	}
	parent, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("exec-plugin: process %q: %w", args[0], err)
	}
	memory, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return fmt.Errorf("exec-plugin: memory %q: %w", args[1], err)
	}
	// Most of what follows is of one thread, and is kept by the one that execs.
	runtime.LockOSThread()
	unix.CloseOnExec(programFD)
	if err := restrain(memory); err != nil {
		return err
	}
	if err := dieWith(parent); err != nil {
		return err
	}
	path, argv := args[2], args[3:]
	return fmt.Errorf("run %s: %w", argv[0], syscall.Exec(path, argv, os.Environ()))
}

// restrain puts this process under the limits of a drop-in, which its children
// inherit.
func restrain(memory int64) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := limit(unix.RLIMIT_NOFILE, "open files", maxFiles); err != nil {
		return err
	}
	if err := limit(unix.RLIMIT_CORE, "core dumps", 0); err != nil {
		return err
	}
	yield()
	if memory == 0 {
		return nil
	}
	return limit(unix.RLIMIT_DATA, "memory", uint64(memory))
}

// limit sets a resource limit for good, and never above what it is.
func limit(resource int, what string, to uint64) error {
	var now syscall.Rlimit
	err := syscall.Getrlimit(resource, &now)
	if err == nil {
		now.Max = min(now.Max, to)
		now.Cur = now.Max
		err = syscall.Setrlimit(resource, &now)
	}
	if err != nil {
		return fmt.Errorf("limit %s: %w", what, err)
	}
	return nil
}

// yield makes the process give way to others. Where it may not, as in some
// containers, it runs all the same: this is a courtesy and no wall.
func yield() {
	if raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil && 20-raw < niceness {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)
	}
	const score = "/proc/self/oom_score_adj"
	if text, err := os.ReadFile(score); err == nil {
		if now, err := strconv.Atoi(string(text[:max(0, len(text)-1)])); err == nil && now < oomScore {
			_ = os.WriteFile(score, []byte(strconv.Itoa(oomScore)), 0)
		}
	}
}

// dieWith has the kernel kill this process when its parent dies, and refuses to
// go on if that has happened already.
func dieWith(parent int) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("ask for an end with the agent: %w", err)
	}
	if os.Getppid() != parent {
		return fmt.Errorf("the agent is gone")
	}
	return nil
}

// admit lets a user use a directory of its own below one that is the agent's:
// others may pass through that, but see nothing of it, and enter nothing.
func (u *User) admit(dir string) error {
	if err := os.Chown(dir, int(u.UID), int(u.GID)); err != nil {
		return fmt.Errorf("give directory of its socket to the plugin's user: %w", err)
	}
	sockets := filepath.Dir(dir)
	for _, d := range []string{sockets, filepath.Dir(sockets)} {
		info, err := os.Stat(d)
		if err != nil {
			return fmt.Errorf("let the plugin's user through: %w", err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			if err := os.Chmod(d, info.Mode()|0o001); err != nil {
				return fmt.Errorf("let the plugin's user through: %w", err)
			}
		}
	}
	return nil
}
