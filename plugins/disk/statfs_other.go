//go:build !linux

package disk

import "github.com/shirou/gopsutil/v3/disk"

func statfs(path string) (space, error) {
	u, err := disk.Usage(path)
	if err != nil {
		return space{}, err
	}
	return space{u.Total, u.Used, u.Free, u.InodesTotal, u.InodesUsed, u.InodesFree}, nil
}
