package ingest

import "time"

// recently is how long a refusal counts when nobody has tried again: who asks
// before writing would never write again otherwise.
const recently = 30 * time.Second

// trouble is why the queue takes nothing.
type trouble struct {
	err         error
	since, last time.Time
}

// remember keeps why the queue did not take a write until it takes one.
func (h *Handler) remember(err error, now time.Time) {
	was := h.trouble.Load()
	switch {
	case err != nil:
		t := &trouble{err, now, now}
		if was != nil {
			t.since = was.since
		}
		h.trouble.Store(t)
	case was != nil && h.trouble.CompareAndSwap(was, nil):
		h.config.Logger.Info("writes are accepted again", "after", now.Sub(was.since).Round(time.Second))
	}
}

// Trouble is why the queue did not take the last write, a moment ago; nil: it
// did, or nobody has tried since.
func (h *Handler) Trouble() error {
	if t := h.trouble.Load(); t != nil && h.config.Now().Sub(t.last) < recently {
		return t.err
	}
	return nil
}
