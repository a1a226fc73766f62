package execd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

const (
	// closedGrace is how long a program may take to end once its standard
	// input is closed, termGrace then on SIGTERM. Both together are less than
	// the host grants this process.
	closedGrace = time.Second
	termGrace   = 500 * time.Millisecond
	// drainTime is how long output is still waited for after its program has
	// ended; what is in the pipe then is read all the same.
	drainTime = 200 * time.Millisecond
	// healthyAfter is how long a program must run to count as doing well even
	// though it has nothing to say.
	healthyAfter = 5 * time.Second
)

var errClosed = errors.New("it has closed its output and was ended")

// run runs the program once and returns how it ended.
func (c *Collector) run(ctx context.Context, b *plugins.Batch, flush func() error) error {
	p, err := plugins.StartProgram(c.Command, c.environ(), true)
	if err != nil {
		err = fmt.Errorf("start program: %w", err)
		c.running(nil, err)
		return err
	}
	defer p.Close()
	c.running(p, nil)
	r := c.read(p, b)
	open := r.relay(ctx, b, flush)
	err = end(p, open && ctx.Err() == nil)
	r.close()
	if err == nil {
		b.Lines(r.lines.rest())
		err = errors.New("exit status 0")
	}
	err = fmt.Errorf("program %s ended: %w", c.Command[0], err)
	c.running(nil, err)
	return err
}

// end ends what is left of the program and returns how it ended. One that has
// only closed its output may do so by itself.
func end(p *plugins.Program, byItself bool) error {
	if byItself && p.ExitsWithin(closedGrace) {
		p.Kill(syscall.SIGKILL) // what it has left behind
		return p.Wait()
	}
	p.Stdin.Close()
	if p.ExitsWithin(closedGrace) {
		p.Kill(syscall.SIGKILL)
		_ = p.Wait()
	} else if err := p.End(termGrace); errors.Is(err, plugins.ErrUnkillable) {
		return err
	}
	return errClosed
}

// reading takes the output of one run of the program.
type reading struct {
	program *plugins.Program
	lines   *lines
	chunks  chan []byte   // closed at the end of the output
	over    chan struct{} // closed when chunks are no longer taken
	wg      sync.WaitGroup
}

func (c *Collector) read(p *plugins.Program, b *plugins.Batch) *reading {
	log := b.Log()
	r := &reading{program: p, chunks: make(chan []byte), over: make(chan struct{})}
	r.lines = &lines{max: int(c.BufferSize), now: b.Now, bad: func(line []byte, why string) {
		c.log.Log(log, slog.LevelWarn, "a line was left out", "reason", why, "line", strings.ToValidUTF8(string(line[:min(len(line), maxQuoted)]), "\uFFFD"))
	}}
	r.wg.Go(r.readStdout)
	r.wg.Go(func() { plugins.ReadLog(p.Stderr, func(line string) { c.log.Line(log, line) }) })
	r.wg.Go(func() {
		<-p.Exited() // from then on its pipes are held by others, if at all
		r.deadline(drainTime)
	})
	return r
}

// maxQuoted is how much of a bad line is logged.
const maxQuoted = 200

// readStdout goes on when nobody takes chunks any more: a program that cannot
// print cannot end.
func (r *reading) readStdout() {
	defer close(r.chunks)
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.program.Stdout.Read(buffer)
		if chunk := r.lines.add(buffer[:n]); len(chunk) > 0 {
			select {
			case r.chunks <- chunk:
			case <-r.over:
			}
		}
		if err != nil {
			return
		}
	}
}

// relay passes chunks on until the output or ctx ends, and reports whether
// there is somebody to pass on to.
func (r *reading) relay(ctx context.Context, b *plugins.Batch, flush func() error) (open bool) {
	defer close(r.over)
	healthy := time.NewTimer(healthyAfter)
	defer healthy.Stop()
	for {
		select {
		case chunk, more := <-r.chunks:
			if !more {
				return true
			}
			b.Lines(chunk)
		case <-healthy.C:
		case <-ctx.Done():
			return false
		}
		if flush() != nil {
			return false
		}
	}
}

func (r *reading) deadline(in time.Duration) {
	at := time.Now().Add(in)
	_ = r.program.Stdout.SetReadDeadline(at)
	_ = r.program.Stderr.SetReadDeadline(at)
}

// close waits for the last of the output.
func (r *reading) close() {
	select {
	case <-r.program.Exited():
		r.wg.Wait()
	default: // it cannot be killed; its pipes are let go of
		r.program.Close()
	}
}

// unbuffered has Python print when it prints. Into a pipe it would else keep
// some 8 KiB back, and a script that forgets to flush looks well and says nothing.
const unbuffered = "PYTHONUNBUFFERED"

// environ is what the program sees; what the owner has set is left alone.
func (c *Collector) environ() []string {
	env := plugins.Environ(c.Environment...)
	if slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, unbuffered+"=") }) {
		return env
	}
	return append(env, unbuffered+"=1")
}
