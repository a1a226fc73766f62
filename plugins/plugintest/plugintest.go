// Package plugintest tests a collector without a host: it configures and
// gathers in this process and compares lines.
//
//	func TestGather(t *testing.T) {
//		dice := plugintest.Configure(t, Description(), `sides = 1`)
//		if got := dice.Gather(); got != "dice value=1i\n" {
//			t.Error(got)
//		}
//	}
package plugintest

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

// Host is the name of the machine that collectors under test are told.
const Host = "testhost"

// Instance is a configured collector.
type Instance struct {
	t      testing.TB
	server proto.CollectorServer
	// OmitHost is what the collector said of its host tag.
	OmitHost bool
}

// Configure makes an instance of d from options (TOML). Options that are wrong
// end the test; use plugins.Check to test for them. What the collector logs
// goes to the test's output.
func Configure(t testing.TB, d plugins.Description, options string) *Instance {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	in := &Instance{t: t, server: plugins.NewServer(log, d)}
	described, err := in.server.Describe(t.Context(), &proto.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if flaws := plugins.Flaws(described); len(flaws) > 0 {
		t.Fatal(errors.Join(flaws...)) // no host would use it
	}
	r, err := in.server.Configure(t.Context(), &proto.ConfigureRequest{
		Collector: d.Name, ConfigToml: []byte(options), Hostname: Host, LogLevel: "debug",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Errors {
		t.Error(plugins.OptionError{Option: e.Option, Message: e.Message})
	}
	if len(r.Errors) > 0 {
		t.FailNow()
	}
	in.OmitHost = r.OmitHost
	return in
}

// Gather takes a reading; an error ends the test.
func (in *Instance) Gather() string {
	in.t.Helper()
	lines, err := in.TryGather()
	if err != nil {
		in.t.Fatal(err)
	}
	return lines
}

// TryGather takes a reading that may fail.
func (in *Instance) TryGather() (string, error) {
	in.t.Helper()
	r, err := in.server.Gather(in.t.Context(), &proto.GatherRequest{})
	if err != nil {
		in.t.Fatal(err)
	}
	if r.Error != "" {
		return string(r.Lines), errors.New(r.Error)
	}
	return string(r.Lines), nil
}
