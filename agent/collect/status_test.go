package collect

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// An input that fails and works in turns is told of, and does not fill the log.
func TestAFlappingInputDoesNotFillTheLog(t *testing.T) {
	var log bytes.Buffer
	in := &instance{log: slog.New(slog.NewTextHandler(&log, nil)), group: &group{}}
	now := time.Now()
	fails := errors.New("no answer")
	for i := range 1000 {
		in.account(now.Add(time.Duration(i)*100*time.Millisecond), 0, 0, 0, fails)
		in.account(now.Add(time.Duration(i)*100*time.Millisecond), 0, 1, 0, nil)
	}
	if failed, again := strings.Count(log.String(), "gathering failed"), strings.Count(log.String(), "gathering again"); failed != 2*mostTurns || again != failed {
		t.Errorf("within 100 s told of %d times that it fails, of %d that it works", failed, again)
	}
	log.Reset()
	now = now.Add(100 * time.Second) // one that fails on is told of, if later
	for i := range 60 {
		in.account(now.Add(time.Duration(i)*time.Second), 0, 0, 0, fails)
	}
	if strings.Count(log.String(), "gathering failed") != 1 {
		t.Errorf("it fails on, and the log says: %s", log.String())
	}
}
