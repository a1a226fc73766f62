package collect

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rpicluster/vitals/agent/config"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestFirstTick(t *testing.T) {
	f := func(name, now string, s schedule, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			s.begin(at(now))
			tick, fire, skipped := s.next(at(now))
			if !tick.Equal(at(want)) || !fire.Equal(tick) || skipped != 0 {
				t.Errorf("tick %v at %v, %d skipped", tick, fire, skipped)
			}
		})
	}
	tens := schedule{interval: 10 * time.Second, aligned: true}
	f("the next multiple", "2026-01-01T12:00:03.4Z", tens, "2026-01-01T12:00:10Z")
	f("just on one leaves no time", "2026-01-01T12:00:10Z", tens, "2026-01-01T12:00:20Z")
	f("too near to get ready", "2026-01-01T12:00:09.95Z", tens, "2026-01-01T12:00:20Z")
	f("near enough", "2026-01-01T12:00:09.9Z", tens, "2026-01-01T12:00:10Z")
	f("hours", "2026-01-01T12:01:00Z", schedule{interval: time.Hour, aligned: true}, "2026-01-01T13:00:00Z")
	f("seven seconds count from the epoch", "1970-01-01T00:00:08Z", schedule{interval: 7 * time.Second, aligned: true}, "1970-01-01T00:00:14Z")
	f("before the epoch", "1969-12-31T23:59:58Z", tens, "1970-01-01T00:00:00Z")
	f("offset", "2026-01-01T12:00:03.4Z", schedule{interval: 10 * time.Second, offset: 2 * time.Second, aligned: true}, "2026-01-01T12:00:12Z")
	f("offset still ahead", "2026-01-01T12:00:00.4Z", schedule{interval: 10 * time.Second, offset: 2 * time.Second, aligned: true}, "2026-01-01T12:00:02Z")
	f("not aligned", "2026-01-01T12:00:03.4Z", schedule{interval: 10 * time.Second}, "2026-01-01T12:00:03.4Z")
	f("not aligned, offset", "2026-01-01T12:00:03Z", schedule{interval: 10 * time.Second, offset: 2 * time.Second}, "2026-01-01T12:00:05Z")
}

func TestLateTicks(t *testing.T) {
	start := at("2026-01-01T12:00:00Z")
	s := schedule{interval: time.Second, aligned: true}
	s.begin(start) // tick 0 is 12:00:01
	f := func(now, want string, wantSkipped int64) {
		t.Helper()
		tick, _, skipped := s.next(at(now))
		if !tick.Equal(at(want)) || skipped != wantSkipped {
			t.Errorf("at %s: tick %v, %d skipped", now, tick, skipped)
		}
	}
	f("2026-01-01T12:00:00Z", "2026-01-01T12:00:01Z", 0)
	f("2026-01-01T12:00:01.5Z", "2026-01-01T12:00:02Z", 0)
	f("2026-01-01T12:00:03.99Z", "2026-01-01T12:00:03Z", 0) // late, but its second is not over
	f("2026-01-01T12:00:05Z", "2026-01-01T12:00:05Z", 1)
	f("2026-01-01T12:00:05.1Z", "2026-01-01T12:00:06Z", 0)
	f("2026-01-01T12:01:00.5Z", "2026-01-01T12:01:00Z", 53)
}

func TestJitterDelaysAndDoesNotDrift(t *testing.T) {
	now := at("2026-01-01T12:00:00.5Z")
	s := schedule{interval: time.Second, jitter: 300 * time.Millisecond, aligned: true}
	s.begin(now)
	moved := false
	for i := range 50 {
		tick, fire, _ := s.next(now)
		if want := at("2026-01-01T12:00:01Z").Add(time.Duration(i) * time.Second); !tick.Equal(want) {
			t.Fatalf("tick %v, want %v", tick, want)
		}
		delay := fire.Sub(tick)
		if delay < 0 || delay >= s.jitter {
			t.Errorf("jitter of %v", delay)
		}
		moved = moved || delay > 0
		now = fire
	}
	if !moved {
		t.Error("no jitter")
	}
}

func TestStampIsNeverInTheFuture(t *testing.T) {
	f := func(tick string, precision, interval time.Duration, want string) {
		t.Helper()
		if got := stamp(at(tick), precision, interval); got != at(want).UnixNano() {
			t.Errorf("%s: %v, want %s", tick, time.Unix(0, got).UTC(), want)
		}
	}
	f("2026-01-01T12:00:01.987654321Z", 0, 10*time.Second, "2026-01-01T12:00:01Z")
	f("2026-01-01T12:00:01.987654321Z", 0, time.Second, "2026-01-01T12:00:01Z")
	f("2026-01-01T12:00:01.987654321Z", 0, 100*time.Millisecond, "2026-01-01T12:00:01.987Z")
	f("2026-01-01T12:00:01.987654321Z", 0, 100*time.Microsecond, "2026-01-01T12:00:01.987654Z")
	f("2026-01-01T12:00:01.987654321Z", 0, 1, "2026-01-01T12:00:01.987654321Z")
	f("2026-01-01T12:00:01.987654321Z", time.Minute, time.Second, "2026-01-01T12:00:00Z")
	f("1969-12-31T23:59:59.5Z", time.Second, time.Second, "1969-12-31T23:59:59Z")
}

func TestASetClockIsNoticed(t *testing.T) {
	now := at("2026-01-01T12:00:00Z")
	s := schedule{interval: time.Second, aligned: true}
	s.begin(now)
	f := func(elapsed, wall time.Duration, want bool) {
		t.Helper()
		if got := s.jumped(now.Add(elapsed), now.Add(wall)); got != want {
			t.Errorf("after %v the wall clock says %v: jumped %v", elapsed, wall, got)
		}
	}
	f(10*time.Second, 10*time.Second, false)
	f(10*time.Second, 10*time.Second+400*time.Millisecond, false)
	f(10*time.Second, 9*time.Second, true)
	f(10*time.Second, time.Hour, true)
	f(0, -time.Hour, true)
}

func TestRestartDelays(t *testing.T) {
	var b backoff
	within := func(got, lo, hi time.Duration) {
		t.Helper()
		if got < lo || got > hi {
			t.Errorf("%v is not between %v and %v", got, lo, hi)
		}
	}
	within(b.next(time.Millisecond, false), 0, 0)
	within(b.next(time.Millisecond, false), 800*time.Millisecond, 1200*time.Millisecond)
	within(b.next(time.Hour, false), 1600*time.Millisecond, 2400*time.Millisecond) // it never gathered
	for range 20 {
		b.next(time.Millisecond, true)
	}
	within(b.next(time.Millisecond, true), 4*time.Minute, 6*time.Minute)
	within(b.next(healthyAfter, true), 0, 0)
	within(b.next(time.Millisecond, true), 800*time.Millisecond, 1200*time.Millisecond)
}

// A schedule followed through a day gives every tick once, at its time.
func TestFollowingASchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		s := schedule{interval: time.Minute, aligned: true}
		s.begin(time.Now())
		in := &instance{}
		next := s.origin
		for ticks := 0; ; ticks++ {
			tick, fire, skipped := s.next(time.Now())
			if !in.await(ctx, &s, fire) {
				if ticks < 1439 {
					t.Errorf("%d ticks in a day", ticks)
				}
				return
			}
			if !tick.Equal(next) || skipped != 0 || !time.Now().Equal(tick) {
				t.Fatalf("tick %v at %v, want %v; %d skipped", tick, time.Now(), next, skipped)
			}
			next = next.Add(time.Minute)
			time.Sleep(30 * time.Second) // a gather
		}
	})
}

// Drop-ins wake at moments of their own, always the same; collectors that
// share a process wake it once.
func TestDropInsAreSpreadOut(t *testing.T) {
	moments := map[time.Duration]bool{}
	for i := range 20 {
		in := &instance{input: config.Input{ID: fmt.Sprint("input", i), Executable: "/x"}}
		p := in.phase(10 * time.Second)
		if p < 0 || p > maxPhase || p != in.phase(10*time.Second) {
			t.Errorf("%s: %v", in.input.ID, p)
		}
		moments[p] = true
	}
	if len(moments) < 10 {
		t.Errorf("20 inputs wake at %d moments", len(moments))
	}
	if p := (&instance{input: config.Input{ID: "cpu"}}).phase(10 * time.Second); p != 0 {
		t.Error(p)
	}
	if p := (&instance{input: config.Input{ID: "a", Executable: "/x"}}).phase(100 * time.Millisecond); p > 5*time.Millisecond {
		t.Error(p)
	}
}

// A clock that is set while a collector is asked counts for its answer; one that
// is corrected slowly was not set.
func TestTheClockIsSetMeanwhile(t *testing.T) {
	from := time.Now()
	to := from.Add(2 * time.Second)
	if by := wasSet(from, to); by != 0 {
		t.Error(by)
	}
	// Without a monotonic part a time is all wall clock: as if it had stood still.
	for _, by := range []time.Duration{-time.Hour, time.Hour, time.Second, -time.Second} {
		if got := between(from.Round(0), to.Round(0).Add(by), to.Sub(from)); got != by {
			t.Errorf("%v: %v", by, got)
		}
	}
	if by := between(from, to.Add(50*time.Millisecond), to.Sub(from)); by != 0 {
		t.Error(by)
	}
}
