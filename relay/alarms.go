package main

import (
	"fmt"
	"maps"
	"path/filepath"

	"github.com/rpicluster/vitals/relay/deliver"
)

// alarms are what somebody should look at.
func (r *relay) alarms() []string {
	alarms := []string{}
	destinations := r.all()
	r.mu.Lock()
	left := maps.Clone(r.left)
	if r.refused != "" {
		alarms = append(alarms, "the node file was not read again, and everything goes on as it was: "+r.refused)
	}
	alarms = append(alarms, r.pendingAlarms()...)
	r.mu.Unlock()
	names, err := r.queue.Destinations()
	if err != nil {
		alarms = append(alarms, fmt.Sprintf("the destinations on disk cannot be listed: %v", err))
	}
	for _, name := range r.unconfigured(names) {
		what := "may have a backlog"
		if l, known := left[name]; known {
			what = fmt.Sprintf("has a backlog of %s (%s)", plural(l.Lines, "line"), size(l.Bytes))
		}
		alarms = append(alarms, fmt.Sprintf("the destination %q is not configured but %s: configure it again, or run vitals-relay destinations forget %s", name, what, name))
	}
	for _, d := range destinations {
		if s := d.Status(); s.State == deliver.Held {
			alarms = append(alarms, fmt.Sprintf("%s refuses writes until somebody acts: %s", d.name, s.Error))
		}
		if d.provisioner != nil && d.provisioner.Trouble() != "" && d.Status().State == deliver.Delivering {
			alarms = append(alarms, fmt.Sprintf("%s: %s", d.name, d.provisioner.Trouble()))
		}
		alarms = append(alarms, d.rejectedAlarms()...)
	}
	alarms = append(alarms, r.guard.Alarms()...)
	q := r.queue.Stats()
	lost := q.DroppedLines
	for _, d := range destinations {
		if n := d.Status().Backlog.DroppedLines; n > 0 && !d.config.Required {
			lost -= n
			alarms = append(alarms, fmt.Sprintf("%s: %s it has not got were dropped: it is not required, and was further behind than max_backlog, max_backlog_age or the room for it", d.name, plural(n, "line")))
		}
	}
	if lost > 0 {
		alarms = append(alarms, fmt.Sprintf("%s were dropped because the queue was full", plural(lost, "line")))
	}
	if q.DamagedFrames > 0 {
		alarms = append(alarms, fmt.Sprintf("%s of the queue could not be read back, and what they held is not delivered: look at the disk, and into %s",
			plural(q.DamagedFrames, "place"), filepath.Join(r.config.DataDirectory, "queue", "damaged")))
	}
	if low := int64(r.config.Queue.MinFreeBytes); q.FreeBytes >= 0 && q.FreeBytes < low {
		alarms = append(alarms, fmt.Sprintf("writes are refused: the disk of %s has %d MB left, less than min_free_bytes (%d MB)", r.config.DataDirectory, q.FreeBytes>>20, low>>20))
	}
	return alarms
}

// rejectedAlarms tell of lines that the destination will never store. They end
// when somebody has taken the files away.
func (d *destination) rejectedAlarms() (alarms []string) {
	if d.rejected.Present() {
		what := "lines that it refused in an earlier run"
		if n := d.Status().RejectedLines; n > 0 {
			what = plural(n, "line") + " that it refused for good"
		}
		text := fmt.Sprintf("%s: %s, set aside in %s; vitals-relay rejected show %s prints them, rejected retry sends them again, rejected drop gives them up", d.name, what, d.rejected.Directory(), d.name)
		if reason := d.rejected.LastReason(); reason != "" {
			text += "; the last reason: " + reason
		}
		alarms = append(alarms, text)
	}
	if lost := d.rejected.Lost(); lost > 0 {
		alarms = append(alarms, fmt.Sprintf("%s: %d KB of rejected lines were removed to make room for newer ones", d.name, lost>>10))
	}
	return alarms
}
