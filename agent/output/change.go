package output

import (
	"context"
	"fmt"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/influx"
)

// change is another configuration of an output, and where it leads.
type change struct {
	config config.Output
	to     destination
}

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
	select {
	case o.changes <- change{config: c, to: to}:
		return nil
	case <-ctx.Done():
		to.close()
		return fmt.Errorf("output %s is busy: %w", c.ID, context.Cause(ctx))
	}
}

// adopt makes a change on the goroutine that sends. What failed at the old
// destination need not fail at the new one.
func (o *Output) adopt(to change) {
	o.mu.Lock()
	old := o.to
	o.to, o.config.Output = to.to, to.config
	o.memory.limit, o.memory.batchLines = to.config.BufferLimit, min(to.config.BatchSize, to.config.BufferLimit)
	o.mu.Unlock()
	o.backoff = influx.Backoff{}
	old.close()
}
