package metrics

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process writes what Prometheus's clients write of any process, under the same
// names.
func process(t *text) {
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) == nil {
		cpu := time.Duration(use.Utime.Nano() + use.Stime.Nano())
		t.one("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", cpu.Seconds())
	}
	if n := residentBytes(); n > 0 {
		t.one("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", float64(n))
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		t.one("process_open_fds", "gauge", "Number of open file descriptors.", float64(len(files)-1))
	}
	t.one("go_goroutines", "gauge", "Number of goroutines that currently exist.", float64(runtime.NumGoroutine()))
}

func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
