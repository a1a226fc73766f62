// Package deliver brings what the queue holds to the destinations: each has a
// goroutine and a place in the queue of its own, so that none waits for
// another.
package deliver

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/queue"
)

// What one write may hold, inflated: InfluxDB takes 25 MB.
const (
	maxRawBytes = 20_000_000
	maxBytes    = 8 << 20 // compressed
	maxLines    = 100_000
	// pace is how long after a write the next small one begins: what comes in
	// meanwhile shares it. The first after a pause is not kept waiting.
	pace  = 20 * time.Millisecond
	small = 256 << 10 // compressed
	// grace is how long a write that is under way may take at the end.
	grace = 3 * time.Second
)

// Reader is a destination's place in the queue.
type Reader interface {
	Next(ctx context.Context, b *queue.Batch) error
	TryNext(b *queue.Batch) (bool, error)
	Advance(seq uint64) error
	Rewind()
	Backlog() queue.Backlog
}

// Sender makes one attempt at a batch: nil means that every line of it is
// stored, or set aside with a reason.
type Sender interface {
	Deliver(ctx context.Context, t influx.Target, b influx.Batch) error
}

// Config describes one destination.
type Config struct {
	Name     string
	URL      string // for people
	Required bool
	Reader   Reader
	Sender   Sender
	Now      func() time.Time // default time.Now
	Logger   *slog.Logger
}

// Destination delivers to one server.
//
//	queue ─Next─► ahead ─same key?─► joined ─Deliver─► 204 ─► Advance
//	                                   ▲                │
//	                                   └── back-off ◄───┘ anything else
type Destination struct {
	config Config
	limit  limit

	ahead   queue.Batch // read, and not in joined
	isAhead bool
	joined  queue.Batch // of one target; Seq is the last one's
	began   time.Time   // of the last write
	backoff influx.Backoff

	mu      sync.Mutex
	status  Status
	refused int64 // lines of joined that this attempt has set aside
}

// State is what a destination does.
type State string

// The states of a destination.
const (
	Delivering State = "ok"
	Failing    State = "failing" // it is tried again and again
	Held       State = "held"    // … but somebody has to act first
)

// Status is how a destination is doing.
type Status struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	Required bool   `json:"required"`
	State    State  `json:"state"`
	// Error is why it fails; Since is since when.
	Error         string        `json:"error,omitempty"`
	Since         time.Time     `json:"since,omitzero"`
	LastDelivery  time.Time     `json:"last_delivery,omitzero"`
	Lines         int64         `json:"delivered_lines"` // stored, since the start
	Bytes         int64         `json:"delivered_bytes"` // compressed
	Writes        int64         `json:"writes"`
	Failures      int64         `json:"failed_writes"`
	RejectedLines int64         `json:"rejected_lines"`
	Backlog       queue.Backlog `json:"backlog"`
}

// New makes a destination. Run delivers to it.
func New(config Config) *Destination {
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Destination{
		config: config, limit: limit{lines: maxLines, rawBytes: maxRawBytes},
		status: Status{Name: config.Name, URL: config.URL, Required: config.Required, State: Delivering},
	}
}

// Status returns how the destination is doing.
func (d *Destination) Status() Status {
	backlog := d.config.Reader.Backlog()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.status
	s.Backlog = backlog
	return s
}

// CountRejected counts lines of the write under way that were set aside.
func (d *Destination) CountRejected(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused += int64(n)
	d.status.RejectedLines += int64(n)
}

// Run delivers until ctx ends or the queue is closed. A write that is under
// way then may come to its end.
func (d *Destination) Run(ctx context.Context) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	defer stop()
	for ctx.Err() == nil {
		err := d.collect(ctx)
		if err == nil {
			err = d.deliver(ctx, hard)
		}
		switch {
		case err == nil, ctx.Err() != nil:
		case errors.Is(err, queue.ErrClosed):
			return
		default: // the queue's disk: what was read and not passed comes again
			d.config.Logger.Error("the queue cannot be read for a destination", "destination", d.config.Name, "error", err)
			d.restart()
			sleep(ctx, time.Second)
		}
	}
}

// restart goes back to what is not delivered.
func (d *Destination) restart() {
	d.isAhead = false
	d.config.Reader.Rewind()
}

// collect fills joined with at least one batch, and with what follows it under
// the same target as far as the limits go. It waits for the first, and for
// others only if the last write was a moment ago.
func (d *Destination) collect(ctx context.Context) error {
	if !d.isAhead {
		if err := d.config.Reader.Next(ctx, &d.ahead); err != nil {
			return err
		}
	}
	body := d.joined.Body[:0]
	d.joined = d.ahead
	d.joined.Body = append(body, d.ahead.Body...)
	for waited := false; ; {
		var err error
		d.isAhead, err = d.config.Reader.TryNext(&d.ahead)
		if err != nil || d.isAhead && !d.limit.fits(&d.joined, &d.ahead) {
			return err
		}
		if !d.isAhead {
			soon := pace - time.Since(d.began)
			if waited || soon <= 0 || len(d.joined.Body) >= small {
				return nil
			}
			waited = true
			if !sleep(ctx, soon) {
				return ctx.Err()
			}
			continue
		}
		d.joined.Seq = d.ahead.Seq
		d.joined.Lines += d.ahead.Lines
		d.joined.RawBytes += d.ahead.RawBytes
		d.joined.Body = append(d.joined.Body, d.ahead.Body...)
	}
}

// limit bounds what is joined into one write. It shrinks while a destination
// does not answer in time and grows back when it does.
type limit struct {
	lines    int
	rawBytes int64
}

func (l *limit) fits(a, b *queue.Batch) bool {
	return a.Target == b.Target && a.Lines+b.Lines <= l.lines &&
		a.RawBytes+b.RawBytes <= l.rawBytes && len(a.Body)+len(b.Body) <= maxBytes
}

func (l *limit) shrink() {
	l.lines, l.rawBytes = max(l.lines/2, 1000), max(l.rawBytes/2, 100_000)
}

func (l *limit) grow() {
	l.lines, l.rawBytes = min(l.lines*2, maxLines), min(l.rawBytes*2, maxRawBytes)
}

// deliver tries until joined is delivered, or something else should be tried:
// a smaller write, or one of more lines. It returns an error only when the
// queue has one, or ctx ends.
func (d *Destination) deliver(ctx, hard context.Context) error {
	for {
		d.began = time.Now()
		err := d.config.Sender.Deliver(hard, d.joined.Target, influx.Batch{
			Body: d.joined.Body, Lines: d.joined.Lines, Suspect: d.backoff.Suspect(), TooSlow: d.backoff.TooSlow(),
		})
		if err == nil {
			d.backoff.Reset()
			d.delivered()
			d.limit.grow()
			return d.config.Reader.Advance(d.joined.Seq)
		}
		d.failed(ctx, err)
		if !sleep(ctx, d.backoff.Next(err)) {
			return ctx.Err()
		}
		switch {
		case tooSlow(err) && d.limit.lines > 1000:
			d.limit.shrink()
			d.restart()
			return nil
		case errors.Is(err, influx.ErrUnproven): // what has come in since may tell
			d.restart()
			return nil
		}
	}
}

// tooSlow reports whether a destination did not answer in time: perhaps it
// would answer a smaller write.
func tooSlow(err error) bool {
	return errors.Is(err, context.DeadlineExceeded)
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// begin begins an attempt: what an earlier one has set aside comes again.
func (d *Destination) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = 0
}

func (d *Destination) delivered() {
	now := d.config.Now()
	d.mu.Lock()
	before := d.status
	s := &d.status
	s.State, s.Error, s.Since = Delivering, "", time.Time{}
	if stored := int64(d.joined.Lines) - d.refused; stored > 0 {
		s.LastDelivery = now
		s.Lines += stored
		s.Bytes += int64(len(d.joined.Body))
	}
	s.Writes++
	d.mu.Unlock()
	if before.State != Delivering {
		d.config.Logger.Info("a destination takes writes again", "destination", d.config.Name, "after", now.Sub(before.Since).Round(time.Second))
	}
}

// failed notes a failure, and logs it if it is a new one.
func (d *Destination) failed(ctx context.Context, err error) {
	state := Failing
	var e *influx.WriteError
	if errors.As(err, &e) && (e.Class == influx.Hold || e.Class == influx.MissingDatabase) {
		state = Held
	}
	d.mu.Lock()
	before := d.status
	s := &d.status
	s.State, s.Error = state, err.Error()
	s.Failures++
	if before.State == Delivering {
		s.Since = d.config.Now()
	}
	d.mu.Unlock()
	switch {
	case before.State == state || ctx.Err() != nil:
	case state == Held:
		d.config.Logger.Error("a destination refuses writes until somebody acts; nothing is lost meanwhile", "destination", d.config.Name, "url", d.config.URL, "error", err)
	default:
		d.config.Logger.Warn("a destination does not take writes at present; nothing is lost meanwhile", "destination", d.config.Name, "url", d.config.URL, "error", err)
	}
}
