package net

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

func TestInterfaces(t *testing.T) {
	for _, bad := range []string{"eth[0", "eth[]*"} {
		errs := plugins.Check(Description(), []byte(`interfaces = ["lo", "`+bad+`"]`))
		if len(errs) != 1 || errs[0].Option != "interfaces" || !strings.Contains(errs[0].Message, bad) {
			t.Errorf("%s: %v", bad, errs)
		}
	}
}

// TestThisMachine: the loopback is there, and told only if it is asked for.
func TestThisMachine(t *testing.T) {
	if got := plugintest.Configure(t, Description(), `interfaces = ["l[o]"]`).Gather(); !strings.HasPrefix(got, "net,interface=lo bytes_sent=") {
		t.Errorf("%q", got)
	}
	if got := plugintest.Configure(t, Description(), "").Gather(); strings.Contains(got, "interface=lo ") {
		t.Errorf("%q", got)
	}
	t.Setenv("HOST_PROC", "/proc")
	if got := plugintest.Configure(t, Description(), "").Gather(); !strings.Contains(got, "interface=lo ") {
		t.Errorf("of another machine all are told: %q", got)
	}
}
