package output

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/spool"
)

// breath is how long flush stands back for a task.
const breath = time.Millisecond

// flush sends what there is, oldest first; what is still filling only if
// everything is wanted. At the first failure it brings what memory holds to
// the disk and gives up. With wait > 0 there is more, but not now.
func (o *Output) flush(ctx context.Context, everything bool) (wait time.Duration, err error) {
	if o.config.Disk {
		o.spill(ctx) // left there while the disk was full
	}
	for {
		if o.asked.Load() > 0 && !o.ending && !o.config.Once {
			return breath, nil
		}
		if wait := o.pause(); wait > 0 {
			return wait, nil
		}
		b, ok := o.take(everything)
		if !ok {
			return 0, nil
		}
		begun := time.Now()
		err := o.to.deliver(ctx, b, &o.backoff)
		o.attempted(time.Since(begun))
		if errors.Is(err, influx.ErrUnproven) {
			o.prove(ctx, b)
		}
		if err = errors.Join(err, o.settle(b, err)); err != nil {
			o.failed(err)
			o.spill(ctx)
			return 0, err
		}
		o.delivered(b, time.Since(begun))
	}
}

// pause is how long the rate limit forbids to send.
func (o *Output) pause() time.Duration {
	wait := o.pace.wait(time.Now(), o.to.sent())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.paused = wait > 0
	return wait
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
	if age := o.config.BufferMaxAge; age > 0 {
		o.drop(DroppedAge, o.memory.dropBefore(time.Now().Add(-age)))
	}
	b, ok := o.memory.first(everything)
	o.memory.sending = ok
	return b, ok
}

// fromSpool joins frames up to the size of a batch: gzip members may stand one
// behind another.
func (o *Output) fromSpool() (batch, error) {
	var b batch
	o.mu.Lock()
	again := o.again
	o.mu.Unlock()
	for {
		if !o.isAhead {
			ok, err := o.queue.TryNext(&o.ahead)
			if err != nil || !ok {
				return b, err
			}
			o.isAhead = true
		}
		f := &o.ahead
		switch {
		case b.seq == 0 && o.tooOld(f.Received):
			if err := o.queue.Advance(f.Seq); err != nil {
				return b, err
			}
			o.mu.Lock()
			o.drop(DroppedAge, f.Lines)
			o.mu.Unlock()
			o.isAhead = false
			continue
		case b.seq == 0:
			b.oldest = f.Received
		case again > 0 && f.Seq > again:
			return b, nil
		case again == 0 && b.lines+f.Lines > o.config.BatchSize || again == 0 && b.raw+f.RawBytes > o.config.BatchBytes:
			return b, nil
		}
		b.seq = f.Seq
		b.lines += f.Lines
		b.raw += f.RawBytes
		b.body = append(b.body, f.Body...)
		o.isAhead = false
	}
}

// clockSet is a time before which no clock that was ever set can be.
var clockSet = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// tooOld reports whether a line received then is not worth sending any more.
// Of one that came before the clock was set nobody knows.
func (o *Output) tooOld(received time.Time) bool {
	age := o.config.BufferMaxAge
	return age > 0 && received.After(clockSet) && time.Since(received) > age
}

// prove shows the destination what comes after b, of which it fails every line:
// that tells whose fault it is. It comes again in its turn.
func (o *Output) prove(ctx context.Context, b batch) {
	to, ok := o.to.(interface {
		prove(ctx context.Context, body []byte)
	})
	if !ok {
		return
	}
	var body []byte
	if b.seq > 0 {
		if !o.isAhead {
			o.isAhead, _ = o.queue.TryNext(&o.ahead)
		}
		if o.isAhead {
			body = o.ahead.Body
		}
	} else {
		o.mu.Lock()
		if o.memory.seal(); len(o.memory.sealed) > 1 {
			body = o.memory.sealed[1].body
		}
		o.mu.Unlock()
	}
	if body != nil {
		to.prove(ctx, body)
	}
}

// settle forgets a batch that was delivered and puts back one that was not.
//
// One that is tried again holds the same lines: what has arrived of it, and what
// was found out about it, is known by that.
func (o *Output) settle(b batch, failure error) error {
	if b.seq == 0 {
		return o.settleMemory(failure)
	}
	o.mu.Lock()
	o.again = 0
	if failure != nil {
		o.again = b.seq
	}
	o.mu.Unlock()
	if failure != nil {
		o.rewind()
		return nil
	}
	if err := o.queue.Advance(b.seq); err != nil {
		return fmt.Errorf("note progress: %w", err)
	}
	return nil
}

func (o *Output) rewind() {
	o.queue.Rewind()
	o.isAhead = false
}

// settleMemory settles a batch of memory. If it was brought to the disk while
// it was being sent, it is the first there: nothing is sent out of memory while
// the disk holds something.
func (o *Output) settleMemory(failure error) error {
	o.moving.Lock()
	defer o.moving.Unlock()
	o.mu.Lock()
	spilled := o.spilled
	o.spilled = 0
	o.memory.sending = false
	o.again, o.memory.tried = 0, false
	switch {
	case failure != nil && spilled > 0:
		o.again = spilled
	case failure != nil:
		o.memory.tried = true
	case spilled == 0:
		o.memory.remove(1)
	}
	o.mu.Unlock()
	if spilled == 0 || failure != nil {
		return nil
	}
	var f spool.Frame
	if ok, err := o.queue.TryNext(&f); err != nil || !ok || f.Seq != spilled {
		o.rewind() // the disk can be read again, and holds something older: this is sent twice
		return err
	}
	return o.queue.Advance(spilled)
}

// spill brings everything in memory to the disk, in its order.
func (o *Output) spill(ctx context.Context) {
	if o.spool == nil {
		return
	}
	o.moving.Lock()
	defer o.moving.Unlock()
	o.mu.Lock()
	o.memory.seal()
	frames := make([]*spool.Frame, len(o.memory.sealed))
	for i, b := range o.memory.sealed {
		frames[i] = &spool.Frame{Lines: b.lines, Received: b.oldest, Body: b.body, RawBytes: b.raw}
	}
	o.memory.moving = len(frames)
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
	o.memory.moving = 0
	if err != nil {
		o.drop(DroppedMemory, o.memory.trim())
		return
	}
	if o.memory.sending {
		o.spilled, o.memory.sending = frames[0].Seq, false
	}
	if o.memory.tried {
		o.again, o.memory.tried = frames[0].Seq, false
	}
	o.memory.remove(len(frames))
}
