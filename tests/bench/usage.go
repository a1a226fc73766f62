package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a program and everything it has started take at one moment.
type usage struct {
	pss, rss  int64         // bytes
	peak      int64         // the sum of what each process was resident at most
	cpu       time.Duration // since the start, children that are gone included
	processes int
}

// tickLength is the unit of times in /proc: a hundredth of a second on every
// architecture that Go knows.
const tickLength = time.Second / 100

// stat is what is needed of /proc/PID/stat.
type stat struct {
	parent int
	cpu    time.Duration
}

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(data)
}

// parseStat reads from behind the name of the program, which may hold
// anything.
func parseStat(data []byte) (stat, error) {
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("cut short: %q", data)
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return stat{}, fmt.Errorf("parent: %w", err)
	}
	var ticks int64
	for _, f := range fields[11:15] { // utime, stime, and those of children waited for
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("times: %w", err)
		}
		ticks += n
	}
	return stat{parent, time.Duration(ticks) * tickLength}, nil
}

// measure adds up a process and its descendants.
func measure(pid int) (usage, error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return usage{}, err
	}
	parents := map[int]int{}
	times := map[int]time.Duration{}
	for _, name := range names {
		id, _ := strconv.Atoi(filepath.Base(name))
		if s, err := readStat(id); err == nil { // else it is gone
			parents[id], times[id] = s.parent, s.cpu
		}
	}
	var u usage
	for id := range parents {
		if !descends(id, pid, parents) {
			continue
		}
		pss, rss, peak, err := memory(id)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // gone since
		}
		if err != nil {
			return usage{}, err
		}
		u.pss, u.rss, u.peak, u.cpu = u.pss+pss, u.rss+rss, u.peak+peak, u.cpu+times[id]
		u.processes++
	}
	if u.processes == 0 {
		return usage{}, errors.New("it has ended")
	}
	return u, nil
}

func descends(id, root int, parents map[int]int) bool {
	for id > 1 && id != root {
		id = parents[id]
	}
	return id == root
}

// memory reads the sums that the kernel makes over a process's mappings.
func memory(pid int) (pss, rss, peak int64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, 0, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, 0, err
	}
	return kilobytes(data, "Pss:"), kilobytes(data, "Rss:"), kilobytes(status, "VmHWM:"), nil
}

// kilobytes finds the line that begins with key and returns its bytes.
func kilobytes(data []byte, key string) int64 {
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}
