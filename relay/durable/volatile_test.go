package durable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mounted mounts a file system, for which one must be root.
func mounted(t *testing.T, kind, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a file system")
	}
	dir := t.TempDir()
	if err := unix.Mount(kind, dir, kind, 0, options); err != nil {
		t.Skipf("this machine lets nobody mount %s: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func expect(t *testing.T, dir, want string) {
	t.Helper()
	if got, err := Volatile(dir); err != nil || !strings.HasPrefix(got, want) || want == "" && got != "" {
		t.Errorf("%s: %q, %v; want %q", dir, got, err, want)
	}
}

func TestWhatForgetsIsVolatile(t *testing.T) {
	expect(t, "/proc", "")
	if _, err := Volatile(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("a directory that is not there is taken for one")
	}
	t.Run("tmpfs", func(t *testing.T) { expect(t, mounted(t, "tmpfs", "size=64k"), "tmpfs, which is memory") })
	t.Run("ramfs", func(t *testing.T) { expect(t, mounted(t, "ramfs", ""), "ramfs, which is memory") })
	t.Run("overlay", func(t *testing.T) {
		layers := mounted(t, "tmpfs", "size=64k")
		for _, name := range []string{"lower", "upper", "work"} {
			if err := os.Mkdir(filepath.Join(layers, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, mounted(t, "overlay", "lowerdir="+layers+"/lower,upperdir="+layers+"/upper,workdir="+layers+"/work"), "an overlay")
	})
}
