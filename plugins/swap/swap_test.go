package swap

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

// TestGolden reads the page size of the machine that a tree is of from the
// file pagesize beside it; 4096 if there is none.
func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(t *testing.T, folder string) plugins.Description {
		return withPageSize(t, filepath.Join(folder, "pagesize"))
	})
}

func withPageSize(t *testing.T, file string) plugins.Description {
	size := uint64(4096)
	if data, err := os.ReadFile(file); err == nil {
		if size, err = strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	d := Description()
	d.New = func() plugins.Collector { return &Collector{Schema: plugins.Telegraf, pageSize: size} }
	return d
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

// TestThisMachine asks sysinfo(2), which must agree with /proc/meminfo.
func TestThisMachine(t *testing.T) {
	t.Setenv("HOST_PROC", "")
	total, free, err := space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOST_PROC", "/proc")
	fileTotal, _, err := space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if total != fileTotal || free > total {
		t.Errorf("sysinfo says %d, %d free; meminfo %d", total, free, fileTotal)
	}
	if got := plugintest.Configure(t, Description(), "").Gather(); strings.Count(got, "\n") != 2 {
		t.Errorf("%q", got)
	}
}
