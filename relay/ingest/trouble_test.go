package ingest

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestARefusalIsForgottenWhenNobodyTriesAgain(t *testing.T) {
	clock := now
	var log bytes.Buffer
	h := New(Config{Now: func() time.Time { return clock }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	full := errors.New("full")
	h.remember(full, clock)
	clock = clock.Add(20 * time.Second)
	h.remember(full, clock)
	clock = clock.Add(29 * time.Second)
	if err := h.Trouble(); err != full {
		t.Errorf("29 s after the last refusal: %v", err)
	}
	clock = clock.Add(time.Second)
	if err := h.Trouble(); err != nil {
		t.Errorf("30 s after it: %v", err)
	}
	h.remember(nil, clock)
	h.remember(nil, clock)
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="writes are accepted again" after=50s`) {
		t.Errorf("the log says %q", got)
	}
}
