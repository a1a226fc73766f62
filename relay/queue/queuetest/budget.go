package queuetest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/queue"
)

func big() *queue.Batch {
	return &queue.Batch{Target: influx.Target{Database: "db", Precision: "ns"}, Lines: 1, Body: bytes.Repeat(body("x"), 1000)}
}

// testOptional lets an optional destination stand still. Nobody is refused, a
// destination that moves loses nothing, and what the other loses is counted.
func testOptional(t *testing.T, open Open) {
	q := opened(t, open, Options{Directory: t.TempDir(), MaxBytes: 512 << 10})
	needed, optional := reader(t, q, "needed"), reader(t, q, "optional")
	optional.Limit(queue.Budget{Optional: true})
	const batches = 200 // several times what fits
	for n := range batches {
		if err := q.Append(t.Context(), big()); err != nil {
			t.Fatalf("batch %d is refused: %v", n, err)
		}
		if err := needed.Advance(next(t, needed).Seq); err != nil {
			t.Fatal(err)
		}
	}
	if n := needed.Backlog().DroppedLines; n != 0 {
		t.Errorf("the one that moves lost %d lines", n)
	}
	countRest(t, optional, batches)
}

// testBudget holds an optional destination to a budget of its own.
func testBudget(t *testing.T, open Open) {
	q := opened(t, open, Options{Directory: t.TempDir()})
	r := reader(t, q, "optional")
	const batches, budget = 200, 512 << 10
	r.Limit(queue.Budget{Optional: true, MaxBytes: budget})
	for range batches {
		if err := q.Append(t.Context(), big()); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(patience)
	for r.Backlog().Bytes > budget {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes wait, with a budget of %d", r.Backlog().Bytes, budget)
		}
		time.Sleep(10 * time.Millisecond)
	}
	countRest(t, r, batches)
}

// countRest reads all that a destination has, and fails unless that and what it
// has lost are all that there was, and neither is nothing.
func countRest(t *testing.T, r queue.Reader, batches int) {
	t.Helper()
	left, last := 0, uint64(0)
	for {
		var b queue.Batch
		ok, err := r.TryNext(&b)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if b.Seq <= last {
			t.Fatalf("seq %d after %d", b.Seq, last)
		}
		left, last = left+1, b.Seq
	}
	dropped := int(r.Backlog().DroppedLines)
	if left+dropped != batches || left == 0 || dropped == 0 {
		t.Errorf("%d batches are left and %d were dropped, of %d", left, dropped, batches)
	}
}

// testClose closes one destination and opens it again.
func testClose(t *testing.T, open Open) {
	q := opened(t, open, Options{Directory: t.TempDir(), Keep: true})
	reader(t, q, "other")
	r := reader(t, q, "a")
	fill(t, q, 0, 4)
	passed(t, r, 0, 2)
	next(t, r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Next(t.Context(), new(queue.Batch)); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
	before := r.Backlog().Lines
	fill(t, q, 4, 6)
	if got := r.Backlog().Lines; got != before || before != 2 {
		t.Errorf("%d lines wait for what is closed, then %d; want 2", before, got)
	}
	r = reader(t, q, "a")
	fill(t, q, 6, 7)
	for n := 2; n < 7; n++ {
		want(t, next(t, r), n)
	}
	wantNone(t, r)
}
