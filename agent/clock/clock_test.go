package clock

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// machine is one whose clock a test sets.
type machine struct {
	*Gate
	t       *testing.T
	wall    time.Duration
	boot    time.Duration
	known   bool
	arrived []string // since they were last looked at
}

// boot starts a machine that thinks that it is this time.
func boot(t *testing.T, at string, s Settings) *machine {
	t.Helper()
	m := &machine{t: t, wall: since1970(t, at), boot: 20 * time.Second}
	sink := func(_ context.Context, lines []byte, n int) {
		got := strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n")
		if len(got) != n {
			t.Errorf("%d lines are said to be %d", len(got), n)
		}
		m.arrived = append(m.arrived, got...)
	}
	m.Gate = New(s, Source{
		Now:   func() (time.Duration, time.Duration) { return m.wall, m.boot },
		Known: func() bool { return m.known },
	}, sink, slog.New(slog.DiscardHandler))
	return m
}

func since1970(t *testing.T, at string) time.Duration {
	t.Helper()
	when, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(when.UnixNano())
}

// pass lets time pass.
func (m *machine) pass(d time.Duration) { m.wall, m.boot = m.wall+d, m.boot+d }

// set sets the wall clock.
func (m *machine) set(at string) { m.wall = since1970(m.t, at) }

// gather delivers a line that is stamped now.
func (m *machine) gather(name string) {
	m.Deliver(m.t.Context(), fmt.Appendf(nil, "m,i=%s v=1 %d\n", name, m.wall), 1)
}

// wants looks at what has arrived: lines with their timestamps written out.
func (m *machine) wants(want ...string) {
	m.t.Helper()
	var got []string
	for _, l := range m.arrived {
		var nano int64
		key, stamp := l[:strings.LastIndex(l, " ")], l[strings.LastIndex(l, " ")+1:]
		if _, err := fmt.Sscan(stamp, &nano); err != nil {
			m.t.Fatal(l, err)
		}
		got = append(got, key+" "+time.Unix(0, nano).UTC().Format(time.RFC3339Nano))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Error(diff)
	}
	m.arrived = nil
}

var quarter = Settings{Hold: 15 * time.Minute, Lines: 100}

// What was gathered under a wrong time is held, and moved to the right one,
// once, in its order.
func TestLinesAreMovedToTheTime(t *testing.T) {
	m := boot(t, "1970-01-01T00:00:10Z", quarter)
	m.gather("a")
	m.pass(10 * time.Second)
	m.look(t.Context())
	m.gather("b")
	m.wants()
	if got := m.Doubt(); !strings.Contains(got, "2 lines wait for it, 14m30s at most") {
		t.Error(got)
	}
	m.set("2026-01-01T12:00:00.9Z") // not yet known to be right
	m.gather("c")
	m.wants()
	m.pass(10 * time.Second)
	m.set("2026-01-01T13:00:10.2Z")
	m.known = true
	if !m.look(t.Context()) || m.Doubt() != "" {
		t.Error(m.Doubt())
	}
	m.wants(
		"m,i=a v=1 2026-01-01T12:59:50Z",
		"m,i=b v=1 2026-01-01T13:00:00Z",
		"m,i=c v=1 2026-01-01T12:59:59.9Z",
	)
	m.gather("d")
	m.wants("m,i=d v=1 2026-01-01T13:00:10.2Z")
	m.set("1980-01-01T00:00:00Z") // whoever does that means it
	m.known = false
	m.look(t.Context())
	m.gather("e")
	m.wants("m,i=e v=1 1980-01-01T00:00:00Z")
}

// A clock that turns out to have been right, and one that was not far back.
func TestSmallCorrections(t *testing.T) {
	f := func(set, want string) {
		t.Helper()
		m := boot(t, "2026-01-01T12:00:00Z", quarter)
		m.gather("a")
		m.set(set)
		m.known = true
		m.look(t.Context())
		m.wants("m,i=a v=1 " + want)
	}
	f("2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z")
	f("2026-01-01T12:00:00.9Z", "2026-01-01T12:00:00Z")
	f("2026-01-01T12:00:01.1Z", "2026-01-01T12:00:01Z")
	f("2026-01-01T11:59:59.9Z", "2026-01-01T11:59:59Z") // never into the future
	f("2026-01-01T11:59:57Z", "2026-01-01T11:59:57Z")
}

// The time that a source has given is right, whatever the clock says.
func TestTimesOfOthersStay(t *testing.T) {
	m := boot(t, "1970-01-01T00:00:10Z", quarter)
	m.Deliver(t.Context(), []byte("x,q=\"\\ \" s=\"a\nb\" 1767268800000000000\nx s=\"a\nb\" 5000000000\nx v=1 -9223372036854775806\n"), 3)
	m.set("2026-01-01T12:00:10Z")
	m.known = true
	var got string
	m.next = func(_ context.Context, lines []byte, n int) { got += fmt.Sprint(n, "\n", string(lines)) }
	m.look(t.Context())
	want := "3\nx,q=\"\\ \" s=\"a\nb\" 1767268800000000000\nx s=\"a\nb\" 1767268805000000000\nx v=1 -9223372036854775806\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Where nobody tells the time lines are sent all the same, and say so.
func TestATimeThatIsNeverKnown(t *testing.T) {
	m := boot(t, "2025-12-31T23:00:00Z", quarter)
	m.gather("a")
	m.pass(14 * time.Minute)
	m.look(t.Context())
	m.wants()
	m.pass(time.Minute)
	m.look(t.Context())
	m.wants("m,clock=unsynced,i=a v=1 2025-12-31T23:00:00Z")
	m.gather("b")
	m.wants("m,clock=unsynced,i=b v=1 2025-12-31T23:15:00Z")
	if got := m.Doubt(); !strings.Contains(got, "tagged clock=unsynced") {
		t.Error(got)
	}
	m.known = true
	m.set("2026-01-01T12:00:00Z")
	m.look(t.Context())
	m.wants() // what was sent is never changed
	m.gather("c")
	m.wants("m,i=c v=1 2026-01-01T12:00:00Z")
}

// An agent that is started later does not wait again.
func TestHoldingIsCountedFromBoot(t *testing.T) {
	m := boot(t, "2025-12-31T23:00:00Z", Settings{Hold: 10 * time.Second, Lines: 100})
	m.gather("a")
	m.wants("m,clock=unsynced,i=a v=1 2025-12-31T23:00:00Z")
}

// What is held is bounded, in lines and in bytes; the oldest go first.
func TestWhatIsHeldIsBounded(t *testing.T) {
	m := boot(t, "1970-01-01T00:00:00Z", Settings{Hold: time.Hour, Lines: 2})
	for _, name := range []string{"a", "b", "c"} {
		m.gather(name)
	}
	m.wants("m,clock=unsynced,i=a v=1 1970-01-01T00:00:00Z")
	m = boot(t, "1970-01-01T00:00:00Z", Settings{Hold: time.Hour, Lines: 100})
	for _, name := range []string{"a", "b", strings.Repeat("c", maxBytes-15)} {
		m.gather(name)
	}
	m.wants("m,clock=unsynced,i=a v=1 1970-01-01T00:00:00Z", "m,clock=unsynced,i=b v=1 1970-01-01T00:00:00Z")
}

// Much that was held is passed on in parts.
func TestWhatWasHeldComesInParts(t *testing.T) {
	m := boot(t, "1970-01-01T00:00:00Z", Settings{Hold: time.Hour, Lines: 1e6})
	const all = 50000
	for range all {
		m.gather("a")
	}
	parts, lines := 0, 0
	m.next = func(_ context.Context, text []byte, n int) {
		parts, lines = parts+1, lines+n
		if len(text) > passBytes+100 {
			t.Error(len(text), "bytes at once")
		}
	}
	m.known = true
	m.look(t.Context())
	if lines != all || parts < 2 || m.bytes != 0 || m.lines != 0 {
		t.Errorf("%d lines in %d parts; %d lines are left", lines, parts, m.lines)
	}
}

// Nothing stays behind in an agent that ends.
func TestCloseLetsGo(t *testing.T) {
	m := boot(t, "1970-01-01T00:00:00Z", quarter)
	m.gather("a")
	m.Close(t.Context())
	m.gather("b")
	m.wants("m,clock=unsynced,i=a v=1 1970-01-01T00:00:00Z", "m,clock=unsynced,i=b v=1 1970-01-01T00:00:00Z")
}

// The operator's word counts, at once.
func TestAClockThatIsTrusted(t *testing.T) {
	m := boot(t, "2026-01-01T00:00:00Z", quarter)
	m.gather("a")
	m.wants()
	m.Set(t.Context(), Settings{Trust: true, Lines: 100})
	m.wants("m,i=a v=1 2026-01-01T00:00:00Z")
}

// Run ends when there is no more to look for.
func TestRunLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := boot(t, "1970-01-01T00:00:00Z", quarter)
		m.gather("a")
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Run(t.Context())
		}()
		time.Sleep(10 * time.Second)
		m.mu.Lock()
		m.known, m.wall = true, since1970(t, "2026-01-01T00:00:00Z")
		m.mu.Unlock()
		<-done
		m.wants("m,i=a v=1 2026-01-01T00:00:00Z")
	})
}
