// Package temperature collects temperature sensors, as Telegraf's inputs.temp
// does. It reads /sys itself: gopsutil neither reads without blocking nor
// tells devices, labels and zones apart as Telegraf's names need it.
package temperature

import (
	"context"
	_ "embed"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its names.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "temperature",
		Aliases:      []string{"temp"},
		Description:  "Temperature sensors.",
		Sample:       sample,
		Measurements: []string{"temp", "cpu"},
		New: func() plugins.Collector {
			return &Collector{MetricFormat: "v2", Schema: plugins.Telegraf}
		},
	}
}

// Collector holds the options.
type Collector struct {
	MetricFormat      string         `toml:"metric_format"`
	AddDeviceTag      bool           `toml:"add_device_tag"`
	AlwaysGatherZones bool           `toml:"always_gather_zones"`
	Schema            plugins.Schema `toml:"schema"`

	warned bool // of sensors that share a name
}

var (
	_ plugins.Validator   = (*Collector)(nil)
	_ plugins.HostOmitter = (*Collector)(nil)
)

// Validate implements plugins.Validator.
func (c *Collector) Validate() error {
	switch c.MetricFormat {
	case "v1", "v2":
		return nil
	case "":
		c.MetricFormat = "v2"
		return nil
	}
	return plugins.OptionError{Option: "metric_format", Message: `expected "v1" or "v2"`}
}

// OmitHost implements plugins.HostOmitter.
func (c *Collector) OmitHost() bool { return c.Schema == plugins.Cluster }

// Gather implements plugins.Collector. A machine without sensors has no lines,
// which is no error.
func (c *Collector) Gather(_ context.Context, b *plugins.Batch) error {
	v1 := c.MetricFormat == "v1" && c.Schema == plugins.Telegraf
	sensors := hwmon(b.Log(), v1)
	if len(sensors) == 0 || c.AlwaysGatherZones {
		sensors = append(sensors, zones(b.Log())...)
	}
	if c.Schema == plugins.Cluster {
		if s, ok := processor(sensors); ok {
			b.Point("cpu").Tag("node", b.Host()).Float("temperature", s.celsius)
		}
		return nil
	}
	c.warnOfTwins(b, sensors)
	for _, s := range sensors {
		if v1 {
			c.addV1(b, s)
		} else {
			c.add(b, s, s.named("_"), s.celsius)
		}
	}
	return nil
}

func (c *Collector) addV1(b *plugins.Batch, s sensor) {
	name := s.named("")
	c.add(b, s, name+"_input", s.celsius)
	for _, l := range s.limits {
		c.add(b, s, name+"_"+l.name, l.celsius)
	}
}

func (c *Collector) add(b *plugins.Batch, s sensor, name string, celsius float64) {
	p := b.Point("temp").Tag("sensor", name)
	if c.AddDeviceTag {
		p.Tag("device", s.device)
	}
	p.Float("temp", celsius)
}

// warnOfTwins says once that sensors cannot be told apart: in the database
// only the last of them remains.
func (c *Collector) warnOfTwins(b *plugins.Batch, sensors []sensor) {
	if c.warned || c.AddDeviceTag {
		return
	}
	seen := make(map[string]bool, len(sensors))
	for _, s := range sensors {
		if name := s.named("_"); seen[name] {
			c.warned = true
			b.Log().Warn("several sensors share a name; set add_device_tag = true to tell them apart", "sensor", name)
			return
		}
		seen[s.named("_")] = true
	}
}

// processorNames are how the sensors that show the processor begin, best first:
// those of Raspberry Pis and other ARM boards, Intel, AMD, and what firmware
// calls it.
var processorNames = []string{
	"cpu_thermal", "cpu-thermal", "bcm2835_thermal", "soc_thermal", "soc-thermal",
	"coretemp", "x86_pkg_temp", "k10temp", "zenpower", "cpu", "soc", "acpitz",
}

// processor picks the sensor that shows the temperature of the processor. It
// does not guess: a disk's temperature under that name would be a lie.
func processor(sensors []sensor) (sensor, bool) {
	for _, known := range processorNames {
		var parts []sensor
		for _, s := range sensors {
			if strings.HasPrefix(s.name, known) {
				parts = append(parts, s)
			}
		}
		if len(parts) > 0 {
			return parts[max(0, slices.IndexFunc(parts, whole))], true
		}
	}
	return sensor{}, false
}

// whole tells the sensor of a processor as a whole from those of its cores.
func whole(s sensor) bool {
	return s.label == "" || strings.HasPrefix(s.label, "package") || s.label == "tdie" || s.label == "tctl"
}
