// Killat runs a program and kills it at one of its system calls that change
// what others see: files, their names, answers. Which call, and whether before
// or after it has been made, is exact, whatever thread makes it:
//
//	killat -at 17 -dwell 20ms -report FILE PROGRAM ARGUMENT…
//
// The thread is held at the call while all others run on for -dwell, so that
// what should have waited for the call, and did not, becomes visible.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// names are the calls that count.
var names = map[uint64]string{
	unix.SYS_OPENAT: "openat", unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite", unix.SYS_PWRITEV: "pwritev",
	unix.SYS_FDATASYNC: "fdatasync", unix.SYS_FSYNC: "fsync", unix.SYS_FTRUNCATE: "ftruncate",
	unix.SYS_LINKAT: "linkat", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_RENAMEAT: "renameat",
	unix.SYS_RENAMEAT2: "renameat2", unix.SYS_MKDIRAT: "mkdirat",
}

type tracer struct {
	at    int
	after bool
	dwell time.Duration

	pid    int
	count  int
	chosen int    // the thread that makes the call; 0 before that
	call   string // which it is
	held   bool   // it is held there
}

func main() {
	var t tracer
	flag.IntVar(&t.at, "at", 0, "which of the calls; 0: none")
	flag.BoolVar(&t.after, "after", false, "after it has been made, not before")
	flag.DurationVar(&t.dwell, "dwell", 0, "how long the other threads run on")
	report := flag.String("report", "/dev/stderr", "where to say how many calls there were, and which one was the last")
	flag.Parse()
	runtime.LockOSThread() // one thread traces
	err := t.run(flag.Args())
	if err == nil {
		err = os.WriteFile(*report, fmt.Appendf(nil, "%d %s\n", t.count, t.call), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "killat:", err)
		os.Exit(2)
	}
}

func (t *tracer) run(args []string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return err
	}
	t.pid = cmd.Process.Pid
	go func() {
		<-terminate
		_ = unix.Kill(t.pid, unix.SIGTERM)
	}()
	if _, _, err := wait(t.pid); err != nil {
		return err
	}
	if err := unix.PtraceSetOptions(t.pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return err
	}
	thread, sig := t.pid, 0
	for {
		if !t.held || thread != t.chosen {
			_ = unix.PtraceSyscall(thread, sig) // no such thread, if it was killed meanwhile
		}
		var status unix.WaitStatus
		var err error
		if thread, status, err = wait(-1); err != nil {
			return err
		}
		if thread == t.pid && !status.Stopped() {
			return nil
		}
		sig = t.stopped(thread, status)
	}
}

func wait(pid int) (thread int, status unix.WaitStatus, err error) {
	for {
		thread, err = unix.Wait4(pid, &status, unix.WALL, nil)
		if err != unix.EINTR {
			return thread, status, err
		}
	}
}

// stopped looks at why a thread has stopped and returns the signal that it is
// to go on with.
func (t *tracer) stopped(thread int, status unix.WaitStatus) int {
	switch sig := status.StopSignal(); {
	case !status.Stopped(), sig == unix.SIGSTOP, sig == unix.SIGTRAP:
		return 0 // the end of a thread, its beginning, or a clone
	case sig != unix.SIGTRAP|0x80:
		return int(sig)
	}
	info := infoOf(thread)
	name := info.watched()
	switch {
	case info.op == entry && name != "":
		if t.count++; t.count == t.at {
			t.chosen, t.call = thread, name
			if !t.after {
				t.kill()
			}
		}
	case info.op == exit && thread == t.chosen && t.after && !t.held:
		t.kill()
	}
	return 0
}

// kill holds the chosen thread and kills all a moment later.
func (t *tracer) kill() {
	t.held = true
	time.AfterFunc(t.dwell, func() { _ = unix.Kill(t.pid, unix.SIGKILL) })
}

// syscallInfo is struct ptrace_syscall_info.
type syscallInfo struct {
	op     uint8
	_      [3]uint8
	_      uint32
	_, _   uint64
	number uint64
	args   [6]uint64
	_      uint64
}

const entry, exit = 1, 2

func infoOf(thread int) (info syscallInfo) {
	const getSyscallInfo = 0x420e
	_, _, _ = unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(thread), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	return info
}

// watched returns the name of a call that counts: opening only where it may
// create, and no writes by which the program's own threads wake each other.
func (i *syscallInfo) watched() string {
	const eventfd = 8
	switch {
	case i.op != entry,
		i.number == unix.SYS_OPENAT && i.args[2]&unix.O_CREAT == 0,
		i.number == unix.SYS_WRITE && i.args[2] <= eventfd:
		return ""
	}
	return names[i.number]
}
