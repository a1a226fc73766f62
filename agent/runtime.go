package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

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
		dir = filepath.Join(base, socketPrefix+strconv.Itoa(os.Getpid()))
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
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), socketPrefix))
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			plugins.EndOffspring(dir)
			os.RemoveAll(dir)
		}
	}
}
