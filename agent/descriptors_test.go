package main

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatWasInheritedIsNotPassedOn(t *testing.T) {
	low, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // which leaves it open for others
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(low)
	fd, err := unix.FcntlInt(uintptr(low), unix.F_DUPFD, 251)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	passed := func() bool {
		out, err := exec.Command("ls", "/proc/self/fd").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains("\n"+string(out), "\n"+strconv.Itoa(fd)+"\n")
	}
	if !passed() {
		t.Fatal("the test shows nothing: it is closed already")
	}
	keepDescriptors()
	if passed() {
		t.Errorf("descriptor %d is passed on", fd)
	}
}
