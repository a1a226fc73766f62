package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// calmTime is how long a warning or an error that was logged is not logged
	// again.
	calmTime = time.Minute
	// mostRepeats bounds how many are remembered.
	mostRepeats = 1000
)

// calmHandler logs a warning or an error that repeats itself word for word once
// a minute, with how often it came. What fails every second does not flood the
// log.
type calmHandler struct {
	next  slog.Handler
	attrs string // that every record has
	said  *repeats
}

type repeats struct {
	now func() time.Time

	mu   sync.Mutex
	last map[string]*repeat
}

type repeat struct {
	at   time.Time // last logged
	more int       // times since then
}

// Enabled leaves the choice of levels to others.
func (h *calmHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle passes on what is new, or is due again.
func (h *calmHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.next.Handle(ctx, r)
	}
	var key strings.Builder
	key.WriteString(r.Level.String() + " " + r.Message + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		key.WriteString(" " + a.String())
		return true
	})
	more, due := h.said.due(key.String())
	if !due {
		return nil
	}
	if more > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", more))
	}
	return h.next.Handle(ctx, r)
}

// due reports whether what was said with this key is to be logged, and how
// often it was not since it last was.
func (s *repeats) due(key string) (more int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if one := s.last[key]; one != nil && now.Sub(one.at) < calmTime {
		one.more++
		return 0, false
	} else if one != nil {
		more = one.more
	}
	if len(s.last) >= mostRepeats {
		for key, one := range s.last {
			if now.Sub(one.at) >= calmTime {
				delete(s.last, key)
			}
		}
	}
	if len(s.last) < mostRepeats || s.last[key] != nil {
		s.last[key] = &repeat{at: now}
	}
	return more, true
}

// WithAttrs adds to what tells records apart.
func (h *calmHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := &calmHandler{next: h.next.WithAttrs(attrs), attrs: h.attrs, said: h.said}
	for _, a := range attrs {
		with.attrs += " " + a.String()
	}
	return with
}

// WithGroup opens a group.
func (h *calmHandler) WithGroup(name string) slog.Handler {
	return &calmHandler{next: h.next.WithGroup(name), attrs: h.attrs + " " + name, said: h.said}
}
