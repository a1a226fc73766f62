package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// shm is a directory in memory, as every Linux has one.
func shm(t *testing.T) string {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &st); err != nil || int64(st.Type) != unix.TMPFS_MAGIC {
		t.Skip("this machine has no tmpfs at /dev/shm")
	}
	dir, err := os.MkdirTemp("/dev/shm", "vitals")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestADirectoryInMemoryIsToldOf(t *testing.T) {
	dir := shm(t)
	p := start(t, nodeFile(t, dir, nil))
	want := filepath.Join(dir, "relay") + " is on tmpfs, which is memory: what is accepted is gone when this machine stops"
	if n := p.status().Notes; len(n) != 1 || !strings.HasPrefix(n[0], want) {
		t.Errorf("notes: %q", n)
	}
	if out, err := command(t, "status"); err != nil || !strings.Contains(out, "NOTE: "+want) {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(p.stderr.String(), want) {
		t.Errorf("the log does not tell:\n%s", p.stderr)
	}
	if _, page := p.ask("/"); !strings.Contains(page, `<p class="note">`+want) {
		t.Errorf("the page does not tell:\n%s", page)
	}
}
