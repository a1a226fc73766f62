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

	group       // of its parts, those that are not delivered
	from    int // where the first of them begins
	refused int // lines that this attempt has set aside

	// The rest is guarded by the destination's mu.
	first uint64 // of the parts; 0: there is none
	state State
	err   string
}

// deliver tries until everything that was collected is delivered. It returns an
// error only when the queue has one, or ctx ends.
func (w *writer) deliver(ctx, hard context.Context) error {
	for len(w.parts) > 0 {
		n, b := w.portion()
		w.begin()
		err := w.sender.Deliver(hard, w.Target, b)
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
		Body: w.Body[w.from:w.parts[n-1].end], Lines: sum.Lines,
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
// that nobody can tell, or, where there is only something for another target,
// shows the server that instead.
func (w *writer) lookAround(ctx context.Context) {
	d := w.destination
	if !d.reading.TryLock() {
		return // another writer waits for something to come in, or has it
	}
	defer d.reading.Unlock()
	parts := len(w.parts)
	d.takeMore(&w.group, &w.limit)
	switch {
	case len(w.parts) > parts:
	case len(d.ready) > 0:
		other := d.ready[0]
		w.sender.Prove(ctx, other.Target, other.Body[:other.parts[0].end])
	case d.isAhead:
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
