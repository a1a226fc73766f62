package cpu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(*testing.T, string) plugins.Description { return Description() })
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

// TestGoesOnAfterBackwards: what ran backwards is the base of the next reading.
func TestGoesOnAfterBackwards(t *testing.T) {
	proc := t.TempDir()
	t.Setenv("HOST_PROC", proc)
	stat := func(user, idle int) {
		text := fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 0 0\n", user, idle)
		if err := os.WriteFile(filepath.Join(proc, "stat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stat(1000, 1000)
	in := plugintest.Configure(t, Description(), "")
	stat(100, 100)
	if lines, err := in.TryGather(); err == nil || lines != "" {
		t.Fatalf("%q, %v", lines, err)
	}
	if got := in.Gather(); got != "" {
		t.Errorf("no time has passed, yet there is %q", got)
	}
	stat(300, 200)
	if got := in.Gather(); !strings.HasPrefix(got, "cpu,cpu=cpu-total usage_user=66.66666666666667,") {
		t.Errorf("%q", got)
	}
}

// TestUnreadableOnce: a reading that fails leaves the one before as the base.
func TestUnreadableOnce(t *testing.T) {
	t.Setenv("HOST_PROC", "testdata/pi4-5.10/proc0")
	in := plugintest.Configure(t, Description(), "")
	t.Setenv("HOST_PROC", t.TempDir())
	if _, err := in.TryGather(); err == nil || !strings.Contains(err.Error(), "no CPU times in") {
		t.Fatal(err)
	}
	t.Setenv("HOST_PROC", "testdata/pi4-5.10/proc1")
	if got := in.Gather(); strings.Count(got, "\n") != 5 {
		t.Errorf("%q", got)
	}
}

func TestSchemas(t *testing.T) {
	if plugintest.Configure(t, Description(), "").OmitHost {
		t.Error("Telegraf's lines have a host")
	}
	if !plugintest.Configure(t, Description(), `schema = "cluster"`).OmitHost {
		t.Error("the cluster's lines have a node instead")
	}
}

// TestThisMachine reads the machine that the test runs on.
func TestThisMachine(t *testing.T) {
	in := plugintest.Configure(t, Description(), "percpu = true\ncollect_cpu_time = true\ncore_tags = true\nreport_frequency = true")
	if got := in.Gather(); !strings.Contains(got, "cpu=cpu-total time_user=") {
		t.Errorf("%q", got)
	}
}

// BenchmarkGather alternates between two readings of a Raspberry Pi 4, so that
// every second one has shares to compute.
func BenchmarkGather(b *testing.B) {
	var batch plugins.Batch
	c := Description().New()
	b.ReportAllocs()
	for b.Loop() {
		for _, proc := range []string{"proc0", "proc1"} {
			b.Setenv("HOST_PROC", "testdata/pi4-5.10/"+proc)
			batch.Reset()
			_ = c.Gather(b.Context(), &batch) // proc0 comes after proc1: backwards
			batch.Bytes()
		}
	}
}
