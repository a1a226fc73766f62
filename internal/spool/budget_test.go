package spool

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lost checks that of count frames d has either still all or has dropped them,
// the oldest, and returns how many.
func lost(t *testing.T, d *Destination, count int) int {
	t.Helper()
	numbers, _ := rest(t, d)
	gone := int(d.Backlog().DroppedLines)
	wantNumbers(t, d.name, numbers, sequence(gone, count))
	return gone
}

// What only an optional destination is owed makes way, and nobody is refused.
func TestAnOptionalDestinationMakesWay(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxBytes = 16 << 10
	s := mustOpen(t, cfg)
	a, b := mustDestination(t, s, "a"), mustDestination(t, s, "b")
	b.Limit(Budget{Optional: true})
	const count = 600
	for n := range count {
		mustAppend(t, s, n, n+1)
		passAll(t, a)
	}
	if n := lost(t, b, count); n == 0 || n > count-100 {
		t.Errorf("the optional one lost %d of %d", n, count)
	}
	if n := a.Backlog().DroppedLines; n != 0 {
		t.Errorf("the other lost %d", n)
	}
}

// A destination that must get everything is not helped by taking from others.
func TestARequiredDestinationStillFills(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxBytes = 8 << 10
	s := mustOpen(t, cfg)
	a, b := mustDestination(t, s, "a"), mustDestination(t, s, "b")
	b.Limit(Budget{Optional: true})
	var err error
	n := 0
	for ; err == nil; n++ {
		err = s.Append(context.Background(), frame(n))
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if got := lost(t, a, n-1) + lost(t, b, n-1); got != 0 {
		t.Errorf("%d were dropped", got)
	}
}

func TestABudgetOfBytes(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	a, b := mustDestination(t, s, "a"), mustDestination(t, s, "b")
	const budget, count = 16 << 10, 1500
	b.Limit(Budget{Optional: true, MaxBytes: budget})
	mustAppend(t, s, 0, count)
	eventually(t, "it is held to its budget", func() bool { return b.Backlog().Bytes <= budget })
	if n := lost(t, b, count); n == 0 || n > count-100 {
		t.Errorf("%d of %d were dropped", n, count)
	}
	if n := lost(t, a, count); n != 0 {
		t.Errorf("the other lost %d", n)
	}
	if st := s.Stats(); st.DroppedLines != b.Backlog().DroppedLines {
		t.Errorf("%d lines dropped in all", st.DroppedLines)
	}
}

// A budget is for optional destinations.
func TestARequiredDestinationHasNoBudget(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	a := mustDestination(t, s, "a")
	a.Limit(Budget{MaxBytes: 1 << 10, MaxAge: time.Nanosecond})
	mustAppend(t, s, 0, 500)
	s.holdToBudgets()
	if n := lost(t, a, 500); n != 0 {
		t.Errorf("it lost %d", n)
	}
}

func TestABudgetOfAge(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(dir)
		cfg.SegmentAge = time.Minute
		s := mustOpen(t, cfg)
		b := mustDestination(t, s, "b")
		b.Limit(Budget{Optional: true, MaxAge: time.Hour})
		mustAppend(t, s, 0, 10)
		time.Sleep(50 * time.Minute)
		mustAppend(t, s, 10, 20)
		if n := b.Backlog().Lines; n != 20 {
			t.Errorf("%d lines wait within the hour", n)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if n := lost(t, b, 20); n != 10 {
			t.Errorf("%d lines were dropped after the hour", n)
		}
		mustClose(t, s)
	})
}

// What is dropped while it is read and not passed is passed without harm.
func TestABudgetCutsWhatIsUnderWay(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	b := mustDestination(t, s, "b")
	mustAppend(t, s, 0, 100)
	var f Frame
	for range 50 {
		if err := b.Next(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
	}
	b.Limit(Budget{Optional: true, MaxBytes: 1})
	eventually(t, "all is dropped", func() bool { return b.Backlog().Bytes == 0 })
	if err := b.Advance(f.Seq); err != nil {
		t.Error(err)
	}
	b.Limit(Budget{})
	mustAppend(t, s, 100, 101)
	if err := b.Next(t.Context(), &f); err != nil || numberOf(t, &f) != 100 {
		t.Errorf("then comes %d, %v", numberOf(t, &f), err)
	}
}

// A destination that is closed keeps what it has not passed, and gets what came
// meanwhile as far as that is kept.
func TestClosingADestination(t *testing.T) {
	for _, kept := range []int64{0, 1 << 20} {
		cfg := testConfig(t.TempDir())
		cfg.KeptBytes = kept
		s := mustOpen(t, cfg)
		mustDestination(t, s, "other")
		a := mustDestination(t, s, "a")
		mustAppend(t, s, 0, 6)
		var f Frame
		for range 3 {
			if err := a.Next(t.Context(), &f); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Advance(f.Seq - 1); err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error)
		go func() {
			var f Frame
			var err error
			for err == nil {
				err = a.Next(context.Background(), &f)
			}
			waiting <- err
		}()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Errorf("who waits is told %v", err)
		}
		before := a.Backlog().Bytes
		mustAppend(t, s, 6, 9)
		if got := a.Backlog().Bytes; got != before || before == 0 {
			t.Errorf("its backlog was %d bytes and grows to %d", before, got)
		}
		again := mustDestination(t, s, "a")
		mustAppend(t, s, 9, 12)
		numbers, _ := rest(t, again)
		wantNumbers(t, "after opening again", numbers, sequence(2, 12)) // "other" holds what came meanwhile
		mustClose(t, s)
		if err := again.Close(); err != nil {
			t.Errorf("closing one of a closed spool: %v", err)
		}
	}
}

// Whoever reads while a destination is closed takes nothing away from whoever
// opens it again.
func TestClosingUnderReaders(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	mustDestination(t, s, "other")
	mustAppend(t, s, 0, 3)
	for range 300 {
		a := mustDestination(t, s, "a")
		if _, last := rest(t, a); last != 0 {
			t.Fatalf("a new destination is owed frame %d", last)
		}
		mustAppend(t, s, 0, 2)
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				var f Frame
				for {
					if _, err := a.TryNext(&f); err != nil {
						return
					}
				}
			})
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		readers.Wait()
		numbers, _ := rest(t, mustDestination(t, s, "a"))
		wantNumbers(t, "after opening again", numbers, []int{0, 1})
		if err := s.Forget("a"); err != nil {
			t.Fatal(err)
		}
	}
}
