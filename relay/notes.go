package main

import (
	"fmt"

	"github.com/rpicluster/vitals/internal/durable"
)

// notes are what somebody should know who relies on this relay. Unlike alarms
// they may be as they are meant to be, in a trial say.
func (r *relay) notes() []string {
	notes := []string{}
	if why, err := durable.Volatile(r.config.DataDirectory); err == nil && why != "" {
		notes = append(notes, fmt.Sprintf("%s is on %s. That is fine for a trial; otherwise set data_directory below [relay] to a disk", r.config.DataDirectory, why))
	}
	return notes
}
