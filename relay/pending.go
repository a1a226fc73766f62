package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rpicluster/vitals/relay/config"
)

// pending is a destination for which the queue could not make a place, for want
// of disk. The relay works without it, and tries again.
type pending struct {
	config config.Destination
	err    error
}

// tryPending is how often that is.
const tryPending = 5 * time.Second

// wait notes a destination that could not be made. r.mu is not held.
func (r *relay) wait(c config.Destination, err error) {
	r.log.Error("a destination cannot be added yet; it is tried again", "destination", c.Name, "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(r.pending, pending{c, err})
}

// addPending tries again to make the destinations that could not be made. What
// it starts ends with ctx.
func (r *relay) addPending(ctx context.Context) {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	r.mu.Lock()
	waiting := slices.Clone(r.pending)
	r.mu.Unlock()
	if r.closed || ctx.Err() != nil {
		return
	}
	for _, p := range waiting {
		d, err := r.makeDestination(p.config)
		r.mu.Lock()
		i := slices.IndexFunc(r.pending, func(o pending) bool { return o.config.Name == p.config.Name })
		if err != nil {
			r.pending[i].err = err
		} else {
			r.pending = slices.Delete(r.pending, i, i+1)
			r.destinations = append(r.destinations, d)
		}
		r.mu.Unlock()
		if err == nil {
			d.start(ctx)
			r.log.Info("a destination is added", "destination", d.name)
		}
	}
}

func (r *relay) makeDestination(c config.Destination) (*destination, error) {
	client, err := r.newClient(c)
	if err != nil {
		return nil, err
	}
	d, err := r.newDestination(c, client, nil)
	if err != nil {
		client.Close()
	}
	return d, err
}

// keepAdding does so until ctx ends.
func (r *relay) keepAdding(ctx context.Context) {
	tick := time.NewTicker(tryPending)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.addPending(ctx)
		}
	}
}

// pendingAlarms tell of them. r.mu is held.
func (r *relay) pendingAlarms() (alarms []string) {
	for _, p := range r.pending {
		alarms = append(alarms, fmt.Sprintf("%s cannot be added: %v; it is tried again, and gets what is kept until then (kept_bytes, kept_age)", p.config.Name, p.err))
	}
	return alarms
}
