package durable

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Volatile says what a file system forgets, in words that follow "it is on";
// empty if nothing is known against it.
func Volatile(directory string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(directory, &st); err != nil {
		return "", fmt.Errorf("statfs %s: %w", directory, err)
	}
	switch int64(st.Type) {
	case unix.TMPFS_MAGIC:
		return "tmpfs, which is memory: what is accepted is gone when this machine stops", nil
	case unix.RAMFS_MAGIC:
		return "ramfs, which is memory: what is accepted is gone when this machine stops", nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "an overlay, as containers have: what is accepted is gone with the container", nil
	}
	return "", nil
}
