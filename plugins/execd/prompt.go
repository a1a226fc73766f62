package execd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

// signals are the signals that can prompt a program.
var signals = map[string]syscall.Signal{
	"SIGHUP": syscall.SIGHUP, "SIGUSR1": syscall.SIGUSR1, "SIGUSR2": syscall.SIGUSR2,
}

const (
	// writeTime is how long a program may take to make room for a newline.
	writeTime = time.Second
	// readyTime is how long a program may take to be ready for signals.
	readyTime = 30 * time.Second
)

// Prompted implements plugins.Prompter.
func (c *Collector) Prompted() bool { return c.Signal != "none" }

// Gather implements plugins.Collector: it prompts the program, whose answer
// comes by Stream.
func (c *Collector) Gather(ctx context.Context, _ *plugins.Batch) error {
	c.mu.Lock()
	p, started, why := c.program, c.started, c.why
	c.mu.Unlock()
	switch {
	case p == nil:
		return why
	case c.Signal == "STDIN":
		return write(ctx, p)
	}
	s, ok := signals[c.Signal]
	if !ok {
		return nil
	}
	if !handles(p.PID(), s) {
		if time.Since(started) < readyTime {
			return nil
		}
		return fmt.Errorf("the program does not handle %s, which would end it", c.Signal)
	}
	if err := p.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// write sends a newline, for no longer than the reading may take.
func write(ctx context.Context, p *plugins.Program) error {
	deadline := time.Now().Add(writeTime)
	if d, ok := ctx.Deadline(); ok && time.Until(d)*3/4 < writeTime {
		deadline = time.Now().Add(time.Until(d) * 3 / 4)
	}
	_ = p.Stdin.SetWriteDeadline(deadline)
	_, err := p.Stdin.WriteString("\n")
	switch {
	case errors.Is(err, syscall.EPIPE), errors.Is(err, os.ErrClosed):
		return errors.New("the program does not read its standard input")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("the program has not read its standard input for long")
	}
	return err
}

// handles reports whether a process would survive a signal: one that it has
// not prepared for yet, as while it starts, would end it.
func handles(pid int, s syscall.Signal) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return true // there is no telling
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "SigCgt" && name != "SigIgn" {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err == nil && mask&(1<<(s-1)) != 0 {
			return true
		}
	}
	return false
}
