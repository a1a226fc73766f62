package collect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/config"
)

// The owner's programs expect the agent's environment and directory; the other
// collectors see neither.
func TestTheProcessOfProgramsHasTheAgentsEnvironment(t *testing.T) {
	t.Setenv("INFLUX_TOKEN", "secret")
	t.Setenv("GOGC", "77")
	l := newLab(t)
	l.add("a", "exec", func(in *config.Input) { in.Env = map[string]string{"MINE": "yes"} })
	l.add("b", "exec", nil)
	l.add("c", "steady", nil)
	for _, id := range []string{"a", "b", "c"} {
		l.tell(id, "environment")
	}
	l.start()
	for _, id := range []string{"a", "b", "c"} {
		l.more(id, 1)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	a, c := string(l.of("a")[0].Fields), string(l.of("c")[0].Fields)
	for _, want := range []string{
		"INFLUX_TOKEN=secret", "MINE=yes", "GOGC=77", "VITALS_PLUGIN_ADDED=GOMEMLIMIT,GOMAXPROCS", `directory="` + here + `"`,
	} {
		if !strings.Contains(a, want) {
			t.Errorf("%s is not in %s", want, a)
		}
	}
	if strings.Contains(c, "secret") || !strings.Contains(c, `directory="/"`) {
		t.Error(c)
	}
	if x, y, z := l.status("a"), l.status("b"), l.status("c"); x.PID == z.PID || y.PID == z.PID {
		t.Errorf("they share a process: %+v %+v %+v", x, y, z)
	}
}

// A drop-in is not trusted with the agent's environment for its name.
func TestADropInCalledExecIsADropIn(t *testing.T) {
	t.Setenv("INFLUX_TOKEN", "secret")
	l := newLab(t)
	l.add("a", "exec", l.dropIn("exec", ""))
	l.tell("a", "environment")
	l.start()
	l.more("a", 1)
	if got := string(l.of("a")[0].Fields); strings.Contains(got, "secret") {
		t.Error(got)
	}
}

func TestAStreamIsPromptedOnSchedule(t *testing.T) {
	l := newLab(t)
	l.add("a", "execd", func(in *config.Input) {
		in.JSON = []byte(`{"dir":"` + filepath.Join(l.dir, "a") + `","Prompted":true,"Patience":60000000000}`)
	})
	l.start()
	l.more("a", 3)
	if got := string(l.of("a")[0].Fields); got != "precision=1000000i" {
		t.Error(got)
	}
	if s := l.status("a"); s.State != StateStreaming || s.Errors > 0 {
		t.Errorf("%+v", s)
	}
}

// Whoever tries an input does not wait for its interval to be over.
func TestAStreamIsPromptedAtOnceWhereItIsTried(t *testing.T) {
	l := newLab(t)
	l.config.Once = true
	l.add("a", "execd", func(in *config.Input) {
		in.JSON = []byte(`{"dir":"` + filepath.Join(l.dir, "a") + `","Prompted":true}`)
		in.Interval = 24 * time.Hour
	})
	l.start()
	l.more("a", 1)
}

func TestAStreamThatDidNotAskIsNotGathered(t *testing.T) {
	l := newLab(t)
	l.add("a", "execd", nil)
	l.start()
	l.more("a", 9)
	for _, one := range l.of("a") {
		if one.Name() != "event" {
			t.Errorf("%s", one.Name())
		}
	}
}

// What an option of the collector's allows a reading is not cut short by the
// host, even beyond the next tick.
func TestACollectorsOwnTimeoutCounts(t *testing.T) {
	l := newLab(t)
	l.add("a", "exec", func(in *config.Input) {
		in.JSON = []byte(`{"dir":"` + filepath.Join(l.dir, "a") + `","Patience":60000000000}`)
		in.GatherTimeout = 100 * time.Millisecond
	})
	l.tell("a", "slow")
	l.start()
	l.more("a", 2)
	if s := l.status("a"); s.Errors > 0 || s.Skipped == 0 {
		t.Errorf("%+v", s)
	}
}
