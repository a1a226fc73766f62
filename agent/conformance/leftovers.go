package conformance

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// leftProcesses are those that this run has started and that still live, found
// by what they have inherited or by the session they are in.
func (p *process) leftProcesses() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var left []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != p.cmd.Process.Pid && p.started(pid) {
			left = append(left, pid)
		}
	}
	return left
}

func (p *process) started(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	// What follows the name, which may hold anything: state ppid pgrp session
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 4 || f[0] == "Z" || f[0] == "X" {
		return false
	}
	environ, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	return f[3] == strconv.Itoa(p.cmd.Process.Pid) || bytes.Contains(environ, []byte(p.mark()+"\x00"))
}

// leftSockets are the files that are still in its directory.
func (p *process) leftSockets() []string {
	left, _ := filepath.Glob(filepath.Join(p.sockets, "*"))
	return left
}

// commandOf is what runs as a process.
func commandOf(pid int) string {
	words, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return shortened(strings.TrimSpace(strings.ReplaceAll(string(words), "\x00", " ")))
}
