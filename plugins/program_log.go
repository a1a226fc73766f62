package plugins

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// maxLogLine is how much of one line of a program's standard error is read as
// text; the rest of it is left out.
const maxLogLine = 2 << 10

// ReadLog hands every line that a program writes to its standard error to say,
// until r ends or fails.
func ReadLog(r io.Reader, say func(line string)) {
	from := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, more, err := from.ReadLine()
		if err != nil {
			return
		}
		if len(line) > 0 {
			say(string(bytes.ToValidUTF8(line, []byte("\uFFFD"))))
		}
		for more && err == nil {
			_, more, err = from.ReadLine()
		}
	}
}

// ProgramLog logs what the programs of one instance have to say. It is bounded,
// below the bound of the plugin's whole process, so that a program that writes
// without end costs little and does not use up what others may say. The zero
// value is ready.
type ProgramLog struct {
	mu      sync.Mutex
	used    float64 // lines, of programBurst
	at      time.Time
	leftOut int
}

const (
	programBurst     = 30  // lines at once
	programPerSecond = 0.5 // and then
)

// Line logs a line of standard error at the level that Telegraf's prefix gives
// it: "E! ", "W! ", "I! ", "D! " or "T! ". A line without one is an error, and
// quoted.
func (p *ProgramLog) Line(log *slog.Logger, line string) {
	if level, text, ok := prefixed(line); ok {
		p.Log(log, level, text)
	} else {
		p.Log(log, slog.LevelError, fmt.Sprintf("stderr: %q", line))
	}
}

func prefixed(line string) (level slog.Level, text string, ok bool) {
	if len(line) < 4 || line[1:3] != "! " {
		return 0, "", false
	}
	switch line[0] {
	case 'E':
		level = slog.LevelError
	case 'W':
		level = slog.LevelWarn
	case 'I':
		level = slog.LevelInfo
	case 'D':
		level = slog.LevelDebug
	case 'T':
		level = levelTrace
	default:
		return 0, "", false
	}
	return level, line[3:], true
}

// Log logs a message about such a program.
func (p *ProgramLog) Log(log *slog.Logger, level slog.Level, message string, args ...any) {
	ctx := context.Background()
	if !log.Enabled(ctx, level) {
		return
	}
	leftOut, ok := p.allow(time.Now())
	if !ok {
		return
	}
	if leftOut > 0 {
		log.Warn("the program says too much; lines were left out", "lines", leftOut)
	}
	log.Log(ctx, level, message, args...)
}

// allow takes one line, and returns how many were left out before it.
func (p *ProgramLog) allow(now time.Time) (leftOut int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = max(0, p.used-now.Sub(p.at).Seconds()*programPerSecond)
	p.at = now
	if p.used > programBurst-1 {
		p.leftOut++
		return 0, false
	}
	p.used++
	leftOut, p.leftOut = p.leftOut, 0
	return leftOut, true
}
