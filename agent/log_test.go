package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rpicluster/vitals/agent/config"
)

// logged opens a log that is kept in memory.
func logged(t *testing.T, c config.Log) (log *slog.Logger, l *levels, b *blotter, text *bytes.Buffer) {
	t.Helper()
	l, b, text = &levels{}, &blotter{}, &bytes.Buffer{}
	log, _, err := openLog(c, text, l, b)
	if err != nil {
		t.Fatal(err)
	}
	return log, l, b, text
}

func TestFormatsOfTheLog(t *testing.T) {
	f := func(name string, c config.Log, want ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			log, _, _, text := logged(t, c)
			log.Info("hello", "n", 1)
			for _, w := range want {
				if !strings.Contains(text.String(), w) {
					t.Errorf("%s: %q is not in %s", name, w, text)
				}
			}
		})
	}
	f("text", config.Log{Zone: "UTC"}, "time=2000-01-01T00:00:00.000Z level=INFO msg=hello n=1\n")
	f("zone", config.Log{Zone: "Europe/Berlin"}, "time=2000-01-01T01:00:00.000+01:00 ")
	f("structured", config.Log{Structured: true, Zone: "UTC"}, `{"time":"2000-01-01T00:00:00Z","level":"INFO","msg":"hello","n":1}`)
	f("message key", config.Log{Structured: true, MessageKey: "message"}, `"message":"hello"`)
}

func TestTheLogFileIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "agent.log")
	log, file, err := openLog(config.Log{File: path, RotateBytes: 200, RotateKeep: 1}, nil, &levels{}, &blotter{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for range 20 {
		log.Info(strings.Repeat("x", 100))
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(found) != 2 {
		t.Errorf("%q, %v", found, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 400 || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestLevelsOfInputsAndOutputs(t *testing.T) {
	f := func(agent slog.Level, want string, say func(log *slog.Logger)) {
		t.Helper()
		log, l, _, text := logged(t, config.Log{})
		l.set(agent, map[string]slog.Level{"cpu": slog.LevelDebug, "mem": slog.LevelError})
		say(log)
		if got := strings.Count(text.String(), "\n"); (got > 0) != (want == "said") {
			t.Errorf("%s, want it %s", text, want)
		}
	}
	f(slog.LevelInfo, "said", func(log *slog.Logger) { log.Info("x") })
	f(slog.LevelInfo, "left out", func(log *slog.Logger) { log.Debug("x") })
	f(slog.LevelError, "left out", func(log *slog.Logger) { log.Warn("x") })
	f(slog.LevelError, "said", func(log *slog.Logger) { log.With("input", "cpu").Debug("x") })
	f(slog.LevelError, "said", func(log *slog.Logger) { log.Debug("x", "input", "cpu") })
	f(slog.LevelDebug, "left out", func(log *slog.Logger) { log.With("input", "mem").Warn("x") })
	f(slog.LevelDebug, "left out", func(log *slog.Logger) { log.With("a", 1).With("output", "mem").With("b", 1).Warn("x") })
	f(slog.LevelDebug, "said", func(log *slog.Logger) { log.With("input", "mem").Error("x") })
	f(slog.LevelInfo, "left out", func(log *slog.Logger) { log.With("input", "swap").Debug("x") })
	f(slog.LevelInfo, "said", func(log *slog.Logger) { log.With("input", "swap").Info("x") })
}

func TestWhatRepeatsItselfIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _, _, text := logged(t, config.Log{})
		for range 90 {
			log.With("output", "a").Warn("write failed", "error", "refused")
			time.Sleep(time.Second)
		}
		if n := strings.Count(text.String(), "write failed"); n != 2 || !strings.Contains(text.String(), "repeated=59") {
			t.Errorf("%d times:\n%s", n, text)
		}
		text.Reset()
		log.With("output", "b").Warn("write failed", "error", "refused")
		log.With("output", "a").Warn("write failed", "error", "reset")
		log.With("output", "a").Error("write failed", "error", "refused")
		log.Info("written")
		log.Info("written")
		if n := strings.Count(text.String(), "\n"); n != 5 {
			t.Errorf("of 5 that differ, or matter less, %d:\n%s", n, text)
		}
		text.Reset()
		for i := range 3 * mostRepeats {
			log.Warn("numbered", "i", i)
		}
		if n := strings.Count(text.String(), "\n"); n != 3*mostRepeats {
			t.Errorf("%d of %d that all differ", n, 3*mostRepeats)
		}
	})
}

func TestSecretsAreBlottedOut(t *testing.T) {
	const canary = `can"ary/ö`
	log, _, b, text := logged(t, config.Log{})
	log.Info("before", "x", "harmless")
	b.add([]string{canary})
	b.add([]string{"second", "abc"})
	log.Info("told "+canary, "error", errors.New(canary), "quoted", fmt.Sprintf("%q", canary), "url", "http://h/?p=can%22ary%2F%C3%B6", "two", "a second one", "short", "abc")
	for _, secret := range []string{"ary", "second"} {
		if strings.Contains(text.String(), secret) {
			t.Errorf("%s is in %s", secret, text)
		}
	}
	if !strings.Contains(text.String(), "before x=harmless") || !strings.Contains(text.String(), "short=abc") {
		t.Error(text)
	}
	if err := b.clean(errors.New("x " + canary)); err.Error() != "x ***" {
		t.Error(err)
	}
	if plain := errors.New("plain"); b.clean(plain) != plain || b.clean(nil) != nil {
		t.Error("an error without a secret is not what it was")
	}
}
