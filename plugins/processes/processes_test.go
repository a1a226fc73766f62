package processes

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(*testing.T, string) plugins.Description { return Description() })
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

// TestEndsMeanwhile: a folder without its file is a process that has gone.
func TestEndsMeanwhile(t *testing.T) {
	proc := t.TempDir()
	t.Setenv("HOST_PROC", proc)
	write := func(pid, stat string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if stat == "" {
			return
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "stat"), []byte(stat), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	in := plugintest.Configure(t, Description(), "")
	write("12", "")
	if lines, err := in.TryGather(); lines != "" || err == nil || !strings.Contains(err.Error(), "no processes in "+proc) {
		t.Errorf("%q, %v", lines, err)
	}
	write("13", "13 (sh) S 1 13 13 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0")
	if got := in.Gather(); !strings.Contains(got, "sleeping=1i,stopped=0i,total=1i,total_threads=1i") {
		t.Errorf("%q", got)
	}
}

// TestMayNotLook: there is somebody, and that is all that is known.
func TestMayNotLook(t *testing.T) {
	n := newTally()
	if err := n.count("7", nil, &os.PathError{Op: "open", Path: "7/stat", Err: syscall.EACCES}); err != nil {
		t.Fatal(err)
	}
	if n.fields["unknown"] != 1 || n.fields["total"] != 1 || n.fields["total_threads"] != 0 {
		t.Errorf("%v", n.fields)
	}
	if err := n.count("8", nil, syscall.EIO); err == nil {
		t.Error("a broken /proc is no error")
	}
	if err := n.count("9", nil, syscall.ESRCH); err != nil || n.fields["total"] != 1 {
		t.Errorf("one that has ended: %v, %v", err, n.fields)
	}
}

// TestThisMachine reads the machine that the test runs on, on which this very
// process runs.
func TestThisMachine(t *testing.T) {
	got := plugintest.Configure(t, Description(), "").Gather()
	if strings.Contains(got, "total=0i") || strings.Count(got, "=") < 11 {
		t.Errorf("%q", got)
	}
}

// BenchmarkGather reads the processes of the machine that it runs on.
func BenchmarkGather(b *testing.B) {
	var batch plugins.Batch
	c := Description().New()
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		if err := c.Gather(b.Context(), &batch); err != nil {
			b.Fatal(err)
		}
	}
}
