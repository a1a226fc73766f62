package main

import (
	"context"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/clock"
	"github.com/rpicluster/vitals/internal/control"
)

// A board that starts in 1970 sends what it gathered before it knew the time
// under the right one.
func TestABoardWithoutABattery(t *testing.T) {
	db := newStore(t)
	path, _ := node(t, `
[agent]
interval = "300ms"
flush_interval = "100ms"
omit_hostname = true
buffer_directory = "$DIR/buffer"
[[inputs.mem]]
fieldinclude = ["total"]
[[outputs.influxdb]]
urls = ["`+db.URL+`"]
`)
	f, err := parseFlags([]string{"--config", path})
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAgent(f, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	var known atomic.Bool
	late := 24 * time.Hour // this machine's clock is right; the board's is a day behind until then
	begun := time.Now()
	a.time = clock.Source{
		Now: func() (wall, boot time.Duration) {
			wall, boot = time.Duration(time.Now().UnixNano()), time.Since(begun)
			if known.Load() {
				wall += late
			}
			return wall, boot
		},
		Known: known.Load,
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.run(ctx) }()
	until := func(what string, reached func(status) bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			var s status
			err := control.Get(t.Context(), "agent", "/status", &s)
			if err == nil && reached(s) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v, %+v", what, err, s)
			}
		}
	}
	until("lines are held", func(s status) bool {
		return strings.Contains(s.Clock, "lines wait for it") && s.Inputs[0].Gathered >= 5
	})
	table, _, err := call(t, "status")
	if err != nil || !strings.Contains(table, "clock: the time of this machine is not synchronised: ") {
		t.Errorf("%v\n%s", err, table)
	}
	if db.String() != "" {
		t.Errorf("sent too early: %s", db)
	}
	known.Store(true)
	until("all are sent", func(s status) bool { return s.Clock == "" && s.Outputs[0].Written >= 5 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	sent := strings.Split(strings.TrimSpace(db.String()), "\n")
	for _, l := range sent[:5] {
		at := begun.Add(late).UnixNano()
		if nano := stampOf(t, l); nano < at-int64(2*time.Second) || nano > at+int64(time.Hour) {
			t.Errorf("%s: %v from when it was gathered", l, time.Duration(nano-at))
		}
	}
}

// stampOf is the timestamp of a line.
func stampOf(t *testing.T, line string) int64 {
	t.Helper()
	nano, err := strconv.ParseInt(line[strings.LastIndexByte(line, ' ')+1:], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return nano
}
