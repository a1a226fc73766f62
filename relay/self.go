package main

import (
	"context"
	"os"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/metrics"
	"github.com/rpicluster/vitals/relay/queue"
)

// figures is what /metrics shows.
func (r *relay) figures() *metrics.Source {
	return &metrics.Source{
		Status: r.status, Refusal: r.refusal, Ack: &r.acks, Commit: &r.commits,
		MaxBytes: int64(r.config.Queue.MaxBytes),
	}
}

// writeSelf writes the relay's own figures into its queue, if it is to, until
// ctx ends.
func (r *relay) writeSelf(ctx context.Context) {
	every := r.config.Self.Interval.Std()
	if every == 0 {
		return
	}
	host, err := os.Hostname()
	if err != nil {
		r.log.Error("the relay's own figures are not written", "error", err)
		return
	}
	figures := r.figures()
	for {
		now := time.Now()
		next := now.Truncate(every).Add(every)
		select {
		case <-ctx.Done():
			return
		case <-time.After(next.Sub(now)):
		}
		r.appendSelf(ctx, figures, host, next)
	}
}

func (r *relay) appendSelf(ctx context.Context, figures *metrics.Source, host string, at time.Time) {
	text, n := figures.Lines(host, at)
	p := r.config.Provision
	b := queue.Batch{
		Target: influx.Target{Database: p.Prefix + p.Database, Precision: "ns"}, Lines: n, RawBytes: int64(len(text)),
		Body: influx.Gzip(nil, text),
	}
	if err := r.queue.Append(ctx, &b); err != nil {
		r.log.Debug("the relay's own figures are left out", "error", err)
	}
}
