package deliver

import (
	"context"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/queue"
)

// group is what becomes one write: batches of one target that follow each other
// in the queue, but for batches of other targets between them.
type group struct {
	queue.Batch // joined
	parts       []part
	first       uint64 // of the parts that it began with
}

// part is a batch of the queue in a joined body.
type part struct {
	seq   uint64
	lines int
	raw   int64
	end   int
}

// maxTargets bounds how many targets are read ahead at once.
const maxTargets = 100

// collect takes the next group. If none is ready it reads ahead.
func (w *writer) collect(ctx context.Context) error {
	d := w.destination
	d.reading.Lock()
	defer d.reading.Unlock()
	d.recycle(w.Body)
	w.group, w.from = group{}, 0
	if len(d.ready) == 0 && ctx.Err() == nil {
		if err := d.readAhead(ctx, &w.limit); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// At the end only those are written that something after them was written
	// before: it would come again.
	if ctx.Err() != nil && (len(d.ready) == 0 || d.ready[0].first > d.reached) {
		return ctx.Err()
	}
	w.group, w.first = *d.ready[0], d.ready[0].first
	d.ready = d.ready[1:]
	return nil
}

// readAhead makes at least one group ready. It waits for a batch, and for others
// only if the last write was a moment ago. d.reading is held.
func (d *Destination) readAhead(ctx context.Context, l *limit) error {
	if err := d.next(ctx); err != nil {
		return err
	}
	d.take(nil)
	for waited := false; ; {
		if !d.takeMore(nil, l) || waited || d.readyBytes() >= small {
			return nil
		}
		waited = true
		d.mu.Lock()
		soon := pace - time.Since(d.began)
		d.mu.Unlock()
		if soon <= 0 || !sleep(ctx, soon) {
			return nil
		}
	}
}

// takeMore takes what there is, for own, if that is given, and the groups that are
// ready. It reports whether more would be taken if there were more.
func (d *Destination) takeMore(own *group, l *limit) bool {
	for {
		ok, err := d.tryNext()
		if err != nil || !ok {
			return err == nil // an error comes again
		}
		if !d.fits(own, l) {
			return false
		}
		d.take(own)
	}
}

// fits reports whether what is ahead may be taken.
func (d *Destination) fits(own *group, l *limit) bool {
	if g := d.groupOf(own, d.ahead.Target); g != nil && !l.fits(&g.Batch, &d.ahead) || g == nil && len(d.ready) >= maxTargets {
		return false
	}
	return d.readyBytes()+len(d.ahead.Body) <= maxBytes
}

func (d *Destination) groupOf(own *group, t influx.Target) *group {
	if own != nil && own.Target == t {
		return own
	}
	for _, g := range d.ready {
		if g.Target == t {
			return g
		}
	}
	return nil
}

// readyBytes is how much has been read ahead, compressed.
func (d *Destination) readyBytes() (n int) {
	for _, g := range d.ready {
		n += len(g.Body)
	}
	return n
}

// take adds what is ahead to its group, or to a new one.
func (d *Destination) take(own *group) {
	b := &d.ahead
	g := d.groupOf(own, b.Target)
	isNew := g == nil
	if isNew {
		g = &group{Batch: queue.Batch{Target: b.Target}, first: b.Seq}
		if n := len(d.spare); n > 0 {
			g.Body, d.spare = d.spare[n-1][:0], d.spare[:n-1]
		}
	}
	g.Lines += b.Lines
	g.RawBytes += b.RawBytes
	g.Body = append(g.Body, b.Body...)
	g.parts = append(g.parts, part{b.Seq, b.Lines, b.RawBytes, len(g.Body)})
	d.isAhead = false
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = b.Seq
	if isNew {
		d.ready = append(d.ready, g)
	}
}

// recycle keeps a body that is no longer used for another group.
func (d *Destination) recycle(body []byte) {
	kept := cap(body)
	for _, b := range d.spare {
		kept += cap(b)
	}
	if cap(body) > 0 && kept <= 2*maxBytes {
		d.spare = append(d.spare, body)
	}
}
