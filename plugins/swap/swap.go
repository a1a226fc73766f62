// Package swap collects swap space and what goes in and out of it, as
// Telegraf's inputs.swap does.
package swap

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
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
		Name:         "swap",
		Description:  "Swap space, and what goes in and out of it.",
		Sample:       sample,
		Measurements: []string{"swap"},
		New: func() plugins.Collector {
			return &Collector{Schema: plugins.Telegraf, pageSize: uint64(os.Getpagesize())}
		},
	}
}

// Collector holds the options.
type Collector struct {
	Schema plugins.Schema `toml:"schema"`

	pageSize uint64 // in bytes: 4096, or 16384 on a Raspberry Pi 5
}

var _ plugins.HostOmitter = (*Collector)(nil)

// OmitHost implements plugins.HostOmitter.
func (c *Collector) OmitHost() bool { return c.Schema == plugins.Cluster }

// Gather implements plugins.Collector.
func (c *Collector) Gather(ctx context.Context, b *plugins.Batch) error {
	total, free, err := space(ctx)
	if err != nil {
		return fmt.Errorf("read swap space: %w", err)
	}
	if c.Schema == plugins.Cluster {
		b.Point("swap").Tag("node", b.Host()).Uint("free", free)
		return nil
	}
	used := total - min(free, total)
	percent := 0.0
	if total > 0 {
		percent = float64(used) / float64(total) * 100 // the order of Telegraf's digits
	}
	b.Point("swap").Uint("total", total).Uint("used", used).Uint("free", free).Float("used_percent", percent)
	return c.gatherTraffic(b)
}

// gatherTraffic counts the pages that the kernel has swapped, in bytes.
// gopsutil takes every page for 4 KiB.
func (c *Collector) gatherTraffic(b *plugins.Batch) error {
	counters, err := numbers("vmstat", " ", "pswpin", "pswpout")
	if err != nil {
		return fmt.Errorf("read swap traffic: %w", err)
	}
	b.Point("swap").Uint("in", counters["pswpin"]*c.pageSize).Uint("out", counters["pswpout"]*c.pageSize)
	return nil
}

// space asks sysinfo(2), as Telegraf does. Where HOST_PROC says which machine
// is meant, its meminfo is read instead, since the call can only answer for
// the (container or virtual) machine that this process runs on.
func space(ctx context.Context) (total, free uint64, err error) {
	if os.Getenv("HOST_PROC") == "" {
		return sysinfo(ctx)
	}
	kB, err := numbers("meminfo", ":", "SwapTotal", "SwapFree")
	return kB["SwapTotal"] * 1024, kB["SwapFree"] * 1024, err
}

// numbers reads those that are named, of a file below /proc that has a name and
// a number in each of its many lines.
func numbers(file, separator string, names ...string) (map[string]uint64, error) {
	f, err := os.Open(plugins.HostProc(file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found := make(map[string]uint64, len(names))
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, rest, _ := bytes.Cut(lines.Bytes(), []byte(separator))
		if !slices.Contains(names, string(name)) {
			continue
		}
		value, _, _ := strings.Cut(strings.TrimSpace(string(rest)), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			found[string(name)] = n
		}
	}
	return found, lines.Err()
}
