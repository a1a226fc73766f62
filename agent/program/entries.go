package program

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"
)

// logBuffer is the longest line of a plugin's log that is read as an entry.
const logBuffer = 8 << 10

// entries is a plugin's standard error as go-plugin can be trusted with it.
// go-plugin takes it for granted that what looks like an entry of hclog's is
// one, and panics in the agent if its message is a number; such a line gets a
// mark put before it that makes it plain text.
type entries struct {
	io.Closer
	log  *pluginLog
	from *bufio.Reader
	held []byte // of the line under way
	long bool   // the line under way has no end yet

	room     float64
	at       time.Time // when there was that much room
	skipping bool      // the line under way
}

// What is looked at, at once and then every second: taking an entry apart
// costs more than a plugin without end should.
const logRoom, logRoomPerSecond = 1000, 100.0

func newEntries(r io.ReadCloser, log *pluginLog) *entries {
	return &entries{Closer: r, log: log, from: bufio.NewReaderSize(r, logBuffer), room: logRoom, at: time.Now()}
}

// Read hands on the next line that there is room for.
func (e *entries) Read(p []byte) (int, error) {
	for len(e.held) == 0 {
		line, err := e.from.ReadSlice('\n')
		if len(line) == 0 {
			return 0, ending(err)
		}
		began := !e.long
		e.long = errors.Is(err, bufio.ErrBufferFull)
		if began { // a line is passed whole, or not at all
			e.skipping = !e.enough()
		}
		if e.skipping {
			e.log.skip(bytes.TrimSpace(line))
			continue
		}
		if began && !e.long && misleads(line) {
			line = append([]byte("log entry: "), line...)
		}
		e.held = line
	}
	n := copy(p, e.held)
	e.held = e.held[n:]
	return n, nil
}

// enough takes room for one line, if there is any.
func (e *entries) enough() bool {
	now := time.Now()
	e.room = min(logRoom, e.room+now.Sub(e.at).Seconds()*logRoomPerSecond)
	e.at = now
	if e.room < 1 {
		return false
	}
	e.room--
	return true
}

// ending is the end of the file where a dead process's pipe, which another may
// hold open, is no longer read: go-plugin would log it as the process's words.
func ending(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
		return io.EOF
	}
	return err
}

// misleads reports whether line is a JSON object in which a key of hclog's has
// a value that is not hclog's.
func misleads(line []byte) bool {
	var entry map[string]any
	if !bytes.HasPrefix(bytes.TrimLeft(line, " \t\r"), []byte("{")) || json.Unmarshal(line, &entry) != nil {
		return false
	}
	for _, key := range []string{"@message", "@level", "@timestamp"} {
		if v, there := entry[key]; there {
			if _, ok := v.(string); !ok {
				return true
			}
		}
	}
	return false
}
