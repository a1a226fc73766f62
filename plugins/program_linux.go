package plugins

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
)

// start runs the program. The goroutine that does so keeps its thread until
// the program ends, for its parent-death signal is that of the thread's death.
// A program that runs as another user, as sudo does, has no such signal.
func (p *Program) start() error {
	heed(syscall.SIGHUP)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		// The program is left for Wait to reap: until then no other can be
		// given the number of its group.
		for {
			err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		close(p.exited)
	}()
	return <-started
}

// heed has programs start with a signal's default where this process was told
// to ignore it, as by nohup: a shell can never trap what it began by ignoring.
// To this process itself the signal still does nothing.
func heed(s os.Signal) {
	if signal.Ignored(s) {
		signal.Notify(make(chan os.Signal, 1), s)
	}
}

func (p *Program) signal(s syscall.Signal) error { return syscall.Kill(p.PID(), s) }

// signalGroup may find nobody left, which is what it is for.
func (p *Program) signalGroup(s syscall.Signal) { _ = syscall.Kill(-p.PID(), s) }

// ownSession reports whether this process leads a session, as it does when a
// host has started it.
func ownSession() bool {
	id, err := unix.Getsid(0)
	return err == nil && id == os.Getpid()
}

// EndSession kills every process of a session but the one that leads it. A
// host does so for a plugin that has ended, before it reaps it: whatever the
// plugin's collectors have started is in its session, unless it has left that,
// as daemons do.
func EndSession(id int) {
	for range maxPasses {
		if !killAll(func(pid int) bool { return pid != id && liveMember(pid, id) }) {
			return
		}
	}
}

// EndOffspring kills every process but this one that was given a socket
// directory in or below dir, and every one that such a process has started, for
// it has inherited that variable: be it in a session of its own, and whoever
// its parent is now. Only what has taken the variable out of its environment, or
// changed it, is not found.
func EndOffspring(dir string) {
	if dir != "" {
		endOffspring(dir, "")
	}
}

// endOffspring spares those that have a certain variable. A process that is
// just becoming another program has no environment for a moment, so it looks
// until it has found nothing a few times.
func endOffspring(dir, spare string) {
	found := func(pid int) bool { return pid != os.Getpid() && hasSocketsIn(pid, dir, spare) }
	for quiet, passes := 0, 0; quiet < quietPasses && passes < maxPasses; passes++ {
		if quiet++; killAll(found) {
			quiet = 0
		}
		time.Sleep(passPause)
	}
}

const (
	// maxPasses bounds how often is looked again for what was being started
	// meanwhile.
	maxPasses   = 20
	quietPasses = 3
	passPause   = 30 * time.Millisecond
)

func killAll(matches func(pid int) bool) (killed bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && matches(pid) && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed = true
		}
	}
	return killed
}

// liveMember reports whether a process is of a session and not dead already.
func liveMember(pid, session int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// What follows the name, which may hold anything: state ppid pgrp session
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(f) > 3 && string(f[3]) == strconv.Itoa(session) && f[0][0] != 'Z' && f[0][0] != 'X'
}

// hasSocketsIn reports whether a process was started with a socket directory
// in or below dir, and without spare. A dead one has no environment any more.
func hasSocketsIn(pid int, dir, spare string) (has bool) {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for kv := range strings.SplitSeq(string(env), "\x00") {
		if kv == spare && spare != "" {
			return false
		}
		if at, ok := strings.CutPrefix(kv, plugin.EnvUnixSocketDir+"="); ok {
			has = at == dir || strings.HasPrefix(at, dir+"/")
		}
	}
	return has
}

// readNow reads what a pipe holds, and waits for nothing.
func readNow(pipe *os.File, p []byte) (n int, err error) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	again := raw.Control(func(fd uintptr) {
		for {
			if n, err = syscall.Read(int(fd), p); err != syscall.EINTR {
				return
			}
		}
	})
	if err == syscall.EAGAIN {
		err = os.ErrDeadlineExceeded
	}
	return n, errors.Join(again, err)
}
