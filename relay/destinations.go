package main

import (
	"fmt"
	"slices"
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
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return named(all, name) != nil })
}
