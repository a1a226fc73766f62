// Package clock keeps lines back while the machine does not know the time. A
// board without a battery starts at the time when it was switched off, or in
// 1970, and learns the right one later; a point once written under a wrong time
// cannot be mended.
//
//	collectors ─► Gate ─► outputs
//	               │ before the time is known: held, then moved to it, once
//	               └ it never is, or there is no room: tagged clock=unsynced
//
// What has left the Gate is never changed again: a batch that is sent twice must
// be the same points.
package clock

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// The tag of lines that were written although the time was not known.
const (
	TagKey   = "clock"
	TagValue = "unsynced"
)

const (
	// lookEvery is how often it is asked whether the time is known by now.
	lookEvery = time.Second
	// maxBytes bounds what is held, however few lines that are.
	maxBytes = 8 << 20
	// passBytes is how much of what was held is passed on at a time.
	passBytes = 256 << 10
)

// Sink takes lines, each ended by a newline. It must not keep the slice.
type Sink func(ctx context.Context, lines []byte, n int)

// Settings are what a node file says of the clock.
type Settings struct {
	Trust bool          // the clock is right whatever it seems
	Hold  time.Duration // since the machine has started: how long lines are held
	Lines int           // that are held at most
}

// Gate holds lines while the time is not known. It is safe for concurrent use.
type Gate struct {
	next Sink
	log  *slog.Logger
	from Source

	mu       sync.Mutex
	settings Settings
	known    bool // the time, and it stays so: a clock that was right goes on
	tagging  bool // it has taken too long
	full     bool // it was told that there is no room for more
	held     []chunk
	lines    int
	bytes    int
	offset   time.Duration // of the wall clock to the time since boot
}

// chunk is lines that are held.
type chunk struct {
	text   []byte
	lines  int
	wall   time.Duration // when they came
	offset time.Duration // the Gate's then
}

// New returns a Gate before next. Without a reason to doubt the clock it is open
// for good.
func New(s Settings, from Source, next Sink, log *slog.Logger) *Gate {
	g := &Gate{next: next, log: log, from: from, settings: s}
	g.look(context.Background())
	if !g.known {
		log.Warn("the clock of this machine is not synchronised", "holding", !g.tagging, "tag", TagKey+"="+TagValue)
	}
	return g
}

// Set puts other settings into effect.
func (g *Gate) Set(ctx context.Context, s Settings) {
	g.mu.Lock()
	g.settings = s
	g.mu.Unlock()
	g.look(ctx)
}

// Run looks for the time until it is known or ctx ends.
func (g *Gate) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !g.look(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Deliver passes lines on, or holds them.
func (g *Gate) Deliver(ctx context.Context, lines []byte, n int) {
	if now := g.hold(ctx, lines, n); now != nil {
		g.next(ctx, now, n) // many at a time: outputs may wait for a disk
	}
}

// hold takes lines, or returns what is to be passed on for them at once.
func (g *Gate) hold(ctx context.Context, lines []byte, n int) (now []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.known:
		return lines
	case g.tagging:
		return tagged(lines)
	}
	wall := g.measure()
	g.held = append(g.held, chunk{append([]byte(nil), lines...), n, wall, g.offset})
	g.lines += n
	g.bytes += len(lines)
	for len(g.held) > 0 && (g.lines > g.settings.Lines || g.bytes > maxBytes) {
		if !g.full {
			g.full = true
			g.log.Warn("too many lines wait for the time: the oldest are sent under that of the clock", "tag", TagKey+"="+TagValue)
		}
		c := g.take()
		g.next(ctx, tagged(c.text), c.lines)
	}
	return nil
}

// measure reads the clocks. The wall clock runs with the time since boot but
// where it is set; what is less than that is the time between two readings.
func (g *Gate) measure() (wall time.Duration) {
	wall, boot := g.from.Now()
	if offset := wall - boot; (offset - g.offset).Abs() > time.Millisecond {
		g.offset = offset
	}
	return wall
}

// take removes the oldest of what is held.
func (g *Gate) take() chunk {
	c := g.held[0]
	g.held[0] = chunk{}
	g.held = g.held[1:]
	g.lines -= c.lines
	g.bytes -= len(c.text)
	return c
}

// look finds out whether the time is known, or will not be, and lets go of what
// is held then.
func (g *Gate) look(ctx context.Context) (known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known {
		return true
	}
	trusted := g.settings.Trust || g.from.Known()
	g.measure()
	_, boot := g.from.Now()
	late := boot >= g.settings.Hold
	if trusted && (len(g.held) > 0 || g.tagging) {
		g.log.Info("the clock is synchronised", "held_lines", g.lines)
	} else if !trusted && late && !g.tagging && len(g.held) > 0 {
		g.log.Warn("the clock was not synchronised in time: lines are sent under its time", "tag", TagKey+"="+TagValue, "held_lines", g.lines)
	}
	if trusted {
		g.release(ctx, func(c chunk) []byte { return moved(c, g.offset-c.offset) })
	} else if late {
		g.release(ctx, func(c chunk) []byte { return tagged(c.text) })
	}
	g.known, g.tagging = trusted, late && !trusted
	return trusted
}

// Close lets go of what is held, which nobody could mend after a restart of the
// machine, and of all that comes.
func (g *Gate) Close(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.release(ctx, func(c chunk) []byte { return tagged(c.text) })
	g.tagging = true
}

// release passes on what is held, as mend makes it.
func (g *Gate) release(ctx context.Context, mend func(chunk) []byte) {
	ctx = context.WithoutCancel(ctx)
	var text []byte
	lines := 0
	for len(g.held) > 0 {
		c := g.take()
		text = append(text, mend(c)...)
		lines += c.lines
		if len(text) >= passBytes || len(g.held) == 0 {
			g.next(ctx, text, lines)
			text, lines = text[:0], 0
		}
	}
	g.held = nil
}

// Doubt says what the Gate does about the clock; empty if that is right, and
// without a Gate.
func (g *Gate) Doubt() string {
	if g == nil { // a single gather
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known {
		return ""
	}
	const why = "the time of this machine is not synchronised"
	if g.tagging {
		return fmt.Sprintf("%s: lines are tagged %s=%s", why, TagKey, TagValue)
	}
	_, boot := g.from.Now()
	return fmt.Sprintf("%s: %d lines wait for it, %v at most", why, g.lines, max(0, g.settings.Hold-boot).Round(time.Second))
}
