package program

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// floods are logs that a plugin may write.
var floods = map[string]func(w io.Writer){
	"many lines": func(w io.Writer) {
		w.Write(bytes.Repeat([]byte("a line of a log that goes on and on\n"), 30_000))
	},
	"a long line": func(w io.Writer) { w.Write(append(bytes.Repeat([]byte("long "), 2<<20), '\n')) },
	"bytes":       func(w io.Writer) { w.Write(bytes.Repeat([]byte{0, 27, '[', 255, 7, '\n', 13}, 200_000)) },
	"long entries": func(w io.Writer) {
		for range 300 {
			fmt.Fprintf(w, "{\"@message\":%q,\"@level\":\"error\",%q:%q}\n", strings.Repeat("m", 2000), strings.Repeat("k", 2000), strings.Repeat("v", 2000))
		}
	},
	"many attributes": func(w io.Writer) {
		for range 100 {
			entry := `{"@message":"m","@level":"warn"`
			for i := range 500 {
				entry += fmt.Sprintf(`,"k%d":%d`, i, i)
			}
			fmt.Fprintln(w, entry+"}")
		}
	},
	"misleading": func(w io.Writer) { io.WriteString(w, misleading) },
}

func TestALogIsBounded(t *testing.T) {
	for how := range floods {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			begun := time.Now()
			p := h.start(how)
			for range 3 {
				mustGather(t, p, "log") // it is not held up
			}
			eventually(t, "something of it", func() bool { return len(h.logs.String()) > 0 })
			p.End(0)
			var lines, bytes int
			for line := range strings.Lines(h.logs.String()) {
				if !strings.Contains(line, "go-plugin: ") {
					lines, bytes = lines+1, bytes+len(line)
				}
				if len(line) > maxLogText+200 {
					t.Errorf("a line of %d bytes: %.100s", len(line), line)
				}
				if !utf8.ValidString(line) || strings.ContainsAny(line, "\x1b\x00\a") {
					t.Errorf("%q", line)
				}
			}
			seconds := int(time.Since(begun).Seconds())
			if lines == 0 || lines > 2*logLines+seconds*logLinesPerSecond || bytes > 2*logBytes+seconds*logBytesPerSecond {
				t.Errorf("%d lines of %d bytes reach the agent's log", lines, bytes)
			}
		})
	}
}

// However a flood is cut, go-plugin never sees the rest of a line as a line.
func TestARestOfALineIsNoEntry(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer write.Close()
		for range 3 * logRoom {
			io.WriteString(write, strings.Repeat("x", logBuffer)+"{\"@message\":5}\n")
		}
	}()
	var log pluginLog
	e := newEntries(read, &log)
	defer e.Close()
	for lines := bufio.NewReaderSize(e, 4*logBuffer); ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil || !strings.HasPrefix(line, "xxx") {
			t.Fatalf("%v %.100q", err, line)
		}
	}
	if log.suppressed == 0 {
		t.Error("nothing was left out")
	}
}

// misleading are log entries that look like go-plugin's own and are not.
const misleading = `{"@message": 5}
 {"@message": [1]}
{"@level": ["error"], "@message": "a list for a level"}
{"@timestamp": null, "@message": "no time"}
{"@level": "warn", "@message": "an honest entry", "@module": 7}
`

func TestEntriesThatMislead(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.start("misleading")
	mustGather(t, p, "log")
	for _, want := range []string{`{\"@message\": 5}`, "a list for a level", "no time", "an honest entry"} {
		eventually(t, want, func() bool { return strings.Contains(h.logs.String(), want) })
	}
}

// What a process has said last is the best reason for its end, and it is
// never the reading of it.
func TestTheLastWordIsThePlugins(t *testing.T) {
	t.Parallel()
	f := func(script, want string) {
		t.Helper()
		h := newHost(t)
		_, err := Start(t.Context(), h.command("/bin/sh", "-c", script))
		if err == nil || !strings.Contains(err.Error(), "it last said: "+want+" (") {
			t.Error(err)
		}
	}
	f("echo why >&2; exit 1", "why")
	f("echo why >&2; setsid sleep 600 & exit 1", "why")
	f("printf why >&2; exit 1", "why")
	f("echo so >&2; printf 'panic: why\\n\\ngoroutine 1 [running]:\\n' >&2; exit 2", "panic: why")
	f(`printf 'why\033[2J\377\n\n' >&2; exit 1`, "why\ufffd[2J\ufffd")
}
