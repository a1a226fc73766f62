package program

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// What an instance says was let through by its own level; of everything else
// the agent's decides.
func TestLevels(t *testing.T) {
	var out strings.Builder
	log := NewLogger(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: levelTrace}), slog.LevelInfo)
	f := func(want string, say func(l hclog.Logger)) {
		t.Helper()
		out.Reset()
		say(newBridge(log.With("plugin", "x")).Named("x"))
		_, got, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(`level=DEBUG msg=a plugin=x instance=i`, func(l hclog.Logger) { l.Debug("a", "instance", "i") })
	f(`level=DEBUG-4 msg=a plugin=x instance=i`, func(l hclog.Logger) { l.Trace("a", "instance", "i") })
	f(`level=WARN msg=a plugin=x`, func(l hclog.Logger) { l.Warn("a") })
	f(``, func(l hclog.Logger) { l.Debug("a", "key", "instance?") })
	f(`level=INFO msg="plain text" plugin=x`, func(l hclog.Logger) { l.Debug("plain text") })
	f(`level=WARN msg=c plugin=x`, func(l hclog.Logger) {
		for range 1000 {
			l.Debug("a", "k", "v") // costs nobody a line
		}
		l.Warn("c")
	})
	if log.Enabled(t.Context(), slog.LevelDebug) || !log.With("a", 1).WithGroup("g").Enabled(t.Context(), slog.LevelInfo) {
		t.Error("the agent's own level does not hold")
	}
}
