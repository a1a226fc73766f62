package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/plugins"
)

// socketPrefix begins the names of the directories that hold plugin sockets,
// one for each running agent.
const socketPrefix = "plugins-"

// maxSocketDirectory leaves room for the names that go-plugin appends within
// the 107 bytes of a Unix socket's path.
const maxSocketDirectory = 60

// socketDirectory makes a directory that only this user may enter, and clears
// away those of agents that were killed.
func socketDirectory() (dir string, remove func(), err error) {
	base, err := control.MakeDirectory()
	if err == nil {
		removeStale(base)
		pid := os.Getpid()
		dir = filepath.Join(base, fmt.Sprintf("%s%d-%s", socketPrefix, pid, started(pid)))
	}
	if err != nil || len(dir) > maxSocketDirectory {
		// A gather by hand needs no runtime directory.
		dir, err = os.MkdirTemp("", "vitals-")
	} else {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", nil, fmt.Errorf("make directory for plugin sockets: %w", err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

func removeStale(base string) {
	stale, err := filepath.Glob(filepath.Join(base, socketPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range stale {
		number, since, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), socketPrefix), "-")
		pid, err := strconv.Atoi(number)
		if now := started(pid); err == nil && (now == "" || now != since) {
			plugins.EndOffspring(dir)
			os.RemoveAll(dir)
		}
	}
}

// started is when a process was started, in the kernel's ticks, and empty if it
// does not run: its number alone may be another's by now, and in a container it
// often is the same at every start.
func started(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// What follows the name, which may hold anything: state, 18 more, start.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 20 || f[0][0] == 'Z' || f[0][0] == 'X' {
		return ""
	}
	return string(f[19])
}

// writePID writes the process number to a file, which remove removes; without
// a path it does nothing.
func writePID(path string) (remove func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o640); err != nil {
		return nil, fmt.Errorf("--pidfile: %w", err)
	}
	return func() { _ = os.Remove(path) }, nil
}
