package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/relay/config"
)

// left is what a destination had not got when the relay stopped.
type left struct {
	Lines int64 `json:"lines"`
	Bytes int64 `json:"bytes"`
}

// leftFile is where that is written at a clean stop. While the relay runs it
// tells of unconfigured destinations only: nothing is added to those.
func (r *relay) leftFile() string { return filepath.Join(r.config.DataDirectory, "left.json") }

// readLeft finds out what the destinations that are no longer configured have
// not got, and forgets those for which that is nothing. One that is not in the
// file, as after a crash, stays.
func (r *relay) readLeft() error {
	var all map[string]left
	if data, err := os.ReadFile(r.leftFile()); err == nil {
		if err := json.Unmarshal(data, &all); err != nil {
			all = nil
		}
	}
	names, err := r.queue.Destinations()
	if err != nil {
		return err
	}
	configured := func(name string) bool {
		return slices.ContainsFunc(r.config.Destinations, func(d config.Destination) bool { return d.Name == name })
	}
	r.left = map[string]left{}
	for _, name := range names {
		l, known := all[name]
		switch {
		case !known || configured(name):
		case l.Bytes > 0:
			r.left[name] = l
		default:
			r.log.Debug("a destination that is not configured and has everything is forgotten", "destination", name)
			if err := r.queue.Forget(name); err != nil { // for want of disk: it stays, with an alarm
				r.log.Warn("a destination that is not configured and has everything cannot be forgotten", "destination", name, "error", err)
				r.left[name] = l
			}
		}
	}
	if err := durable.WriteJSON(r.leftFile(), r.left); err != nil {
		// What it says of the configured ones is not true for long.
		if err := os.Remove(r.leftFile()); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// writeLeft notes what every destination has not got, after the last write.
func (r *relay) writeLeft() error {
	names, err := r.queue.Destinations()
	if err != nil {
		return err
	}
	all := map[string]left{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, l := range r.left {
		if slices.Contains(names, name) { // else it was forgotten meanwhile
			all[name] = l
		}
	}
	for _, d := range r.destinations {
		b := d.Status().Backlog
		all[d.name] = left{b.Lines, b.Bytes}
	}
	return durable.WriteJSON(r.leftFile(), all)
}
