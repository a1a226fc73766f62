package program

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
)

// logBuffer is the longest line of a plugin's log that is read as an entry.
const logBuffer = 8 << 10

// entries is a plugin's standard error as go-plugin can be trusted with it.
// go-plugin takes it for granted that what looks like an entry of hclog's is
// one, and panics in the agent if its message is a number; such a line gets a
// mark put before it that makes it plain text.
type entries struct {
	io.Closer
	from *bufio.Reader
	held []byte // of the line under way
	long bool   // the line under way has no end yet
}

func newEntries(r io.ReadCloser) *entries {
	return &entries{Closer: r, from: bufio.NewReaderSize(r, logBuffer)}
}

func (e *entries) Read(p []byte) (int, error) {
	if len(e.held) == 0 {
		line, err := e.from.ReadSlice('\n')
		if len(line) == 0 {
			return 0, ending(err)
		}
		unended := errors.Is(err, bufio.ErrBufferFull)
		if !e.long && !unended && misleads(line) {
			line = append([]byte("log entry: "), line...)
		}
		e.held, e.long = line, unended
	}
	n := copy(p, e.held)
	e.held = e.held[n:]
	return n, nil
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
