// Package ram collects memory, as Telegraf's inputs.mem does.
package ram

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/shirou/gopsutil/v3/mem"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its names.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "ram",
		Aliases:      []string{"mem"},
		Description:  "Memory.",
		Sample:       sample,
		Measurements: []string{"mem", "ram"},
		New:          func() plugins.Collector { return &Collector{Schema: plugins.Telegraf} },
	}
}

// Collector holds the options.
type Collector struct {
	CollectExtended bool           `toml:"collect_extended"`
	Schema          plugins.Schema `toml:"schema"`
}

var _ plugins.HostOmitter = (*Collector)(nil)

// OmitHost implements plugins.HostOmitter.
func (c *Collector) OmitHost() bool { return c.Schema == plugins.Cluster }

// Gather implements plugins.Collector.
func (c *Collector) Gather(ctx context.Context, b *plugins.Batch) error {
	vm, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return fmt.Errorf("read memory: %w", err)
	}
	if vm.Total == 0 { // gopsutil takes a missing file for a machine without memory
		return fmt.Errorf("no MemTotal in %s", plugins.HostProc("meminfo"))
	}
	if c.Schema == plugins.Cluster {
		b.Point("ram").Tag("node", b.Host()).Uint("free", vm.Free)
		return nil
	}
	p := b.Point("mem")
	addCommon(p, vm)
	addKernel(p, vm)
	if c.CollectExtended {
		return addExtended(ctx, p)
	}
	return nil
}

// addCommon adds what every system has. gopsutil's own used leaves out the
// caches; Telegraf counts as used what is not available.
func addCommon(p *plugins.Point, vm *mem.VirtualMemoryStat) {
	available := vm.Available
	switch {
	case int64(available) < 0: // the estimate for kernels without MemAvailable fell below zero
		available = 0
	case available > vm.Total: // a container is shown more than its share
		available = vm.Total
	}
	used := vm.Total - available
	p.Uint("total", vm.Total).
		Uint("available", available).
		Uint("used", used).
		Float("used_percent", 100*float64(used)/float64(vm.Total)).
		Float("available_percent", 100*float64(available)/float64(vm.Total))
}

func addKernel(p *plugins.Point, vm *mem.VirtualMemoryStat) {
	p.Uint("active", vm.Active).
		Uint("buffered", vm.Buffers).
		Uint("cached", vm.Cached). // holds SReclaimable
		Uint("commit_limit", vm.CommitLimit).
		Uint("committed_as", vm.CommittedAS).
		Uint("dirty", vm.Dirty).
		Uint("free", vm.Free).
		Uint("high_free", vm.HighFree).
		Uint("high_total", vm.HighTotal).
		Uint("huge_pages_free", vm.HugePagesFree).
		Uint("huge_page_size", vm.HugePageSize).
		Uint("huge_pages_total", vm.HugePagesTotal).
		Uint("inactive", vm.Inactive).
		Uint("low_free", vm.LowFree).
		Uint("low_total", vm.LowTotal).
		Uint("mapped", vm.Mapped).
		Uint("page_tables", vm.PageTables).
		Uint("shared", vm.Shared).
		Uint("slab", vm.Slab).
		Uint("sreclaimable", vm.Sreclaimable).
		Uint("sunreclaim", vm.Sunreclaim).
		Uint("swap_cached", vm.SwapCached).
		Uint("swap_free", vm.SwapFree).
		Uint("swap_total", vm.SwapTotal).
		Uint("vmalloc_chunk", vm.VmallocChunk).
		Uint("vmalloc_total", vm.VmallocTotal).
		Uint("vmalloc_used", vm.VmallocUsed).
		Uint("write_back", vm.WriteBack).
		Uint("write_back_tmp", vm.WriteBackTmp)
}
