package program

import (
	"context"
	"log/slog"
	"slices"
)

// levelTrace lies below slog's own levels, as Telegraf's does.
const levelTrace = slog.LevelDebug - 4

// NewLogger logs what is at least as grave as min, and of collectors what they
// say: an input has a log_level of its own, which its collector goes by.
func NewLogger(h slog.Handler, min slog.Leveler) *slog.Logger {
	return slog.New(leveled{h, min})
}

// leveled needs a handler that passes everything.
type leveled struct {
	slog.Handler
	min slog.Leveler
}

// Enabled implements slog.Handler.
func (h leveled) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.min.Level() || OwnLevel(ctx)
}

// WithAttrs implements slog.Handler.
func (h leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(attrs), h.min}
}

// WithGroup implements slog.Handler.
func (h leveled) WithGroup(name string) slog.Handler {
	return leveled{h.Handler.WithGroup(name), h.min}
}

// ownLevel is the key of the context of an entry that was passed by a level of
// its own.
type ownLevel struct{}

// OwnLevel reports whether the entry of this context was passed by a level of its
// own.
func OwnLevel(ctx context.Context) bool { return ctx.Value(ownLevel{}) != nil }

func withOwnLevel(ctx context.Context) context.Context {
	return context.WithValue(ctx, ownLevel{}, true)
}

// ofInstance tells the entries of an instance: the plugins package names it in
// each, and leaves out what is below its level.
func ofInstance(args []any) bool { return slices.Contains(args, any("instance")) }
