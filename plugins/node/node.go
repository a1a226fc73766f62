// Package node collects facts about the machine that rarely change: what it
// is, what runs on it and how much of everything it has.
package node

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "node",
		Description:  "Facts about the machine that rarely change.",
		Sample:       sample,
		Measurements: []string{"node_info"},
		Interval:     time.Hour,
		New:          func() plugins.Collector { return &Collector{machine: machine} },
	}
}

// Collector has no options.
type Collector struct {
	machine func() string // the architecture that the running kernel tells
}

// Gather adds one line. A fact that this machine does not tell is left out;
// only a machine that tells neither its processors nor its memory is an error.
func (c *Collector) Gather(ctx context.Context, b *plugins.Batch) error {
	p := b.Point("node_info")
	text(p, "hostname", hostname(b))
	text(p, "model", model())
	text(p, "architecture", cmp.Or(firstLine(plugins.HostProc("sys/kernel/arch")), c.machine()))
	text(p, "kernel", firstLine(plugins.HostProc("sys/kernel/osrelease")))
	text(p, "os", osName())
	if t := bootTime(); t > 0 {
		p.Int("boot_time", t)
	}
	return errors.Join(addProcessors(ctx, p), addMemory(ctx, p))
}

// text adds a string that is known.
func text(p *plugins.Point, key, value string) {
	if value != "" {
		p.String(key, value)
	}
}

func hostname(b *plugins.Batch) string {
	if b.Host() != "" {
		return b.Host()
	}
	name, _ := os.Hostname()
	return name
}

func addProcessors(ctx context.Context, p *plugins.Point) error {
	infos, err := cpu.InfoWithContext(ctx)
	if err == nil && len(infos) > 0 && infos[0].ModelName != unknownPart {
		text(p, "cpu_name", infos[0].ModelName)
	}
	logical, err := cpu.CountsWithContext(ctx, true)
	if err != nil || logical == 0 {
		return fmt.Errorf("count processors in %s: %w", plugins.HostProc("cpuinfo"), cmp.Or(err, errNone))
	}
	p.Int("cores", int64(logical))
	if physical, err := cpu.CountsWithContext(ctx, false); err == nil && physical > 0 {
		p.Int("cores_physical", int64(physical))
	}
	if lowest, highest := limits(); highest > 0 {
		p.Float("cpu_min_mhz", lowest).Float("cpu_max_mhz", highest)
	}
	return nil
}

// unknownPart is gopsutil's name for an ARM core that it does not know.
const unknownPart = "Undefined"

var errNone = errors.New("none found")

func addMemory(ctx context.Context, p *plugins.Point) error {
	vm, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil || vm.Total == 0 {
		return fmt.Errorf("read memory from %s: %w", plugins.HostProc("meminfo"), cmp.Or(err, errNone))
	}
	p.Uint("ram_total", vm.Total).Uint("swap_total", vm.SwapTotal)
	return nil
}

// machine is the architecture as the kernel calls it, else as Go does.
func machine() string { return cmp.Or(uname(), runtime.GOARCH) }
