package durable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/internal/durable/durabletest"
)

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
	t.Run("tmpfs", func(t *testing.T) { expect(t, durabletest.Mount(t, "tmpfs", "size=64k"), "tmpfs, which is memory") })
	t.Run("ramfs", func(t *testing.T) { expect(t, durabletest.Mount(t, "ramfs", ""), "ramfs, which is memory") })
	t.Run("overlay", func(t *testing.T) {
		layers := durabletest.Mount(t, "tmpfs", "size=64k")
		for _, name := range []string{"lower", "upper", "work"} {
			if err := os.Mkdir(filepath.Join(layers, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, durabletest.Mount(t, "overlay", "lowerdir="+layers+"/lower,upperdir="+layers+"/upper,workdir="+layers+"/work"), "an overlay")
	})
}
