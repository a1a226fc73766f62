// Package self is the collector internal: how the agent and what runs for it
// are doing, as Telegraf's inputs.internal tells it. The agent answers it
// itself, for nobody else knows.
package self

import (
	"context"
	_ "embed"
	"runtime"
	"strings"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/output"
	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// State is what the agent knows of its inputs and outputs.
type State struct {
	Inputs  []collect.Status
	Outputs []output.Status
}

// Description returns the collector of an agent of this version, of which read
// tells the state.
func Description(version string, read func() State) plugins.Description {
	return plugins.Description{
		Name:        "internal",
		Description: "How the agent itself is doing.",
		Sample:      sample,
		Measurements: []string{
			"internal_agent", "internal_gather", "internal_write", "internal_plugin", "internal_memstats", "internal_gostats",
		},
		New: func() plugins.Collector {
			return &Collector{
				CollectMemstats: true, CollectPlugins: true,
				version: version, golang: strings.TrimPrefix(runtime.Version(), "go"), read: read, means: map[string]*mean{},
			}
		},
	}
}

// Collector holds the options, and what the averages are since.
type Collector struct {
	CollectMemstats bool `toml:"collect_memstats"`
	CollectGostats  bool `toml:"collect_gostats"`
	PerInstance     bool `toml:"per_instance"`
	CollectPlugins  bool `toml:"collect_plugins"`

	version, golang string // the tags version and go_version
	read            func() State
	means           map[string]*mean
}

// Gather implements plugins.Collector.
func (c *Collector) Gather(_ context.Context, b *plugins.Batch) error {
	s := c.read()
	c.addAgent(b, s)
	c.addSums(b, "internal_gather", "input", c.inputs(s.Inputs))
	c.addSums(b, "internal_write", "output", c.outputs(s.Outputs))
	if c.CollectPlugins {
		c.addPlugins(b, s.Inputs)
	}
	if c.CollectMemstats {
		addMemory(b)
	}
	if c.CollectGostats {
		c.addRuntime(b)
	}
	return nil
}

// addAgent adds the sums over everything.
func (c *Collector) addAgent(b *plugins.Batch, s State) {
	var gathered, gatherErrors, timeouts, written, dropped, rejected, writeErrors int64
	for _, in := range s.Inputs {
		gathered += in.Gathered
		gatherErrors += in.Errors - in.Refusals
		timeouts += in.Timeouts + in.Skipped
	}
	for _, o := range s.Outputs {
		written += o.Written
		dropped += o.Dropped
		rejected += o.Rejected
		writeErrors += o.Failures
	}
	b.Point("internal_agent").Tag("go_version", c.golang).Tag("version", c.version).
		Int("metrics_gathered", gathered).Int("gather_errors", gatherErrors).Int("gather_timeouts", timeouts).
		Int("metrics_written", written).Int("metrics_dropped", dropped).Int("metrics_rejected", rejected).
		Int("write_errors", writeErrors)
}

// addPlugins tells what Telegraf has nothing of: the process of each input.
func (c *Collector) addPlugins(b *plugins.Batch, inputs []collect.Status) {
	for _, in := range inputs {
		b.Point("internal_plugin").Tag("input", in.Name).Tag("alias", in.Alias).Tag("_id", in.ID).
			Tag("plugin", in.Program).Tag("version", c.version).
			String("state", in.State).Int("pid", int64(in.PID)).Int("restarts", int64(in.Restarts)).
			Int("ticks_skipped", in.Skipped).Int("bad_lines", in.BadLines).Int("metrics_filtered", in.Filtered)
	}
}
