package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// statfs asks the kernel.
func statfs(path string) (space, error) {
	var s unix.Statfs_t
	for {
		err := unix.Statfs(path, &s)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return space{}, &os.PathError{Op: "statfs", Path: path, Err: err}
		}
	}
	size := uint64(s.Bsize)
	all := space{
		total:       s.Blocks * size,
		used:        (s.Blocks - s.Bfree) * size,
		free:        s.Bavail * size,
		inodesTotal: s.Files,
		inodesFree:  s.Ffree,
	}
	if s.Files > s.Ffree { // some file systems make inodes as they need them
		all.inodesUsed = s.Files - s.Ffree
	}
	return all, nil
}
