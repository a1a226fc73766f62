package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/rotate"
)

// openLog opens the log: standard error, or the file that the configuration
// names.
//
//	slog.Logger ─► levels ─► calm ─► text or JSON ─► blotter ─► stderr or file
func openLog(c config.Log, stderr io.Writer, l *levels, b *blotter) (*slog.Logger, io.Closer, error) {
	var file io.Closer
	b.to = stderr
	if c.File != "" {
		if err := os.MkdirAll(filepath.Dir(c.File), 0o750); err != nil {
			return nil, nil, fmt.Errorf("make directory of the log file: %w", err)
		}
		f, err := rotate.Open(c.File, rotate.Options{
			Every: c.RotateEvery, MaxBytes: c.RotateBytes, Keep: c.RotateKeep, Mode: 0o640,
			Failed: func(err error) { fmt.Fprintln(stderr, "vitals-agent: what is logged goes on all the same:", err) },
		})
		if err != nil {
			return nil, nil, fmt.Errorf("open log file: %w", err)
		}
		b.to, file = f, f
	}
	zone, err := time.LoadLocation(cmp.Or(c.Zone, "Local"))
	if err != nil {
		return nil, file, fmt.Errorf("log_with_timezone: %w", err)
	}
	options := &slog.HandlerOptions{Level: slog.LevelDebug - 4, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) > 0 {
			return a
		}
		switch {
		case a.Key == slog.TimeKey:
			a.Value = slog.TimeValue(a.Value.Time().In(zone))
		case a.Key == slog.MessageKey && c.Structured && c.MessageKey != "":
			a.Key = c.MessageKey
		}
		return a
	}}
	var h slog.Handler = slog.NewTextHandler(b, options)
	if c.Structured {
		h = slog.NewJSONHandler(b, options)
	}
	calm := &calmHandler{next: h, said: &repeats{now: time.Now, last: map[string]*repeat{}}}
	return program.NewLogger(&levelHandler{next: calm, levels: l}, l), file, nil
}

// blotter blots out the secrets in what is written: one record at a time.
type blotter struct {
	to      io.Writer
	secrets atomic.Pointer[strings.Replacer]

	mu  sync.Mutex
	all []string
}

// add blots out further secrets from now on. Those of a configuration that is
// no longer in effect stay so: they may still be quoted.
func (b *blotter) add(secrets []string) {
	if len(secrets) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, secrets...)
	b.secrets.Store(config.Redactor(b.all))
}

// blot is text without the secrets.
func (b *blotter) blot(text string) string {
	if r := b.secrets.Load(); r != nil {
		return r.Replace(text)
	}
	return text
}

// clean is err without the secrets.
func (b *blotter) clean(err error) error {
	if err == nil || b.blot(err.Error()) == err.Error() {
		return err
	}
	return errors.New(b.blot(err.Error()))
}

// answers is a handler whose answers are without the secrets, but for lines of
// a buffer, which are what they are.
func (b *blotter) answers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/buffer") {
			w = blotted{w, b}
		}
		h.ServeHTTP(w, r)
	})
}

type blotted struct {
	http.ResponseWriter
	secrets *blotter
}

// Write writes p without the secrets.
func (w blotted) Write(p []byte) (int, error) {
	_, err := io.WriteString(w.ResponseWriter, w.secrets.blot(string(p)))
	return len(p), err
}

// Write writes p without the secrets.
func (b *blotter) Write(p []byte) (int, error) {
	if b.secrets.Load() == nil {
		return b.to.Write(p)
	}
	_, err := io.WriteString(b.to, b.blot(string(p)))
	return len(p), err
}

// levels say from which level on the agent, an input or an output is logged.
type levels struct {
	mu    sync.RWMutex
	agent slog.Level
	own   map[string]slog.Level // by ID
	least slog.Level
}

func (l *levels) set(agent slog.Level, own map[string]slog.Level) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.agent, l.own, l.least = agent, own, agent
	for level := range maps.Values(own) {
		l.least = min(l.least, level)
	}
}

// Level is the least of all.
func (l *levels) Level() slog.Level {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.least
}

// of is the level for the input or output of this ID; ok is false if it has
// none of its own.
func (l *levels) of(id string) (level slog.Level, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if level, ok = l.own[id]; ok {
		return level, true
	}
	return l.agent, false
}

// levelHandler drops what is below the level of whom it is about.
type levelHandler struct {
	next   slog.Handler
	levels *levels
	id     string // of the input or output that all records are about
}

// Enabled leaves it to Handle, which is asked only about what may be let
// through.
func (h *levelHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle looks in the record for whom it is about.
func (h *levelHandler) Handle(ctx context.Context, r slog.Record) error {
	least, own := h.levels.of(h.id)
	r.Attrs(func(a slog.Attr) bool {
		if about(a) && !own {
			least, own = h.levels.of(a.Value.String())
		}
		return !own
	})
	if r.Level < least && !program.OwnLevel(ctx) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func about(a slog.Attr) bool { return a.Key == "input" || a.Key == "output" }

// WithAttrs remembers whom the records are about.
func (h *levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := &levelHandler{next: h.next.WithAttrs(attrs), levels: h.levels, id: h.id}
	for _, a := range attrs {
		if about(a) {
			with.id = a.Value.String()
		}
	}
	return with
}

// WithGroup opens a group.
func (h *levelHandler) WithGroup(name string) slog.Handler {
	return &levelHandler{next: h.next.WithGroup(name), levels: h.levels, id: h.id}
}
