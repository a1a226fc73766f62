package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

const (
	// termGrace is how long a program may take to end on SIGTERM.
	termGrace = 5 * time.Second
	// stopGrace is the same when the agent itself is ending.
	stopGrace = 500 * time.Millisecond
	// drainTime is how long output is still waited for after its program has
	// ended: what it started may hold the pipes open for ever.
	drainTime = time.Second
	// maxOutput bounds the lines of one reading; the host takes 4 MiB.
	maxOutput = 4<<20 - 4<<10
	// maxFirst is how much of a program's complaint is quoted.
	maxFirst = 512
)

var errTooMuch = fmt.Errorf("more than %d MiB of output in one reading", 4)

// result is what one command came to.
type result struct {
	lines []byte
	err   error
}

// run runs one command to its end, or to the end of its time.
func (c *Collector) run(ctx context.Context, log *slog.Logger, argv []string) result {
	p, err := plugins.StartProgram(argv, plugins.Environ(c.Environment...), false)
	if err != nil {
		return result{err: failure(argv, err, "")}
	}
	defer p.Close()
	o := newOutput(p, func(line string) {
		if c.LogStderr {
			c.log.Line(log.With("command", shown(argv)), line)
		}
	})
	exit := c.await(ctx, p, o)
	o.close()
	return c.judge(argv, o, exit)
}

// await waits for the end of p and returns how it ended, or why it was ended.
func (c *Collector) await(ctx context.Context, p *plugins.Program, o *output) error {
	timeout := time.NewTimer(c.Timeout)
	defer timeout.Stop()
	select {
	case <-p.Exited():
		if !o.endsWithin(drainTime) {
			p.Kill(syscall.SIGKILL) // what holds the pipes, and would pile up
		}
		return p.Wait()
	case <-timeout.C:
		return ended(fmt.Errorf("not done within its timeout of %v", c.Timeout), p.End(termGrace))
	case <-ctx.Done():
		return ended(context.Cause(ctx), p.End(stopGrace))
	}
}

// ended is why a program was ended, and whether it could be.
func ended(why, err error) error {
	if errors.Is(err, plugins.ErrUnkillable) {
		return fmt.Errorf("%w; %w", why, err)
	}
	return why
}

// judge decides what is kept. An exit code is the program's own word on its
// output, and may be ignored; an output that was cut off is never taken whole.
func (c *Collector) judge(argv []string, o *output, exit error) result {
	var code *exec.ExitError
	ignored := c.IgnoreError && errors.As(exit, &code) && code.Exited()
	switch {
	case o.tooMuch:
		return result{err: failure(argv, errTooMuch, "")}
	case exit == nil || ignored:
		return result{lines: unixEnds(o.stdout)}
	}
	return result{err: failure(argv, exit, o.first)}
}

// unixEnds takes the carriage returns off lines that all end in one. Where only
// some newlines follow one, those belong to the text of strings.
func unixEnds(lines []byte) []byte {
	crlf := []byte("\r\n")
	if n := bytes.Count(lines, crlf); n == 0 || n != bytes.Count(lines, crlf[1:]) {
		return lines
	}
	return bytes.ReplaceAll(lines, crlf, crlf[1:])
}

// failure names the command, what became of it and the first thing it said.
func failure(argv []string, err error, first string) error {
	if first != "" {
		return fmt.Errorf("command %s: %w: %s", shown(argv), err, first)
	}
	return fmt.Errorf("command %s: %w", shown(argv), err)
}

// maxShown is how much of a command is shown.
const maxShown = 200

func shown(argv []string) string {
	text := strings.Join(argv, " ")
	if len(text) > maxShown {
		text = text[:maxShown] + "…"
	}
	return fmt.Sprintf("%q", text)
}
