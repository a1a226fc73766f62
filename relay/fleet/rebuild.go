package fleet

import (
	"context"
	"errors"
	"time"
)

// Kept walks through the writes that the relay has kept, oldest first.
type Kept func(ctx context.Context, fn func(w Write) error) error

// rebuild looks through what is kept; what comes in meanwhile is applied
// between two kept writes.
func (v *View) rebuild(ctx context.Context, kept Kept) {
	var r reader
	err := kept(ctx, func(w Write) error {
		for waiting := true; waiting; {
			select {
			case s := <-v.offered:
				v.take(s)
			default:
				waiting = false
			}
		}
		w.Received = v.before(w.Received)
		if !w.Received.After(v.restored) {
			return ctx.Err()
		}
		limit := maxSample
		if v.started.Sub(w.Received) > time.Hour {
			limit = headSample // long ago: who it was is enough
		}
		raw, err := r.inflate(w.Body, limit)
		if err == nil {
			w.Body = raw
			v.apply(w)
		}
		return ctx.Err()
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		v.config.Logger.Warn("the nodes could not all be read back from what is kept; they return with their next lines", "error", err)
	}
}
