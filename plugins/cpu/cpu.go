// Package cpu collects times and shares of the processors, as Telegraf's
// inputs.cpu does.
package cpu

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"

	"github.com/shirou/gopsutil/v3/cpu"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its names.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "cpu",
		Description:  "Times and shares of the processors.",
		Sample:       sample,
		Measurements: []string{"cpu"},
		New: func() plugins.Collector {
			return &Collector{PerCPU: true, TotalCPU: true, Schema: plugins.Telegraf}
		},
	}
}

// Collector holds the options and the times of the reading before.
type Collector struct {
	PerCPU          bool           `toml:"percpu"`
	TotalCPU        bool           `toml:"totalcpu"`
	CollectCPUTime  bool           `toml:"collect_cpu_time"`
	ReportActive    bool           `toml:"report_active"`
	CoreTags        bool           `toml:"core_tags"`
	ReportFrequency bool           `toml:"report_frequency"`
	Schema          plugins.Schema `toml:"schema"`

	last  map[string]cpu.TimesStat
	cores map[string]cpu.InfoStat // with CoreTags
}

var (
	_ plugins.Primer      = (*Collector)(nil)
	_ plugins.HostOmitter = (*Collector)(nil)
)

// OmitHost implements plugins.HostOmitter.
func (c *Collector) OmitHost() bool { return c.Schema == plugins.Cluster }

// Prime takes the times with which the first reading is compared.
func (c *Collector) Prime(ctx context.Context) error {
	times, err := c.read(ctx)
	c.remember(times)
	if c.CoreTags {
		c.readCores(ctx)
	}
	return err
}

// errBackwards has Telegraf's words.
var errBackwards = errors.New("current total CPU time is less than previous total CPU time")

// Gather implements plugins.Collector.
func (c *Collector) Gather(ctx context.Context, b *plugins.Batch) error {
	times, err := c.read(ctx)
	if err != nil {
		return err
	}
	defer c.remember(times)
	if c.Schema == plugins.Cluster {
		return c.gatherCluster(b, times)
	}
	for _, now := range times {
		if c.CollectCPUTime {
			c.addTimes(b, now)
		}
		delta, err := c.since(now)
		if err != nil {
			return err // as Telegraf: the CPUs after this one are left out
		}
		if delta != nil {
			c.addUsage(b, delta)
		}
	}
	if c.ReportFrequency {
		c.addFrequencies(b, times)
	}
	return nil
}

// read returns the times of all CPUs asked for, in the order of /proc/stat
// with their sum at the end.
func (c *Collector) read(ctx context.Context) ([]cpu.TimesStat, error) {
	cluster := c.Schema == plugins.Cluster
	var perCPU, sum []cpu.TimesStat
	var err, sumErr error
	if c.PerCPU && !cluster {
		perCPU, err = cpu.TimesWithContext(ctx, true)
	}
	if c.TotalCPU || cluster {
		sum, sumErr = cpu.TimesWithContext(ctx, false)
	}
	if err = errors.Join(err, sumErr); err != nil {
		return nil, fmt.Errorf("read CPU times: %w", err)
	}
	all := append(perCPU, sum...)
	if len(all) == 0 && (c.PerCPU || c.TotalCPU || cluster) {
		return nil, fmt.Errorf("no CPU times in %s", plugins.HostProc("stat"))
	}
	return all, nil
}

func (c *Collector) remember(times []cpu.TimesStat) {
	c.last = make(map[string]cpu.TimesStat, len(times))
	for _, t := range times {
		c.last[t.CPU] = t
	}
}

// readCores keeps gopsutil's view of /proc/cpuinfo; a tag is used if the first
// CPU has it, and where there is none the readings go without.
func (c *Collector) readCores(ctx context.Context) {
	infos, err := cpu.InfoWithContext(ctx)
	if err != nil || len(infos) == 0 {
		return
	}
	c.cores = make(map[string]cpu.InfoStat, len(infos))
	for _, i := range infos {
		if infos[0].CoreID == "" {
			i.CoreID = ""
		}
		if infos[0].PhysicalID == "" {
			i.PhysicalID = ""
		}
		c.cores["cpu"+strconv.Itoa(int(i.CPU))] = i
	}
}

// point begins a line of one CPU.
func (c *Collector) point(b *plugins.Batch, name string) *plugins.Point {
	core := c.cores[name]
	return b.Point("cpu").Tag("cpu", name).Tag("core_id", core.CoreID).Tag("physical_id", core.PhysicalID)
}
