package linux_cpu

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
	"github.com/rpicluster/vitals/plugins/proto"
)

func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(*testing.T, string) plugins.Description { return Description() })
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

func TestMetrics(t *testing.T) {
	for _, good := range []string{"", `metrics = ["thermal"]`, `metrics = ["cpufreq", "magic"]`} {
		if errs := plugins.Check(Description(), []byte(good)); len(errs) > 0 {
			t.Errorf("%s: %v", good, errs)
		}
	}
	for _, bad := range []string{"metrics = []", `metrics = ["magic"]`} {
		errs := plugins.Check(Description(), []byte(bad))
		if len(errs) != 1 || errs[0].Option != "metrics" {
			t.Errorf("%s: %v", bad, errs)
		}
	}
}

// TestHostSys: the option comes before the environment.
func TestHostSys(t *testing.T) {
	sys, err := filepath.Abs("testdata/pi4-6.1/sys")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOST_SYS", t.TempDir())
	got := plugintest.Configure(t, Description(), "host_sys = '"+sys+"'").Gather()
	if strings.Count(got, "\n") != 2 {
		t.Errorf("%q", got)
	}
}

// TestWarnsOnce: what is missing stays missing, and is said once for each CPU.
func TestWarnsOnce(t *testing.T) {
	t.Setenv("HOST_SYS", "testdata/vm-without-cpufreq/sys")
	var log strings.Builder
	server := plugins.NewServer(slog.New(slog.NewTextHandler(&log, nil)), Description())
	options := `metrics = ["cpufreq", "magic"]`
	if _, err := server.Configure(t.Context(), &proto.ConfigureRequest{Collector: "linux_cpu", ConfigToml: []byte(options)}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := server.Gather(t.Context(), &proto.GatherRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"cpu0 has no cpufreq", "cpu1 has no cpufreq", "there is no metric"} {
		if n := strings.Count(log.String(), text); n != 1 {
			t.Errorf("%q is said %d times:\n%s", text, n, log.String())
		}
	}
}

// TestThisMachine: with or without cpufreq, it is no error.
func TestThisMachine(t *testing.T) { plugintest.Configure(t, Description(), "").Gather() }
