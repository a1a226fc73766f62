package ram

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v3/mem"

	"github.com/rpicluster/vitals/plugins"
)

func addExtended(ctx context.Context, p *plugins.Point) error {
	ex, err := mem.VirtualMemoryExWithContext(ctx)
	if err != nil {
		return fmt.Errorf("read extended memory: %w", err)
	}
	p.Uint("active_file", ex.ActiveFile).
		Uint("inactive_file", ex.InactiveFile).
		Uint("active_anon", ex.ActiveAnon).
		Uint("inactive_anon", ex.InactiveAnon).
		Uint("unevictable", ex.Unevictable).
		Uint("percpu", perCPU())
	return nil
}

// perCPU reads the one line that gopsutil/v3 leaves out; 0 before kernel 4.20.
func perCPU() uint64 {
	data, _ := os.ReadFile(plugins.HostProc("meminfo"))
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "Percpu:"); ok {
			kB, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kB * 1024
		}
	}
	return 0
}
