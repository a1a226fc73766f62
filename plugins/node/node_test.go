package node

import (
	"strings"
	"testing"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

// TestGolden stands for uname(2), which the kernels before 6.1 have no file
// for, with the name of a machine that none of the trees is of.
func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(*testing.T, string) plugins.Description {
		d := Description()
		d.New = func() plugins.Collector { return &Collector{machine: func() string { return "from-uname" }} }
		return d
	})
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

// TestThisMachine: what stands on every machine must be found on this one.
func TestThisMachine(t *testing.T) {
	got := plugintest.Configure(t, Description(), "").Gather()
	for _, field := range []string{`hostname="` + plugintest.Host, `architecture="`, `kernel="`, "cores=", "ram_total="} {
		if !strings.Contains(got, field) {
			t.Errorf("%q lacks %s", got, field)
		}
	}
}
