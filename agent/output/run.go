package output

import (
	"context"
	"math/rand/v2"
	"time"
)

// Run sends until ctx ends, then delivers for a bounded time what there is,
// brings the rest to the disk, and closes the output.
func (o *Output) Run(ctx context.Context) error {
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopTimeout, cancel) })()
	timer := time.NewTimer(0) // what an earlier run has left is sent at once
	defer timer.Stop()
	for ctx.Err() == nil {
		everything := false
		select {
		case <-ctx.Done():
			continue
		case task := <-o.tasks:
			task()
			timer.Reset(0)
			continue
		case <-o.wake:
		case <-o.now:
			everything = true
		case <-timer.C:
			everything = true
		}
		if !everything && o.waits(calls) {
			continue // only the timer tries again
		}
		wait, err := o.flush(calls, everything)
		switch {
		case err != nil:
			timer.Reset(o.backoff.Next(err))
		case wait > 0:
			timer.Reset(wait)
		case everything:
			timer.Reset(o.period(time.Now()))
		}
	}
	return o.end(ctx, calls)
}

// waits reports whether nothing may be sent now. While a send fails the disk is
// the place for what comes.
func (o *Output) waits(ctx context.Context) bool {
	if o.backoff.Failures() > 0 {
		o.spill(ctx)
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.paused
}

// end makes a last attempt and closes the output. Lines that have no disk to
// wait on are not held back by a rate limit.
func (o *Output) end(ctx, calls context.Context) error {
	if o.ending = true; o.spool == nil {
		o.pace = pace{}
	}
	wait, unsent := o.flush(calls, true)
	err := o.Close(context.WithoutCancel(ctx))
	if err == nil && unsent != nil {
		o.log.Info("not everything was sent; the rest waits for the next start", "error", unsent)
	} else if err == nil && wait > 0 {
		o.log.Info("not everything was sent; the rest waits for the next start", "why", "rate_limit")
	}
	return err
}

// period is the time until the next flush: this host's place within
// flush_interval, later by the jitter.
func (o *Output) period(now time.Time) time.Duration {
	d := o.config.FlushInterval
	if o.config.Host != "" {
		d = untilPlace(now, d, o.config.Host)
	}
	if o.config.FlushJitter > 0 {
		d += rand.N(o.config.FlushJitter)
	}
	return d
}

// do has the goroutine that sends run f, as soon as what is being sent is done.
// Run must be running.
func (o *Output) do(ctx context.Context, f func()) error {
	o.asked.Add(1)
	defer o.asked.Add(-1)
	done := make(chan struct{})
	select {
	case o.tasks <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
