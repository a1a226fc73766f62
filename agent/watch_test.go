package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/config"
)

// The kernel drops events where there are too many. Who is told of that and does
// not listen gets none ever after.
func TestLostEventsAreNotTheEndOfAll(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	s, err := collect.Start(t.Context(), collect.Config{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	events, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	w := &watcher{agent: &agent{flags: &flags{}, log: log, config: &config.Config{}, supervisor: s}, events: events}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer w.looks.Wait()
		w.run(ctx, nil, time.Hour)
	}()
	for range 3 {
		select {
		case events.Errors <- fsnotify.ErrEventOverflow:
		case <-time.After(patience):
			t.Fatal("nobody listens")
		}
	}
	cancel()
	<-ended
}
