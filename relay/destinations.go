package main

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/relay/web"
)

// all are the destinations of this moment.
func (r *relay) all() []*destination {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.destinations)
}

// named returns the destination of that name, or nil.
func named(all []*destination, name string) *destination {
	for _, d := range all {
		if d.name == name {
			return d
		}
	}
	return nil
}

// forget gives up a destination that is no longer configured.
func (r *relay) forget(name string) error {
	r.reloading.Lock() // it might become configured
	defer r.reloading.Unlock()
	if named(r.all(), name) != nil {
		return fmt.Errorf("the destination %q is configured; remove it from the node file and reload first", name)
	}
	names, err := r.queue.Destinations()
	if err != nil {
		return err
	}
	if !slices.Contains(names, name) {
		return fmt.Errorf("there is no destination %q on disk; those that are not configured: %q", name, r.unconfigured(names))
	}
	r.log.Warn("a destination is forgotten", "destination", name)
	return r.queue.Forget(name)
}

func (r *relay) unconfigured(names []string) []string {
	all := r.all()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return named(all, name) != nil || slices.ContainsFunc(r.pending, func(p pending) bool { return p.config.Name == name })
	})
}

// listDestinations prints every destination.
func listDestinations(ctx context.Context, c *call) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var s web.Status
	if err := control.Get(ctx, "relay", "/status", &s); err != nil {
		return err
	}
	if c.json {
		return indent(c.stdout, s.Destinations)
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DESTINATION\tSTATE\tWAITING\tBYTES\tOLDEST\tPER MINUTE\tREJECTED\tDROPPED\tURL")
	for _, d := range s.Destinations {
		name, oldest := d.Name, "-"
		if !d.Required {
			name += " (optional)"
		}
		if !d.Backlog.Oldest.IsZero() {
			oldest = time.Since(d.Backlog.Oldest).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%.0f\t%d\t%d\t%s\n", name, d.State, d.Backlog.Lines, size(d.Backlog.Bytes), oldest,
			d.LinesPerMinute, d.RejectedLines, d.Backlog.DroppedLines, d.URL)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range s.Destinations {
		if d.LastError != "" {
			fmt.Fprintf(c.stdout, "%s: last error %s ago: %s\n", d.Name, time.Since(d.LastErrorAt).Round(time.Second), printable(d.LastError))
		}
	}
	return nil
}
