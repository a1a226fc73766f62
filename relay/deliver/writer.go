package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/queue"
)

// writer makes one write after the other.
type writer struct {
	destination *Destination
	sender      Sender
	limit       limit
	backoff     influx.Backoff

	joined  queue.Batch // neighbours of one target
	parts   []part      // of its body, those that are not delivered
	from    int         // where the first of them begins
	refused int         // lines that this attempt has set aside

	// The rest is guarded by the destination's mu.
	first uint64 // of parts; 0: there is none
	state State
	err   string
}

// part is a batch of the queue in a joined body.
type part struct {
	seq   uint64
	lines int
	raw   int64
	end   int
}

// collect takes at least one batch, and what follows it under the same target
// as far as the limits go. It waits for the first, and for others only if the
// last write was a moment ago.
func (w *writer) collect(ctx context.Context) error {
	d := w.destination
	d.reading.Lock()
	defer d.reading.Unlock()
	if err := d.next(ctx); err != nil {
		return err
	}
	w.joined = queue.Batch{Target: d.ahead.Target, Body: w.joined.Body[:0]}
	w.parts, w.from = w.parts[:0], 0
	w.take()
	for waited := false; ; {
		if !w.takeMore() || waited || len(w.joined.Body) >= small {
			return nil
		}
		waited = true
		d.mu.Lock()
		soon := pace - time.Since(d.began)
		d.mu.Unlock()
		if soon <= 0 || !sleep(ctx, soon) {
			return ctx.Err()
		}
	}
}

// takeMore takes what there is. It reports whether more would be taken if
// there were more.
func (w *writer) takeMore() bool {
	d := w.destination
	for {
		ok, err := d.tryNext()
		if err != nil || !ok {
			return err == nil // an error comes again
		}
		if !w.limit.fits(&w.joined, &d.ahead) {
			return false
		}
		w.take()
	}
}

// take takes what is ahead. d.reading is held.
func (w *writer) take() {
	d := w.destination
	b := &w.joined
	b.Lines += d.ahead.Lines
	b.RawBytes += d.ahead.RawBytes
	b.Body = append(b.Body, d.ahead.Body...)
	w.parts = append(w.parts, part{d.ahead.Seq, d.ahead.Lines, d.ahead.RawBytes, len(b.Body)})
	d.isAhead = false
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = d.ahead.Seq
	w.first = w.parts[0].seq
}

// deliver tries until everything that was collected is delivered. It returns an
// error only when the queue has one, or ctx ends.
func (w *writer) deliver(ctx, hard context.Context) error {
	for len(w.parts) > 0 {
		n, b := w.portion()
		w.begin()
		err := w.sender.Deliver(hard, w.joined.Target, b)
		if err == nil {
			w.backoff.Reset()
			w.limit.grow(w.destination.config.MaxBody)
			if err := w.delivered(n, b); err != nil {
				return err
			}
			continue
		}
		w.failed(ctx, err)
		if !sleep(ctx, w.backoff.Next(err)) {
			return ctx.Err()
		}
		switch {
		case tooSlow(err):
			w.limit.shrink()
		case errors.Is(err, influx.ErrUnproven): // what has come in since may tell
			w.lookAround(hard)
		}
	}
	return nil
}

// portion is as many parts as the limit allows, and one at least. It has
// shrunk, perhaps, since they were joined.
func (w *writer) portion() (n int, b influx.Batch) {
	var sum queue.Batch
	for n < len(w.parts) {
		p := &w.parts[n]
		add := queue.Batch{Lines: p.lines, RawBytes: p.raw}
		if n > 0 && !w.limit.fits(&sum, &add) {
			break
		}
		sum.Lines += p.lines
		sum.RawBytes += p.raw
		n++
	}
	return n, influx.Batch{
		Body: w.joined.Body[w.from:w.parts[n-1].end], Lines: sum.Lines,
		Suspect: w.backoff.Suspect(), TooSlow: w.backoff.TooSlow(),
	}
}

// begin notes that an attempt begins. What an earlier one has set aside comes
// again.
func (w *writer) begin() {
	w.refused = 0
	d := w.destination
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began = time.Now()
}

// lookAround adds what has come in since to a write that fails for reasons
// that nobody can tell, or, where that is for another target, shows the server
// that instead.
func (w *writer) lookAround(ctx context.Context) {
	d := w.destination
	if !d.reading.TryLock() {
		return // another writer waits for something to come in, or has it
	}
	defer d.reading.Unlock()
	if !w.takeMore() && d.isAhead {
		w.sender.Prove(ctx, d.ahead.Target, d.ahead.Body)
	}
}

// countRefused counts lines of the write under way that were set aside.
func (w *writer) countRefused(lines int) {
	w.refused += lines
	d := w.destination
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.RejectedLines += int64(lines)
}

// tooSlow reports whether a destination did not answer in time: perhaps it
// would answer a smaller write.
func tooSlow(err error) bool {
	return errors.Is(err, context.DeadlineExceeded)
}
