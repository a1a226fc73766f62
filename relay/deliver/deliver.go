// Package deliver brings what the queue holds to the destinations: each has
// goroutines and a place in the queue of its own, so that none waits for
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
	"github.com/rpicluster/vitals/relay/rate"
)

const (
	// pace is how long after a write the next small one begins: what comes in
	// meanwhile shares it. The first after a pause is not kept waiting.
	pace  = 20 * time.Millisecond
	small = 256 << 10 // compressed
	// grace is how long a write that is under way may take at the end.
	grace = 3 * time.Second
)

// Reader is a destination's place in the queue. Advance may be called while
// another goroutine reads.
type Reader interface {
	Next(ctx context.Context, b *queue.Batch) error
	TryNext(b *queue.Batch) (bool, error)
	Advance(seq uint64) error
	Rewind()
	Backlog() queue.Backlog
}

// Sender makes one attempt at a batch: nil means that every line of it is
// stored, or set aside with a reason. Prove shows it a batch of others, which
// comes again in its turn, to compare a failure with.
type Sender interface {
	Deliver(ctx context.Context, t influx.Target, b influx.Batch) error
	Prove(ctx context.Context, t influx.Target, body []byte)
}

// Config describes one destination.
type Config struct {
	Name     string
	URL      string // for people
	Required bool
	// InFlight is how many writes may be under way; default 1. More give up the
	// order within a key.
	InFlight int
	// MaxBody bounds what is joined into one write, inflated; default 25 MB.
	MaxBody int64
	// Wants tells whether it gets what is for a database; nil: it gets all.
	Wants  func(database string) bool
	Reader Reader
	// NewSender makes the sender of one writer, which calls refused for lines
	// that it sets aside.
	NewSender func(refused func(lines int)) Sender
	// Before is how an earlier destination of this name was doing: counting
	// goes on.
	Before Status
	Now    func() time.Time // default time.Now
	Logger *slog.Logger
}

// Destination delivers to one server.
//
//	              ┌─► writer: group ─Deliver─► 204 ─┐
//	queue ─► ready┤      ▲              │           ├─► Advance, as far as all
//	  Next        │      └── back-off ◄─┘           │   before is delivered
//	              └─► writer … (in_flight of them) ─┘
//
// What is ready was read ahead and joined, a group for each target, so that
// writers of several databases who take turns cost a write each, not one a batch.
type Destination struct {
	config  Config
	writers []*writer

	// reading is held by the writer that reads, also while it waits. It comes
	// before mu.
	reading sync.Mutex
	ahead   queue.Batch // read, and in no group yet
	isAhead bool
	spare   [][]byte // bodies to be used again

	mu      sync.Mutex
	ready   []*group  // no writer's yet, by their first parts; who changes it holds reading, too
	read    uint64    // everything up to here is in a group, or passed by
	reached uint64    // the newest that is delivered
	began   time.Time // of the last write
	status  Status
	rate    rate.Minute // of stored lines
}

// New makes a destination. Run delivers to it.
func New(config Config) *Destination {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.MaxBody == 0 {
		config.MaxBody = defaultMaxBody
	}
	s := config.Before
	s.Name, s.URL, s.Required = config.Name, config.URL, config.Required
	s.State, s.Error, s.Since = Delivering, "", time.Time{}
	d := &Destination{config: config, status: s}
	for range max(config.InFlight, 1) {
		w := &writer{destination: d, limit: newLimit(config.MaxBody), state: Delivering}
		w.sender = config.NewSender(w.countRefused)
		d.writers = append(d.writers, w)
	}
	return d
}

// Run delivers until ctx ends or the queue is closed, beginning with the first
// that is not delivered. A write that is under way then may come to its end.
func (d *Destination) Run(ctx context.Context) {
	d.config.Reader.Rewind()
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	defer stop()
	var writers sync.WaitGroup
	for _, w := range d.writers {
		writers.Go(func() { d.run(ctx, hard, w) })
	}
	writers.Wait()
}

// run lets one writer write.
func (d *Destination) run(ctx, hard context.Context, w *writer) {
	for {
		var err error
		if len(w.parts) == 0 {
			err = w.collect(ctx)
		}
		if err == nil {
			err = w.deliver(ctx, hard)
		}
		switch {
		case err == nil:
		case ctx.Err() != nil, errors.Is(err, queue.ErrClosed):
			return
		default: // the queue's disk: a later call tries again
			d.config.Logger.Error("the queue cannot be read for a destination", "destination", d.config.Name, "error", err)
			sleep(ctx, time.Second)
		}
	}
}

// next reads until something is ahead that the destination wants. d.reading is
// held.
func (d *Destination) next(ctx context.Context) error {
	for !d.isAhead {
		if err := d.config.Reader.Next(ctx, &d.ahead); err != nil {
			return err
		}
		if err := d.look(); err != nil {
			return err
		}
	}
	return nil
}

// tryNext is next without the waiting.
func (d *Destination) tryNext() (bool, error) {
	for !d.isAhead {
		if ok, err := d.config.Reader.TryNext(&d.ahead); !ok || err != nil {
			return false, err
		}
		if err := d.look(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// look passes by what is ahead if the destination does not want it.
func (d *Destination) look() error {
	if d.config.Wants == nil || d.config.Wants(d.ahead.Target.Database) {
		d.isAhead = true
		return nil
	}
	d.mu.Lock()
	d.read = d.ahead.Seq
	passed := d.passed()
	d.mu.Unlock()
	return d.config.Reader.Advance(passed)
}

// passed is up to where everything is delivered, or passed by. d.mu is held.
func (d *Destination) passed() uint64 {
	passed := d.read
	if len(d.ready) > 0 {
		passed = min(passed, d.ready[0].first-1)
	}
	for _, w := range d.writers {
		if w.first > 0 {
			passed = min(passed, w.first-1)
		}
	}
	return passed
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
