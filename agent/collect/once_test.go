package collect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/config"
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
	if err := s.GatherAll(t.Context()); err == nil || !strings.Contains(err.Error(), "no handshake within 300ms") {
		t.Error(err)
	}
}

func TestCheckAsksTheDropIns(t *testing.T) {
	l := newLab(t)
	wrong := func(in *config.Input) { in.JSON = []byte(`{"Wrong":"x"}`) }
	l.add("builtin", "steady", wrong) // the node file's reader has checked it
	l.add("right", "steady", l.dropIn("right", ""))
	l.add("wrong", "steady", l.dropIn("wrong", ""))
	wrong(&l.config.Inputs[2])
	l.add("broken", "broken", l.dropIn("broken", "echo out of order >&2; exit 1"))
	warnings, err := Check(t.Context(), l.config)
	if err == nil || strings.Count(err.Error(), "Wrong: is wrong") != 1 {
		t.Error(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "inputs.broken: ") || !strings.Contains(warnings[0], "it last said: out of order") {
		t.Errorf("%q", warnings)
	}
}

// A program that means its sensor, and not the instance, is not asked again and
// again until the time is over.
func TestAnAnswerOfNotFoundIsTakenTheSecondTime(t *testing.T) {
	l := newLab(t)
	l.config.Once = true
	l.add("a", "steady", nil)
	s, err := Start(t.Context(), l.config)
	defer s.Close()
	if err != nil {
		t.Fatal(err)
	}
	l.tell("a", "deny")
	if err := s.GatherAll(t.Context()); err == nil || err.Error() != "a: the sensor is not there" {
		t.Error(err)
	}
	l.untell("a", "deny")
	if err := s.GatherAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.of("a"); len(got) != 1 || !strings.Contains(string(got[0].Fields), ",gathers=3i,") {
		t.Errorf("asked more than three times for two readings: %+v", got)
	}
}
