package plugintest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/plugins"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	said string
}

// Fatal remembers why, and ends the goroutine as a test's does.
func (r *recorder) Fatal(args ...any) {
	r.said = fmt.Sprint(args...)
	runtime.Goexit()
}

type labelled struct{ Labels []string }

// Gather implements plugins.Collector.
func (*labelled) Gather(context.Context, *plugins.Batch) error { return nil }

// A collector that no agent would use passes no test either.
func TestConfigureRefusesWhatAHostWould(t *testing.T) {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Configure(r, plugins.Description{Name: "x", New: func() plugins.Collector { return &labelled{} }}, "")
	}()
	<-done
	if !strings.Contains(r.said, `x: the option "labels" is the agent's`) {
		t.Errorf("it says %q", r.said)
	}
}
