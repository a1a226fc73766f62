package program

import (
	"context"
	"io"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// bridge is the hclog.Logger that go-plugin is given. What go-plugin says about
// itself is for debugging, since the supervisor tells of the same events in its
// own words; what a plugin writes to its standard error keeps its level, within
// a bound, for a plugin may write without end.
type bridge struct {
	log    *slog.Logger
	plugin *pluginLog // nil: go-plugin's own words
	source *pluginLog // what Named hands on
}

var _ hclog.Logger = (*bridge)(nil)

// pluginLog bounds and remembers what one process says.
type pluginLog struct {
	mu         sync.Mutex
	lines      float64 // that may still be written
	bytes      float64
	refilled   time.Time
	suppressed int
	last       string
	fell       bool // last is what a program in Go says before its stack
}

// What a plugin may write at once, and then every second.
const (
	logLines, logLinesPerSecond = 40, 1.0
	logBytes, logBytesPerSecond = 32 << 10, 256.0
)

func newBridge(log *slog.Logger) *bridge {
	return &bridge{log: log, source: &pluginLog{lines: logLines, bytes: logBytes, refilled: time.Now()}}
}

// allow asks for one line, and returns how many were left out before it.
func (p *pluginLog) allow(text string, now time.Time) (suppressed int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remember(text)
	passed := now.Sub(p.refilled).Seconds()
	p.lines = min(logLines, p.lines+passed*logLinesPerSecond)
	p.bytes = min(logBytes, p.bytes+passed*logBytesPerSecond)
	p.refilled = now
	if p.lines < 1 || p.bytes < 0 {
		p.suppressed++
		return 0, false
	}
	p.lines--
	suppressed, p.suppressed = p.suppressed, 0
	return suppressed, true
}

// remember keeps the last line; mu is held.
func (p *pluginLog) remember(text string) {
	if !p.fell {
		p.last = text
		p.fell = strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")
	}
}

// skip counts a line that was left out without looking what it is.
func (p *pluginLog) skip(line []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suppressed++
	p.remember(string(line[:min(len(line), maxErrorText)]))
}

// wrote takes what a line that was allowed has come to.
func (p *pluginLog) wrote(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes -= float64(size)
}

// lastLine is the last thing the process said.
func (p *pluginLog) lastLine() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// Log writes one line at level.
func (b *bridge) Log(level hclog.Level, msg string, args ...any) {
	if b.plugin == nil {
		b.log.Debug("go-plugin: "+msg, args...)
		return
	}
	if len(args) == 0 && strings.TrimSpace(msg) == "" {
		return
	}
	to := slogLevel(level)
	if len(args) == 0 && level == hclog.Debug {
		to = slog.LevelInfo // plain text, not a log entry of ours
	}
	ctx := context.Background()
	if ofInstance(args) {
		ctx = withOwnLevel(ctx)
	}
	if len(args) > 0 && !b.log.Enabled(ctx, to) {
		return
	}
	suppressed, ok := b.plugin.allow(shorten(msg, maxLogText), time.Now())
	if !ok || !b.log.Enabled(ctx, to) {
		return
	}
	if suppressed > 0 {
		b.log.Warn("plugin writes too much; lines were left out", "lines", suppressed)
	}
	text, args, size := entryText(msg, withoutTimestamp(args))
	b.plugin.wrote(size)
	b.log.Log(ctx, to, text, args...)
}

// Write takes what a plugin prints after its handshake, which go-plugin sends
// through the connection.
func (b *bridge) Write(text []byte) (int, error) {
	to := b.Named("")
	for line := range strings.Lines(string(text)) {
		to.Debug(strings.TrimRight(line, "\r\n"))
	}
	return len(text), nil
}

// withoutTimestamp drops the entry's own time, which go-plugin puts last.
func withoutTimestamp(args []any) []any {
	if n := len(args); n >= 2 && args[n-2] == "timestamp" {
		return args[:n-2]
	}
	return args
}

func slogLevel(level hclog.Level) slog.Level {
	switch level {
	case hclog.Trace:
		return levelTrace
	case hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// Trace logs at trace level.
func (b *bridge) Trace(msg string, args ...any) { b.Log(hclog.Trace, msg, args...) }

// Debug logs at debug level.
func (b *bridge) Debug(msg string, args ...any) { b.Log(hclog.Debug, msg, args...) }

// Info logs at info level.
func (b *bridge) Info(msg string, args ...any) { b.Log(hclog.Info, msg, args...) }

// Warn logs at warn level.
func (b *bridge) Warn(msg string, args ...any) { b.Log(hclog.Warn, msg, args...) }

// Error logs at error level.
func (b *bridge) Error(msg string, args ...any) { b.Log(hclog.Error, msg, args...) }

// IsTrace reports whether trace is logged.
func (b *bridge) IsTrace() bool { return b.IsDebug() }

// IsDebug reports whether debug is logged.
func (b *bridge) IsDebug() bool { return b.log.Enabled(context.Background(), slog.LevelDebug) }

// IsInfo reports whether info is logged.
func (b *bridge) IsInfo() bool { return true }

// IsWarn reports whether warnings are logged.
func (b *bridge) IsWarn() bool { return true }

// IsError reports whether errors are logged.
func (b *bridge) IsError() bool { return true }

// GetLevel lets everything through to Log: an input may have a level of its own.
func (b *bridge) GetLevel() hclog.Level { return hclog.Trace }

// SetLevel does nothing: the level is the agent's.
func (b *bridge) SetLevel(hclog.Level) {}

// ImpliedArgs are none.
func (b *bridge) ImpliedArgs() []any { return nil }

// With adds args to every line.
func (b *bridge) With(args ...any) hclog.Logger {
	return &bridge{log: b.log.With(args...), plugin: b.plugin, source: b.source}
}

// Name is empty: the slog.Logger says who speaks.
func (b *bridge) Name() string { return "" }

// Named is how go-plugin asks for the logger of a plugin's standard error,
// under the program's name, and of its own parts.
func (b *bridge) Named(name string) hclog.Logger {
	if name == "stdio" || name == "plugin" {
		return b
	}
	return &bridge{log: b.log, plugin: b.source, source: b.source}
}

// ResetNamed is Named.
func (b *bridge) ResetNamed(name string) hclog.Logger { return b.Named(name) }

// StandardLogger is for code that knows package log only.
func (b *bridge) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(b.StandardWriter(o), "", 0)
}

// StandardWriter discards: nothing of go-plugin's client uses it.
func (b *bridge) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
