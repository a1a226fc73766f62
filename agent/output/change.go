package output

import (
	"context"
	"fmt"
	"reflect"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/influx"
)

// Reconfigure puts another configuration of this output into effect, as soon as
// what is being sent is done. The ID, and so the buffer with all that waits in
// it, stays. Run must be running.
func (o *Output) Reconfigure(ctx context.Context, c config.Output) error {
	o.mu.Lock()
	next := o.config
	o.mu.Unlock()
	var to destination
	if !sameDestination(next.Output, c) {
		var err error
		next.Output = c
		if to, err = newDestination(next, o.reject); err != nil {
			return fmt.Errorf("output %s: %w", c.ID, err)
		}
	}
	if err := o.do(ctx, func() { o.adopt(c, to) }); err != nil {
		if to != nil {
			to.close()
		}
		return fmt.Errorf("output %s is busy: %w", c.ID, err)
	}
	return nil
}

// sameDestination reports whether two configurations differ in how lines are
// kept only, and not in where they go. What the destination knows of a batch
// that is stored in part then stays known.
func sameDestination(a, b config.Output) bool {
	for _, c := range []*config.Output{&a, &b} {
		c.FlushInterval, c.FlushJitter, c.BatchSize, c.BufferLimit, c.BatchBytes = 0, 0, 0, 0, 0
		c.BufferMaxBytes, c.BufferMaxAge, c.RateLimit, c.RatePeriod = 0, 0, 0, 0
	}
	return reflect.DeepEqual(a, b)
}

// adopt makes a change on the goroutine that sends. What failed at the old
// destination need not fail at the new one; without a new one the old one stays.
func (o *Output) adopt(c config.Output, to destination) {
	o.mu.Lock()
	old := o.to
	if to != nil {
		o.to = to
	}
	o.config.Output = c
	o.bound()
	o.mu.Unlock()
	if o.spool != nil {
		o.spool.Bound(c.BufferMaxBytes)
	}
	if to != nil {
		o.backoff = influx.Backoff{}
		old.close()
	}
}
