// Package durabletest mounts the file systems that tests need.
package durabletest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Mount mounts a file system, for which one must be root, until the test ends.
func Mount(t *testing.T, kind, options string) (directory string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a file system")
	}
	directory = t.TempDir()
	if err := unix.Mount(kind, directory, kind, 0, options); err != nil {
		t.Fatalf("mount %s: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(directory, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return directory
}
