package plugins

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
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

// LogLine logs a line at the level that Telegraf's prefix gives it: "E! ",
// "W! ", "I! ", "D! " or "T! ". A line without one is an error, and quoted.
func LogLine(log *slog.Logger, line string) {
	levels := map[byte]slog.Level{
		'E': slog.LevelError, 'W': slog.LevelWarn, 'I': slog.LevelInfo, 'D': slog.LevelDebug, 'T': levelTrace,
	}
	if len(line) > 3 && line[1:3] == "! " {
		if level, ok := levels[line[0]]; ok {
			log.Log(context.Background(), level, line[3:])
			return
		}
	}
	log.Error(fmt.Sprintf("stderr: %q", line))
}
