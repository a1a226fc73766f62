// Package queuetest is the behaviour that every queue of the relay must show.
package queuetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/queue"
)

// Options are what a test asks of the queue that it opens.
type Options struct {
	Directory string // the same directory is the same queue
	MaxBytes  int64  // 0: no bound
	Keep      bool   // keep what was delivered
}

// Open opens an implementation. The suite closes what it opens.
type Open func(t *testing.T, o Options) queue.Queue

// patience bounds every wait of the suite.
const patience = 2 * time.Minute

// Run runs the whole suite against an implementation.
func Run(t *testing.T, open Open) {
	t.Run("what goes in comes out", func(t *testing.T) { testRoundTrip(t, open) })
	t.Run("each reader has its own place", func(t *testing.T) { testReaders(t, open) })
	t.Run("reopening resumes after what was passed", func(t *testing.T) { testReopen(t, open) })
	t.Run("rewinding returns to what was not passed", func(t *testing.T) { testRewind(t, open) })
	t.Run("reading waits", func(t *testing.T) { testWait(t, open) })
	t.Run("a new destination gets what is kept", func(t *testing.T) { testBackfill(t, open) })
	t.Run("forgetting", func(t *testing.T) { testForget(t, open) })
	t.Run("many writers", func(t *testing.T) { testConcurrent(t, open) })
	t.Run("full is refused and recovers", func(t *testing.T) { testFull(t, open) })
	t.Run("an optional destination makes way", func(t *testing.T) { testOptional(t, open) })
	t.Run("a budget is kept to", func(t *testing.T) { testBudget(t, open) })
	t.Run("closing one destination", func(t *testing.T) { testClose(t, open) })
	t.Run("closed", func(t *testing.T) { testClosed(t, open) })
}

func testRoundTrip(t *testing.T, open Open) {
	q := opened(t, open, Options{Directory: t.TempDir()})
	r := reader(t, q, "a")
	in := []*queue.Batch{
		{Target: influx.Target{Database: "db", Precision: "ns"}, Lines: 3, RawBytes: 60, Body: body("one")},
		{Target: influx.Target{Database: "db/x y", RetentionPolicy: "rp", Precision: "s"}, Lines: 1, RawBytes: 9, Body: body("two"), Received: time.Unix(1700000000, 5).UTC()},
		{Target: influx.Target{Database: "ü", Precision: "us"}, Lines: 7, RawBytes: 70000, Body: bytes.Repeat(body("three"), 3000)},
	}
	last := uint64(0)
	for _, b := range in {
		if err := q.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if b.Seq <= last || b.Received.IsZero() {
			t.Errorf("Append gave seq %d after %d, received %v", b.Seq, last, b.Received)
		}
		last = b.Seq
	}
	for _, want := range in {
		got := next(t, r)
		if !got.Received.Equal(want.Received) {
			t.Errorf("received %v, want %v", got.Received, want.Received)
		}
		got.Received = want.Received
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	wantNone(t, r)
}

func testReaders(t *testing.T, open Open) {
	q := opened(t, open, Options{Directory: t.TempDir()})
	a, b := reader(t, q, "a"), reader(t, q, "b")
	fill(t, q, 0, 5)
	passed(t, a, 0, 5)
	if got := a.Backlog(); got.Lines != 0 || got.Batches != 0 || !got.Oldest.IsZero() {
		t.Errorf("backlog of the one that has passed everything: %+v", got)
	}
	if got := b.Backlog(); got.Lines != 5 || got.Batches != 5 || got.Bytes == 0 || got.Oldest.IsZero() {
		t.Errorf("backlog of the other: %+v", got)
	}
	passed(t, b, 0, 5)
	names, err := q.Destinations()
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("destinations %q, %v", names, err)
	}
}

func testReopen(t *testing.T, open Open) {
	o := Options{Directory: t.TempDir()}
	q := opened(t, open, o)
	fillAfter(t, q, reader(t, q, "a"), 0, 3)
	lastSeq := fill(t, q, 3, 6)
	closed(t, q)

	q = opened(t, open, o)
	r := reader(t, q, "a")
	for n := 3; n < 6; n++ {
		want(t, next(t, r), n)
	}
	wantNone(t, r)
	if seq := fill(t, q, 6, 7); seq <= lastSeq {
		t.Errorf("seq %d was given again after %d", seq, lastSeq)
	}
	want(t, next(t, r), 6)
}

func testRewind(t *testing.T, open Open) {
	q := opened(t, open, Options{Directory: t.TempDir()})
	r := reader(t, q, "a")
	fill(t, q, 0, 4)
	first := next(t, r)
	next(t, r)
	if err := r.Advance(first.Seq); err != nil {
		t.Fatal(err)
	}
	next(t, r)
	r.Rewind()
	for n := 1; n < 4; n++ {
		want(t, next(t, r), n)
	}
}

func testWait(t *testing.T, open Open) {
	q := opened(t, open, Options{Directory: t.TempDir()})
	r := reader(t, q, "a")
	wantNone(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Next(ctx, new(queue.Batch)); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with an ended context: %v", err)
	}
	got := make(chan *queue.Batch, 1)
	go func() {
		b := new(queue.Batch)
		if err := r.Next(t.Context(), b); err != nil {
			t.Error(err)
		}
		got <- b
	}()
	fill(t, q, 0, 1)
	select {
	case b := <-got:
		want(t, b, 0)
	case <-time.After(patience):
		t.Fatal("Next did not see what was appended")
	}
}

func testBackfill(t *testing.T, open Open) {
	o := Options{Directory: t.TempDir(), Keep: true}
	q := opened(t, open, o)
	fill(t, q, 0, 3) // no destination yet
	fillAfter(t, q, reader(t, q, "a"), 3, 5)
	closed(t, q)

	q = opened(t, open, o)
	b := reader(t, q, "b")
	for n := range 5 {
		want(t, next(t, b), n)
	}
	n := 0
	err := q.Kept(t.Context(), func(b *queue.Batch) error {
		want(t, b, n)
		n++
		return nil
	})
	if err != nil || n != 5 {
		t.Errorf("kept %d batches, %v", n, err)
	}
}

func testForget(t *testing.T, open Open) {
	o := Options{Directory: t.TempDir(), Keep: true}
	q := opened(t, open, o)
	reader(t, q, "old")
	reader(t, q, "new")
	fill(t, q, 0, 3)
	closed(t, q)

	q = opened(t, open, o)
	reader(t, q, "new")
	if names, err := q.Destinations(); err != nil || !slices.Contains(names, "old") {
		t.Errorf("destinations %q, %v: one that was not opened is still there", names, err)
	}
	if err := q.Forget("old"); err != nil {
		t.Fatal(err)
	}
	if names, err := q.Destinations(); err != nil || slices.Contains(names, "old") {
		t.Errorf("destinations after Forget: %q, %v", names, err)
	}
}

func testConcurrent(t *testing.T, open Open) {
	q := opened(t, open, Options{Directory: t.TempDir()})
	r := reader(t, q, "a")
	const writers, each = 16, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := q.Append(t.Context(), batch(w*each+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen, last := map[string]bool{}, uint64(0)
	for range writers * each {
		b := next(t, r)
		if b.Seq <= last {
			t.Fatalf("seq %d after %d", b.Seq, last)
		}
		last, seen[string(b.Body)] = b.Seq, true
	}
	wg.Wait()
	if len(seen) != writers*each {
		t.Errorf("%d different batches of %d", len(seen), writers*each)
	}
}

func testFull(t *testing.T, open Open) {
	q := opened(t, open, Options{Directory: t.TempDir(), MaxBytes: 256 << 10})
	r := reader(t, q, "a")
	big := &queue.Batch{Target: influx.Target{Database: "db", Precision: "ns"}, Lines: 1, Body: bytes.Repeat(body("x"), 1000)}
	var err error
	appended := 0
	for ; err == nil && appended < 1000; appended++ {
		err = q.Append(t.Context(), big)
	}
	if !errors.Is(err, queue.ErrFull) {
		t.Fatalf("after %d batches: %v", appended, err)
	}
	for range appended - 1 {
		if err := r.Advance(next(t, r).Seq); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(patience)
	for err = q.Append(t.Context(), big); errors.Is(err, queue.ErrFull) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		err = q.Append(t.Context(), big)
	}
	if err != nil {
		t.Errorf("after everything was passed: %v", err)
	}
}

func testClosed(t *testing.T, open Open) {
	q := opened(t, open, Options{Directory: t.TempDir()})
	r := reader(t, q, "a")
	ended := make(chan error, 1)
	go func() { ended <- r.Next(context.Background(), new(queue.Batch)) }()
	closed(t, q)
	select {
	case err := <-ended:
		if !errors.Is(err, queue.ErrClosed) {
			t.Errorf("Next: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Next still waits")
	}
	if err := q.Append(t.Context(), batch(1)); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Append: %v", err)
	}
}

func opened(t *testing.T, open Open, o Options) queue.Queue {
	t.Helper()
	q := open(t, o)
	t.Cleanup(func() { q.Close() })
	return q
}

func closed(t *testing.T, q queue.Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func reader(t *testing.T, q queue.Queue, name string) queue.Reader {
	t.Helper()
	r, err := q.Reader(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// body is some gzip; queues do not look inside.
func body(text string) []byte { return influx.Gzip(nil, []byte(text)) }

func batch(n int) *queue.Batch {
	return &queue.Batch{
		Target: influx.Target{Database: "db", Precision: "ns"}, Lines: 1, RawBytes: 10,
		Body: body(fmt.Sprintf("m v=%d %d\n", n, n)),
	}
}

// fill appends batches from up to but not including to.
func fill(t *testing.T, q queue.Queue, from, to int) (lastSeq uint64) {
	t.Helper()
	for n := from; n < to; n++ {
		b := batch(n)
		if err := q.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		lastSeq = b.Seq
	}
	return lastSeq
}

// fillAfter fills and lets r pass everything that there is.
func fillAfter(t *testing.T, q queue.Queue, r queue.Reader, from, to int) {
	t.Helper()
	last := fill(t, q, from, to)
	for b := next(t, r); ; b = next(t, r) {
		if err := r.Advance(b.Seq); err != nil {
			t.Fatal(err)
		}
		if b.Seq == last {
			return
		}
	}
}

func passed(t *testing.T, r queue.Reader, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		b := next(t, r)
		want(t, b, n)
		if err := r.Advance(b.Seq); err != nil {
			t.Fatal(err)
		}
	}
}

func next(t *testing.T, r queue.Reader) *queue.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := new(queue.Batch)
	if err := r.Next(ctx, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func wantNone(t *testing.T, r queue.Reader) {
	t.Helper()
	if ok, err := r.TryNext(new(queue.Batch)); ok || err != nil {
		t.Errorf("TryNext at the end: %v, %v", ok, err)
	}
}

func want(t *testing.T, b *queue.Batch, n int) {
	t.Helper()
	if w := batch(n); !bytes.Equal(b.Body, w.Body) || b.Lines != 1 || b.Target != w.Target {
		t.Errorf("batch %d: %+v", n, b)
	}
}
