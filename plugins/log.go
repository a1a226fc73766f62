package plugins

import (
	"context"
	"io"
	"log/slog"
	"strings"
)

// levelTrace lies below slog's own levels, as in Telegraf.
const levelTrace = slog.LevelDebug - 4

// newLogger writes JSON lines of the form that go-plugin reads from the
// standard error of a plugin.
func newLogger(w io.Writer, module string) *slog.Logger {
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: levelTrace, ReplaceAttr: hclogForm})
	return slog.New(h).With("@module", module)
}

// hclogForm renames slog's own attributes. Those of the caller lie in the same
// namespace, and are told apart by their type.
func hclogForm(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.MessageKey:
		a.Key = "@message"
	case slog.TimeKey:
		if a.Value.Kind() == slog.KindTime {
			return slog.String("@timestamp", a.Value.Time().Format("2006-01-02T15:04:05.000000Z07:00"))
		}
	case slog.LevelKey:
		if level, ok := a.Value.Any().(slog.Level); ok {
			return slog.String("@level", levelName(level))
		}
	}
	return a
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "trace"
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	}
	return "error"
}

// parseLevel reads the level of a ConfigureRequest; info if there is none.
func parseLevel(name string) slog.Level {
	switch strings.ToLower(name) {
	case "trace":
		return levelTrace
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// leveled lets pass what is at least as grave as min.
type leveled struct {
	slog.Handler
	min slog.Level
}

func (h leveled) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.min && h.Handler.Enabled(ctx, l)
}

func (h leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(attrs), h.min}
}

func (h leveled) WithGroup(name string) slog.Handler {
	return leveled{h.Handler.WithGroup(name), h.min}
}
