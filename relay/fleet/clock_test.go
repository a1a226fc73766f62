package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
)

// A relay whose clock was ahead when it ran before hears its nodes from its start
// on, and not only when that time has come.
func TestAnEarlierRunWhoseClockWasAhead(t *testing.T) {
	dir := t.TempDir()
	ahead := newLabAt(t, Config{Directory: dir}, start.Add(24*time.Hour))
	ahead.write("10.0.0.1", "cpu,host=a,cpu=cpu-total usage_idle=50\nmem,host=a used_percent=1")
	ahead.write("10.0.0.2", "mem,host=forgotten used_percent=1\nmem,host=retired used_percent=1\nmem,host=silent used_percent=1")
	ahead.pass(time.Second)
	if err := ahead.Forget("forgotten"); err != nil {
		t.Fatal(err)
	}
	if err := ahead.Retire("retired"); err != nil {
		t.Fatal(err)
	}
	ahead.save()
	l := newLab(t, Config{Directory: dir})
	l.rebuild(t.Context(), func(_ context.Context, fn func(Write) error) error {
		return fn(Write{Body: influx.Gzip(nil, []byte("mem,host=a used_percent=2 1\n")), Lines: 1, Received: ahead.now.Add(time.Minute)})
	})
	for range 12 {
		l.pass(10 * time.Second)
		l.write("10.0.0.1", "cpu,host=a,cpu=cpu-total usage_idle=10\nmem,host=a used_percent=77")
		l.write("10.0.0.2", "mem,host=forgotten used_percent=1\nmem,host=retired used_percent=1")
	}
	if n := l.node("a"); n.State != Up || *n.RAMPercent != 77 || !n.LastSeen.Equal(l.now) {
		t.Errorf("what it writes is not looked at: %s, %v %%, %v", n.State, *n.RAMPercent, n.LastSeen)
	}
	for name, want := range map[string]State{"forgotten": Up, "retired": Up, "silent": Down} {
		if n, err := l.Node(name); err != nil || n.State != want {
			t.Errorf("%s is %q, not %q: %v", name, n.State, want, err)
		}
	}
	h, err := l.History("a", "cpu_percent", time.Minute)
	if last := h.Values[len(h.Values)-1]; err != nil || last == nil || *last != 90 {
		t.Errorf("its history does not go on: %v, %v", h.Values, err)
	}
}

// A clock that is set back while the relay runs stops no history.
func TestHistoryOfAClockThatIsSetBack(t *testing.T) {
	l := newLab(t, Config{})
	write := func(idle string) {
		l.write("10.0.0.1", "cpu,host=a,cpu=cpu-total usage_idle="+idle)
		l.judge(false)
	}
	write("50")
	l.pass(24 * time.Hour)
	write("50")
	blocks := l.shelf.blocks
	l.pass(-23 * time.Hour)
	l.judge(false)
	l.records["a"].seen = l.now // as by the clock that nobody sets
	l.pass(10 * time.Second)
	write("10")
	h, err := l.History("a", "cpu_percent", time.Minute)
	if last := h.Values[len(h.Values)-1]; err != nil || last == nil || *last != 90 {
		t.Errorf("%v, %v", h.Values, err)
	}
	if l.shelf.blocks != blocks {
		t.Errorf("%d hours are held, not %d", l.shelf.blocks, blocks)
	}
	if l.node("a").LinesPerMinute == 0 {
		t.Error("no lines are counted any more")
	}
}

// Where a crash has made the last events unknown, whoever has seen them is told
// what there is.
func TestEventsAfterOneThatIsNotKnown(t *testing.T) {
	l := newLab(t, Config{})
	l.pass(time.Second)
	l.write("10.0.0.1", "mem,host=a used_percent=1")
	l.judge(false)
	if list, _ := l.Events(100); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	if list, _ := l.Events(1); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// The lines that the relay writes of itself keep no node up whose agent is gone.
func TestTheRelaysOwnLinesAreNoNodes(t *testing.T) {
	l := newLab(t, Config{})
	l.write("10.0.0.1", "mem,host=primary used_percent=1")
	for range 30 {
		l.pass(10 * time.Second)
		l.write("", "vitals_relay,host=primary accepted_lines=1i\nvitals_relay_destination,destination=a,host=primary backlog_lines=0i\nvitals_relay,host=other accepted_lines=1i")
	}
	if nodes := l.Nodes(); len(nodes) != 1 || nodes[0].State != Down || nodes[0].Lines != 1 {
		t.Errorf("%+v", nodes)
	}
}
