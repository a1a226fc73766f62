package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/queue"
)

// ready says whether a write would be taken now, and if not, why. Everybody may
// ask, so no reason names a path.
func (r *relay) ready() (ok bool, reasons []string) {
	select {
	case <-r.stopping:
		return false, []string{"the relay stops"}
	default:
	}
	q, c := r.queue.Stats(), &r.config.Queue
	if low := int64(c.MinFreeBytes); q.FreeBytes >= 0 && q.FreeBytes+q.KeptBytes < low {
		reasons = append(reasons, fmt.Sprintf("the disk has %d MB left, less than min_free_bytes (%d MB)", q.FreeBytes>>20, low>>20))
	}
	if bound := int64(c.MaxBytes); c.WhenFull == "refuse" && bound > 0 && q.UndeliveredBytes >= bound {
		reasons = append(reasons, fmt.Sprintf("the queue holds %d MB that are not delivered, and max_bytes is %d MB", q.UndeliveredBytes>>20, bound>>20))
	}
	if r.guard.Blind() {
		reasons = append(reasons, "no token is known: none was made yet, or they cannot be read")
	}
	if err := r.door.Trouble(); err != nil && len(reasons) == 0 {
		reasons = append(reasons, trouble(err))
	}
	if len(reasons) > 0 {
		return false, reasons
	}
	return true, r.reservations()
}

// reservations are what is to be known of a relay that takes writes.
func (r *relay) reservations() (notes []string) {
	if why, err := durable.Volatile(r.config.DataDirectory); err == nil && why != "" {
		notes = append(notes, "the data directory is on "+why)
	}
	for _, d := range r.all() {
		if d.Status().State == deliver.Held {
			notes = append(notes, fmt.Sprintf("the destination %q takes nothing until somebody acts; its lines wait on the disk", d.name))
		}
	}
	return notes
}

// refusal is why no write would be taken now; empty if one would.
func (r *relay) refusal() string {
	ok, reasons := r.ready()
	if ok {
		return ""
	}
	return strings.Join(reasons, "; ")
}

// nobody is why nobody can write; empty if somebody can. A relay that is new is
// ready, but of no use before there is a token.
func (r *relay) nobody() string {
	if s := r.guard.Status(); s.Mode == auth.Required && s.Tokens == 0 && r.config.TLS.ClientCAFile == "" {
		return cmp.Or(r.refusal(), "no token is known yet; vitals-relay token create --node NAME makes one, vitals-relay invite lets a machine join")
	}
	return r.refusal()
}

// trouble says why the last write was not kept.
func trouble(err error) string {
	switch {
	case errors.Is(err, queue.ErrFull):
		return "the queue had no room for the last write"
	case errors.Is(err, queue.ErrNoSpace):
		return "the disk had no room for the last write"
	case errors.Is(err, queue.ErrClosed):
		return "the queue is closed"
	}
	return "the last write could not be put on the disk; the log says why"
}
