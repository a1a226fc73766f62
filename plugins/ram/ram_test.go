package ram

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(t *testing.T, folder string) plugins.Description {
		if _, err := os.Stat(filepath.Join(folder, "proc1/zoneinfo")); err == nil && os.Getpagesize() != 4096 {
			t.Skip("the estimate from zoneinfo counts in pages of this machine")
		}
		return Description()
	})
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

func TestThisMachine(t *testing.T) {
	got := plugintest.Configure(t, Description(), "collect_extended = true").Gather()
	if strings.Count(got, "=") != 40 || strings.Contains(got, "mem total=0i") {
		t.Errorf("%q", got)
	}
}
