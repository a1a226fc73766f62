package kernel

import (
	"strings"
	"testing"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(*testing.T, string) plugins.Description { return Description() })
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

func TestCollect(t *testing.T) {
	if errs := plugins.Check(Description(), []byte(`collect = ["ksm", "psi"]`)); len(errs) > 0 {
		t.Error(errs)
	}
	errs := plugins.Check(Description(), []byte(`collect = ["psi", "numa"]`))
	if len(errs) != 1 || errs[0].Error() != `collect: "numa" is none of ksm, psi` {
		t.Error(errs)
	}
}

// TestThisMachine reads the machine that the test runs on.
func TestThisMachine(t *testing.T) {
	got := plugintest.Configure(t, Description(), "").Gather()
	for _, field := range []string{"boot_time=", "context_switches=", "interrupts=", "processes_forked=", "entropy_avail="} {
		if !strings.Contains(got, field) {
			t.Errorf("%q lacks %s", got, field)
		}
	}
}
