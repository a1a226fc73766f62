package output

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rpicluster/vitals/internal/spool"
)

// flush sends what there is, oldest first; what is still filling only if
// everything is wanted. At the first failure it brings what memory holds to
// the disk and gives up.
func (o *Output) flush(ctx context.Context, everything bool) error {
	if o.config.Disk {
		o.spill(ctx) // left there while the disk was full
	}
	for {
		b, ok := o.take(everything)
		if !ok {
			return nil
		}
		begun := time.Now()
		err := o.to.deliver(ctx, b, &o.backoff)
		if err = errors.Join(err, o.settle(b, err)); err != nil {
			o.failed(err)
			o.spill(ctx)
			return err
		}
		o.delivered(b, time.Since(begun))
	}
}

// take returns the oldest batch. It stays where it is until it is settled.
func (o *Output) take(everything bool) (batch, bool) {
	if o.queue != nil {
		b, err := o.fromSpool()
		if b.seq > 0 {
			return b, true
		}
		if err != nil {
			o.failed(fmt.Errorf("read buffer: %w", err)) // memory must not wait for it
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	b, ok := o.memory.first(everything)
	o.memory.sending = ok
	return b, ok
}

// fromSpool joins frames up to the size of a batch: gzip members may stand one
// behind another.
func (o *Output) fromSpool() (batch, error) {
	var b batch
	var f spool.Frame
	for b.lines < o.config.BatchSize && len(b.body) < maxBatchBytes {
		ok, err := o.queue.TryNext(&f)
		if err != nil || !ok {
			return b, err
		}
		if b.seq == 0 {
			b.oldest = f.Received
		}
		b.seq = f.Seq
		b.lines += f.Lines
		b.body = append(b.body, f.Body...)
	}
	return b, nil
}

// settle forgets a batch that was delivered and puts back one that was not.
func (o *Output) settle(b batch, failure error) error {
	if b.seq > 0 {
		if failure != nil {
			o.queue.Rewind()
			return nil
		}
		if err := o.queue.Advance(b.seq); err != nil {
			return fmt.Errorf("note progress: %w", err)
		}
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.memory.sending = false
	if failure == nil {
		o.memory.remove(1)
	}
	return nil
}

// spill brings everything in memory to the disk, in its order.
func (o *Output) spill(ctx context.Context) {
	if o.spool == nil {
		return
	}
	o.mu.Lock()
	o.memory.seal()
	frames := make([]*spool.Frame, len(o.memory.sealed))
	for i, b := range o.memory.sealed {
		frames[i] = &spool.Frame{Lines: b.lines, Received: b.oldest, Body: b.body, RawBytes: b.raw}
	}
	o.mu.Unlock()
	if len(frames) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	err := o.spool.Append(ctx, frames...)
	o.disk(err)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.memory.remove(len(frames))
		return
	}
	o.drop(o.memory.trim())
}
