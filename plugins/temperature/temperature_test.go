//go:build linux

package temperature

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
	"github.com/rpicluster/vitals/plugins/proto"
)

func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(*testing.T, string) plugins.Description { return Description() })
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

func TestMetricFormat(t *testing.T) {
	want := []plugins.OptionError{{Option: "metric_format", Message: `expected "v1" or "v2"`}}
	if diff := cmp.Diff(want, plugins.Check(Description(), []byte(`metric_format = "v3"`))); diff != "" {
		t.Error(diff)
	}
	for _, good := range []string{`metric_format = ""`, `metric_format = "v1"`, ""} {
		if errs := plugins.Check(Description(), []byte(good)); len(errs) > 0 {
			t.Errorf("%s: %v", good, errs)
		}
	}
}

// TestWarnsOfTwinsOnce: two disks are one series, and the log says so, once.
func TestWarnsOfTwinsOnce(t *testing.T) {
	f := func(options string, want int) {
		t.Helper()
		t.Setenv("HOST_SYS", "testdata/pc-6.1/sys")
		var log strings.Builder
		server := plugins.NewServer(slog.New(slog.NewTextHandler(&log, nil)), Description())
		if _, err := server.Configure(t.Context(), &proto.ConfigureRequest{Collector: "temp", ConfigToml: []byte(options)}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := server.Gather(t.Context(), &proto.GatherRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Count(log.String(), "add_device_tag"); got != want {
			t.Errorf("%q: %d warnings, want %d:\n%s", options, got, want, log.String())
		}
	}
	f("", 1)
	f("add_device_tag = true", 0)
}

// TestSleepingSensor: a reading does not wait for a file that would block, as
// a named pipe does that nobody writes to.
func TestSleepingSensor(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "class/hwmon/hwmon0")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(folder, "temp1_input"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "temp2_input"), []byte("41000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOST_SYS", root)
	if got := plugintest.Configure(t, Description(), "").Gather(); got != "temp temp=41\n" {
		t.Errorf("%q", got)
	}
}

// TestThisMachine: with or without sensors, it is no error.
func TestThisMachine(t *testing.T) { plugintest.Configure(t, Description(), "").Gather() }
