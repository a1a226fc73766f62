package collect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOnceAProgramIsStartedOnce(t *testing.T) {
	l := newLab(t)
	l.config.Once = true
	starts := filepath.Join(l.dir, "starts")
	l.add("a", "broken", l.dropIn("broken", "echo x >>'"+starts+"'; echo out of order >&2; exit 1"))
	l.add("other", "steady", nil)
	s, err := Start(t.Context(), l.config)
	defer s.Close()
	if err != nil {
		t.Fatal(err)
	}
	err = s.GatherAll(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "a: start ") || !strings.Contains(err.Error(), "it last said: out of order") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	if got, err := os.ReadFile(starts); err != nil || string(got) != "x\n" {
		t.Errorf("%v: started %q", err, got)
	}
	if len(l.of("other")) != 1 {
		t.Error("the other collector says nothing")
	}
	if log := l.log.String(); strings.Contains(log, "level=WARN") {
		t.Error("it is told twice")
	}
}

func TestOnceASlowProgramIsWaitedForAsLongAsItMayTake(t *testing.T) {
	l := newLab(t)
	l.config.Once, l.config.startTimeout = true, 300*time.Millisecond
	l.add("a", "broken", l.dropIn("broken", "exec sleep 60"))
	s, err := Start(t.Context(), l.config)
	defer s.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.GatherAll(t.Context()); err == nil || !strings.Contains(err.Error(), "timeout while waiting for plugin to start") {
		t.Error(err)
	}
}
