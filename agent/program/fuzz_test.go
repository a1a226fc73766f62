package program

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

func FuzzHandshake(f *testing.F) {
	for _, seed := range []string{"1|1|unix|/run/x|grpc|", "1|1|unix|/run/x|grpc|c3VyZQ|true\r\n", "|||||", "1|1|tcp|127.0.0.1:1|grpc", "\x00|\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		fields, err := parseHandshake(line)
		if err != nil {
			if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x1b\n\x00") {
				t.Errorf("%q", err)
			}
			return
		}
		if len(fields) != 5 || fields[0] != "1" && fields[0] != "+1" && strings.TrimLeft(fields[0], "+0") != "1" || fields[1] != "1" || fields[2] != "unix" || fields[4] != "grpc" {
			t.Errorf("%q is taken for %q", line, fields)
		}
	})
}

// FuzzEntries reads what entries passes as go-plugin does, whose buffer is its
// own, and requires that no line is an entry on which it panics.
func FuzzEntries(f *testing.F) {
	for _, seed := range []string{misleading, "plain\n{\"@message\":\"x\",\"a\":1}\n", "{\"@level\":1}", "\r\n{\"@message\":null}\r"} {
		f.Add([]byte(seed), uint16(0))
	}
	f.Add([]byte("{\"@message\":1}\n"), uint16(logBuffer))
	f.Add([]byte("\n{\"@message\":1}\n"), uint16(logBuffer-1))
	f.Fuzz(func(t *testing.T, text []byte, before uint16) {
		all := append(bytes.Repeat([]byte("x"), int(before)), text...)
		var log pluginLog
		e := newEntries(io.NopCloser(bytes.NewReader(bytes.Repeat(all, 3))), &log)
		e.room, e.at = 4, time.Now()
		continues := false
		for r := bufio.NewReaderSize(e, logBuffer); ; {
			line, isPrefix, err := r.ReadLine()
			if err != nil {
				return
			}
			if isPrefix || continues {
				continues = isPrefix
				continue
			}
			var entry map[string]any
			if json.Unmarshal(line, &entry) != nil {
				continue
			}
			for _, key := range []string{"@message", "@level", "@timestamp"} {
				if v, there := entry[key]; there {
					if _, ok := v.(string); !ok {
						t.Fatalf("go-plugin panics on %.300q", line)
					}
				}
			}
		}
	})
}
