// Package system collects load, users, processors and uptime, as Telegraf's
// inputs.system does.
package system

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/load"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "system",
		Description:  "Load, users, processors and uptime.",
		Sample:       sample,
		Measurements: []string{"system"},
		New: func() plugins.Collector {
			return &Collector{
				Include:     []string{legacy},
				OSCacheTTL:  8 * time.Hour,
				DMICacheTTL: 8 * time.Hour,
				now:         time.Now,
			}
		},
	}
}

// Collector holds the options and the facts that are not read at every gather.
type Collector struct {
	Include     []string      `toml:"include"`
	OSCacheTTL  time.Duration `toml:"os_cache_ttl"`
	DMICacheTTL time.Duration `toml:"dmi_cache_ttl"`

	now     func() time.Time
	release facts
	dmi     facts
}

var _ plugins.Validator = (*Collector)(nil)

// legacy is the layout of three lines that Telegraf has had from the start.
const legacy = "legacy"

// groups are the values of include.
var groups = []string{legacy, "load", "users", "cpus", "uptime", "os", "dmi"}

// Validate implements plugins.Validator.
func (c *Collector) Validate() error {
	if len(c.Include) == 0 {
		c.Include = []string{legacy}
	}
	for _, group := range c.Include {
		if !slices.Contains(groups, group) {
			message := fmt.Sprintf("%q is none of %s", group, strings.Join(groups, ", "))
			return plugins.OptionError{Option: "include", Message: message}
		}
	}
	return nil
}

// Gather implements plugins.Collector. What one group cannot read does not
// keep the others from being told.
func (c *Collector) Gather(ctx context.Context, b *plugins.Batch) error {
	var errs []error
	if c.includes(legacy) {
		errs = append(errs, gatherLegacy(ctx, b))
	}
	p := b.Point("system") // leaves no line if only legacy is asked for
	if c.includes("load") {
		errs = append(errs, addLoad(ctx, p))
	}
	if c.includes("users") {
		addUsers(b, p)
	}
	if c.includes("cpus") {
		errs = append(errs, addCPUs(ctx, p))
	}
	if c.includes("uptime") {
		errs = append(errs, addUptime(p))
	}
	if c.includes("os") {
		errs = append(errs, c.release.add(p, c.now(), c.OSCacheTTL, func() (fields, error) { return readOS(ctx) }))
	}
	if c.includes("dmi") {
		errs = append(errs, c.dmi.add(p, c.now(), c.DMICacheTTL, readDMI))
	}
	return errors.Join(errs...)
}

func (c *Collector) includes(group string) bool { return slices.Contains(c.Include, group) }

func gatherLegacy(ctx context.Context, b *plugins.Batch) error {
	p := b.Point("system")
	err := errors.Join(addLoad(ctx, p), addCPUs(ctx, p))
	addUsers(b, p)

	seconds, upErr := uptime()
	if upErr != nil {
		return errors.Join(err, upErr)
	}
	b.Point("system").Uint("uptime", seconds)
	b.Point("system").String("uptime_format", formatUptime(seconds))
	return err
}

func addLoad(ctx context.Context, p *plugins.Point) error {
	avg, err := load.AvgWithContext(ctx)
	if err != nil {
		return fmt.Errorf("read load averages: %w", err)
	}
	p.Float("load1", avg.Load1).Float("load5", avg.Load5).Float("load15", avg.Load15)
	return nil
}

// addCPUs leaves out the count of physical processors where /sys and
// /proc/cpuinfo do not tell it.
func addCPUs(ctx context.Context, p *plugins.Point) error {
	logical, err := cpu.CountsWithContext(ctx, true)
	if err == nil && logical == 0 {
		err = errors.New("none in " + plugins.HostProc("cpuinfo"))
	}
	if err != nil {
		return fmt.Errorf("count processors: %w", err)
	}
	p.Int("n_cpus", int64(logical))
	physical, err := cpu.CountsWithContext(ctx, false)
	if err != nil {
		return fmt.Errorf("count physical processors: %w", err)
	}
	p.Int("n_physical_cpus", int64(physical))
	return nil
}

// addUsers leaves both fields out where nobody keeps account of logins, or
// this process may not see it.
func addUsers(b *plugins.Batch, p *plugins.Point) {
	users, err := users()
	if err != nil {
		level := b.Log().Warn
		if os.IsNotExist(err) || os.IsPermission(err) {
			level = b.Log().Debug
		}
		level("users not counted", "error", err)
		return
	}
	unique := slices.Clone(users)
	slices.Sort(unique)
	p.Int("n_users", int64(len(users))).Int("n_unique_users", int64(len(slices.Compact(unique))))
}

func addUptime(p *plugins.Point) error {
	seconds, err := uptime()
	if err == nil {
		p.Uint("uptime", seconds)
	}
	return err
}

// formatUptime writes hours as wide as Telegraf does, with a space before one
// digit.
func formatUptime(seconds uint64) string {
	minutes := seconds / 60
	text := fmt.Sprintf("%2d:%02d", minutes/60%24, minutes%60)
	switch days := minutes / 60 / 24; days {
	case 0:
		return text
	case 1:
		return "1 day, " + text
	default:
		return fmt.Sprintf("%d days, %s", days, text)
	}
}
