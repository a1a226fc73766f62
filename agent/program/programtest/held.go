// Package programtest makes for tests what a machine has seldom: a process that
// cannot be ended.
package programtest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	mode  = "hold"
	ready = "held\n"
)

// Main is for the TestMain of tests that call Held: as the process that holds
// another it never returns.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != mode {
		return
	}
	runtime.LockOSThread() // it is the thread that traces
	pid, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = unix.PtraceSeize(pid)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Print(ready)
	select {}
}

// Held keeps a process from going, until it is let go of or the test ends. What
// is traced stays, once killed, until its tracer takes note, which this one
// never does; so stays what the kernel cannot end because it waits for a disk.
func Held(t *testing.T, pid int) (letGo func()) {
	t.Helper()
	holder := exec.Command("/proc/self/exe", mode, strconv.Itoa(pid))
	out, err := holder.StdoutPipe()
	if err == nil {
		err = holder.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	letGo = func() {
		_ = holder.Process.Kill()
		_ = holder.Wait()
	}
	t.Cleanup(letGo)
	said := make([]byte, 100)
	if n, err := out.Read(said); string(said[:n]) != ready {
		t.Fatalf("process %d is not held: %s%v", pid, said[:n], err)
	}
	return letGo
}
