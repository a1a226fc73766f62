//go:build !linux

package swap

import (
	"context"

	"github.com/shirou/gopsutil/v3/mem"
)

func sysinfo(ctx context.Context) (total, free uint64, err error) {
	s, err := mem.SwapMemoryWithContext(ctx)
	if err != nil {
		return 0, 0, err
	}
	return s.Total, s.Free, nil
}
