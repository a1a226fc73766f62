package output

import (
	"context"
	"fmt"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/influx"
)

// Reconfigure puts another configuration of this output into effect, as soon as
// what is being sent is done. The ID, and so the buffer with all that waits in
// it, stays. Run must be running.
func (o *Output) Reconfigure(ctx context.Context, c config.Output) error {
	next := o.config
	next.Output = c
	to, err := newDestination(next, o.reject)
	if err != nil {
		return fmt.Errorf("output %s: %w", c.ID, err)
	}
	if err := o.do(ctx, func() { o.adopt(c, to) }); err != nil {
		to.close()
		return fmt.Errorf("output %s is busy: %w", c.ID, err)
	}
	return nil
}

// adopt makes a change on the goroutine that sends. What failed at the old
// destination need not fail at the new one.
func (o *Output) adopt(c config.Output, to destination) {
	o.mu.Lock()
	old := o.to
	o.to, o.config.Output = to, c
	o.bound()
	o.mu.Unlock()
	o.backoff = influx.Backoff{}
	if o.spool != nil {
		o.spool.Bound(c.BufferMaxBytes)
	}
	old.close()
}
