package plugins

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(leveled{newLogger(&out, "dice").Handler(), parseLevel("debug")}).With("instance", "1")
	log.Log(t.Context(), levelTrace, "no")
	log.Debug("rolled", slog.Group("die", "sides", 6), "level", "a string", "time", 3)

	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	// go-plugin in the host parses with this layout.
	if _, err := time.Parse("2006-01-02T15:04:05.000000Z07:00", got["@timestamp"].(string)); err != nil {
		t.Error(err)
	}
	delete(got, "@timestamp")
	want := map[string]any{
		"@level": "debug", "@message": "rolled", "@module": "dice", "instance": "1",
		"die": map[string]any{"sides": 6.0}, "level": "a string", "time": 3.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLevels(t *testing.T) {
	for _, name := range []string{"trace", "debug", "info", "warn", "error"} {
		if got := levelName(parseLevel(name)); got != name {
			t.Errorf("%s comes back as %s", name, got)
		}
	}
	if parseLevel("") != slog.LevelInfo || parseLevel("DEBUG") != slog.LevelDebug {
		t.Error("level of a request")
	}
}
