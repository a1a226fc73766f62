package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/queue"
)

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
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// LastError is the last there was, also when it delivers again.
	LastError      string        `json:"last_error,omitempty"`
	LastErrorAt    time.Time     `json:"last_error_at,omitzero"`
	LastDelivery   time.Time     `json:"last_delivery,omitzero"`
	Lines          int64         `json:"delivered_lines"` // stored, since the start
	LinesPerMinute float64       `json:"lines_per_minute"`
	Bytes          int64         `json:"delivered_bytes"` // compressed
	Writes         int64         `json:"writes"`
	Failures       int64         `json:"failed_writes"`
	RejectedLines  int64         `json:"rejected_lines"`
	Backlog        queue.Backlog `json:"backlog"`
}

// Status returns how the destination is doing.
func (d *Destination) Status() Status {
	backlog := d.config.Reader.Backlog()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.status
	s.Backlog = backlog
	s.LinesPerMinute = d.rate.PerMinute(d.config.Now())
	return s
}

// delivered notes that the first n parts are delivered, as b, and passes what
// can be passed.
func (w *writer) delivered(n int, b influx.Batch) error {
	d := w.destination
	now := d.config.Now()
	last := w.parts[n-1].seq
	w.from = w.parts[n-1].end
	w.parts = w.parts[n:]
	d.mu.Lock()
	w.first = 0
	if len(w.parts) > 0 {
		w.first = w.parts[0].seq
	}
	d.reached = max(d.reached, last)
	passed := d.passed()
	before := d.status
	if stored := b.Lines - w.refused; stored > 0 {
		d.status.LastDelivery = now
		d.status.Lines += int64(stored)
		d.status.Bytes += int64(len(b.Body))
		d.rate.Add(now, stored)
	}
	d.status.Writes++
	w.state, w.err = Delivering, ""
	d.judge()
	after := d.status.State
	d.mu.Unlock()
	if before.State != Delivering && after == Delivering {
		d.config.Logger.Info("a destination takes writes again", "destination", d.config.Name, "after", now.Sub(before.Since).Round(time.Second))
	}
	return d.config.Reader.Advance(passed)
}

// failed notes a failure, and logs it if it is a new one.
func (w *writer) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // it was told to end
	}
	state := Failing
	var e *influx.WriteError
	if errors.As(err, &e) && (e.Class == influx.Hold || e.Class == influx.MissingDatabase) {
		state = Held
	}
	d := w.destination
	now := d.config.Now()
	d.mu.Lock()
	before := d.status.State
	d.status.Failures++
	d.status.LastError, d.status.LastErrorAt = err.Error(), now
	if before == Delivering {
		d.status.Since = now
	}
	w.state, w.err = state, err.Error()
	d.judge()
	after := d.status.State
	d.mu.Unlock()
	switch {
	case before == after:
	case after == Held:
		d.config.Logger.Error("a destination refuses writes until somebody acts; nothing is lost meanwhile", "destination", d.config.Name, "url", d.config.URL, "error", err)
	default:
		d.config.Logger.Warn("a destination does not take writes at present; nothing is lost meanwhile", "destination", d.config.Name, "url", d.config.URL, "error", err)
	}
}

// judge makes the state of the destination of that of its writers: the worst
// counts. d.mu is held.
func (d *Destination) judge() {
	s := &d.status
	s.State, s.Error = Delivering, ""
	for _, w := range d.writers {
		if s.State == Delivering && w.state != Delivering || w.state == Held && s.State != Held {
			s.State, s.Error = w.state, w.err
		}
	}
	if s.State == Delivering {
		s.Since = time.Time{}
	}
}
