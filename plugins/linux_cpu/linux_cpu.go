// Package linux_cpu collects frequencies and throttling of processors, as
// Telegraf's inputs.linux_cpu does.
package linux_cpu

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "linux_cpu",
		Description:  "Frequencies and throttling of processors.",
		Sample:       sample,
		Measurements: []string{"linux_cpu"},
		New:          func() plugins.Collector { return &Collector{Metrics: []string{"cpufreq"}} },
	}
}

// Collector holds the options.
type Collector struct {
	HostSys string   `toml:"host_sys"`
	Metrics []string `toml:"metrics"`

	warned map[string]bool // of what is missing, by its text
}

var _ plugins.Validator = (*Collector)(nil)

// property is a file of a CPU and the field that it is told as.
type property struct {
	field, file string
	optional    bool
}

// properties are those of each of the metrics.
var properties = map[string][]property{
	"cpufreq": {
		{"scaling_cur_freq", "cpufreq/scaling_cur_freq", false},
		{"scaling_min_freq", "cpufreq/scaling_min_freq", false},
		{"scaling_max_freq", "cpufreq/scaling_max_freq", false},
		{"cpuinfo_cur_freq", "cpufreq/cpuinfo_cur_freq", true}, // mostly for root alone
		{"cpuinfo_min_freq", "cpufreq/cpuinfo_min_freq", true},
		{"cpuinfo_max_freq", "cpufreq/cpuinfo_max_freq", true},
	},
	"thermal": {
		{"throttle_count", "thermal_throttle/core_throttle_count", false},
		{"throttle_max_time", "thermal_throttle/core_throttle_max_time_ms", false},
		{"throttle_total_time", "thermal_throttle/core_throttle_total_time_ms", false},
	},
}

// Validate implements plugins.Validator. As in Telegraf, unknown names are
// harmless beside known ones.
func (c *Collector) Validate() error {
	known := func(metric string) bool { return properties[metric] != nil }
	if !slices.ContainsFunc(c.Metrics, known) {
		return plugins.OptionError{Option: "metrics", Message: `expected "cpufreq", "thermal" or both`}
	}
	return nil
}

// Gather implements plugins.Collector. A machine whose processors do not tell,
// as most virtual ones, has no lines, which is no error.
func (c *Collector) Gather(_ context.Context, b *plugins.Batch) error {
	folders, _ := filepath.Glob(c.sys("devices/system/cpu/cpu[0-9]*")) // the pattern is a sound one
	if len(folders) == 0 {
		return fmt.Errorf("no CPUs in %s", c.sys("devices/system/cpu"))
	}
	for _, metric := range c.Metrics {
		if properties[metric] == nil {
			c.warnOnce(b, fmt.Sprintf("there is no metric %q", metric))
		}
	}
	var errs []error
	for _, folder := range folders {
		errs = append(errs, c.gatherCPU(b, folder))
	}
	return errors.Join(errs...)
}

// sys is a path below the option, or else below HOST_SYS or /sys.
func (c *Collector) sys(path string) string {
	if c.HostSys != "" {
		return filepath.Join(c.HostSys, path)
	}
	return plugins.HostSys(path)
}

// gatherCPU adds the line of one CPU, which has every field that is required
// or is not there at all.
func (c *Collector) gatherCPU(b *plugins.Batch, folder string) error {
	values := make(map[string]uint64)
	var order []string
	for _, metric := range []string{"cpufreq", "thermal"} {
		if !slices.Contains(c.Metrics, metric) {
			continue
		}
		for _, p := range properties[metric] {
			n, err := number(filepath.Join(folder, p.file))
			switch {
			case err == nil:
				values[p.field], order = n, append(order, p.field)
			case p.optional:
			case errors.Is(err, os.ErrNotExist):
				c.warnOnce(b, fmt.Sprintf("%s has no %s", filepath.Base(folder), metric))
				return nil
			default:
				return fmt.Errorf("read %s: %w", metric, err)
			}
		}
	}
	p := b.Point("linux_cpu").Tag("cpu", strings.TrimPrefix(filepath.Base(folder), "cpu"))
	for _, field := range order {
		p.Uint(field, values[field])
	}
	return nil
}

// warnOnce keeps the log from saying at each gather what does not change.
func (c *Collector) warnOnce(b *plugins.Batch, text string) {
	if c.warned == nil {
		c.warned = make(map[string]bool)
	}
	if !c.warned[text] {
		c.warned[text] = true
		b.Log().Warn("left out", "reason", text)
	}
}

// number reads a file that holds one.
func number(path string) (uint64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}
