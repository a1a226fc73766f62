// Package processes counts processes by their state, as Telegraf's
// inputs.processes does.
package processes

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "processes",
		Description:  "Number of processes by their state.",
		Sample:       sample,
		Measurements: []string{"processes"},
		New:          func() plugins.Collector { return &Collector{} },
	}
}

// Collector holds the options. UseSudo is there because Telegraf has it, for
// systems where it asks ps(1).
type Collector struct {
	UseSudo bool `toml:"use_sudo"`
}

// Gather implements plugins.Collector.
func (c *Collector) Gather(ctx context.Context, b *plugins.Batch) error {
	names, err := entries(plugins.HostProc())
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	n := newTally()
	for _, name := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := strconv.ParseUint(name, 10, 32); err != nil {
			continue // not a process
		}
		data, err := os.ReadFile(plugins.HostProc(name, "stat"))
		if err := n.count(name, data, err); err != nil {
			return err
		}
	}
	if n.fields["total"] == 0 {
		return fmt.Errorf("no processes in %s", plugins.HostProc())
	}
	p := b.Point("processes")
	for _, key := range order {
		if number, ok := n.fields[key]; ok {
			p.Int(key, number)
		}
	}
	return nil
}

// entries lists a folder without asking anything about what is in it.
func entries(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// order is that of the fields; parked is told only where there are some.
var order = []string{
	"blocked", "dead", "idle", "paging", "parked", "running", "sleeping", "stopped",
	"total", "total_threads", "unknown", "zombies",
}

// states are the fields of the letters in /proc/PID/stat.
var states = map[byte]string{
	'R': "running",
	'S': "sleeping",
	'D': "blocked",
	'Z': "zombies",
	'X': "dead", 'x': "dead",
	'T': "stopped", 't': "stopped",
	'W': "paging", // kernels before 2.6
	'I': "idle",
	'P': "parked",
}

// tally is how much there is of each field.
type tally struct{ fields map[string]int64 }

func newTally() tally {
	n := tally{make(map[string]int64, len(order))}
	for _, key := range order {
		if key != "parked" {
			n.fields[key] = 0
		}
	}
	return n
}

// count counts one process from what reading its stat came to. One that has ended meanwhile does not count; one
// that may not be looked at is there, but its state is unknown.
func (n tally) count(pid string, stat []byte, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return nil
	case errors.Is(err, os.ErrPermission):
		n.fields["total"]++
		n.fields["unknown"]++
		return nil
	case err != nil:
		return fmt.Errorf("read process: %w", err)
	}
	return n.add(pid, string(stat))
}

// The words of /proc/PID/stat behind the name of the command, which may itself
// hold spaces and parentheses.
const (
	stateWord   = 0
	threadsWord = 17
)

func (n tally) add(pid, stat string) error {
	words := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(words) <= threadsWord {
		return fmt.Errorf("read process %s: %d words are too few", pid, len(words))
	}
	threads, err := strconv.ParseInt(words[threadsWord], 10, 64)
	if err != nil {
		return fmt.Errorf("count threads of process %s: %w", pid, err)
	}
	state, ok := states[words[stateWord][0]]
	if !ok {
		state = "unknown"
	}
	n.fields[state]++
	n.fields["total"]++
	n.fields["total_threads"] += threads
	return nil
}
