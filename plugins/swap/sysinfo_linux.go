package swap

import (
	"context"

	"golang.org/x/sys/unix"
)

// sysinfo asks for swap space alone: gopsutil would read vmstat as well.
func sysinfo(context.Context) (total, free uint64, err error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, 0, err
	}
	unit := uint64(info.Unit)
	return uint64(info.Totalswap) * unit, uint64(info.Freeswap) * unit, nil
}
