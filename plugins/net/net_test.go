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

func TestMatcher(t *testing.T) {
	f := func(patterns, name string, want bool) {
		t.Helper()
		match, err := matcher(strings.Fields(patterns))
		if err != nil {
			t.Fatal(err)
		}
		if match(name) != want {
			t.Errorf("%s, %s: %v", patterns, name, !want)
		}
	}
	f("eth0", "eth0", true)
	f("eth0", "eth01", false)
	f("eth0 wlan0", "wlan0", true)
	f("eth*", "eth0", true)
	f("eth*", "veth0", false)
	f("eth* lo", "lo", true)
	f("eth* lo", "lo1", false)
	f("eth?", "eth", false)
	f("eth?", "eth0", true)
	f("eth[0-2]", "eth2", true)
	f("eth[!0-2]", "eth2", false)
	f("eth[!0-2]", "eth3", true)
	f("eth[^]", "eth^", true)
	f("{eth,wlan}*", "wlan0", true)
	f("{eth,wlan}*", "usb0", false)
	f("{eth0}", "{eth0}", true) // nothing special in it
	f("{eth0}", "eth0", false)
	f(`br-\** x`, "br-*1", true)
	f(`br-\** x`, "br-1", false)
	f("eth0.10*", "eth0x10", false)
	f("a,b*", "a,b1", true)
}

func TestInterfaces(t *testing.T) {
	for _, bad := range []string{"eth[0", "{eth*", "eth[]*"} {
		errs := plugins.Check(Description(), []byte(`interfaces = ["lo", "`+bad+`"]`))
		if len(errs) != 1 || errs[0].Option != "interfaces" || !strings.Contains(errs[0].Message, bad) {
			t.Errorf("%s: %v", bad, errs)
		}
	}
}

// TestWithoutSys: where the flags are not known, those of another machine are
// told and those that this one does not have are not.
func TestWithoutSys(t *testing.T) {
	t.Setenv("HOST_SYS", "")
	f := func(hostProc string, want bool) {
		t.Helper()
		t.Setenv("HOST_PROC", hostProc)
		if got := new(Collector).wants("nowhere9"); got != want {
			t.Errorf("HOST_PROC=%q: %v", hostProc, got)
		}
	}
	f("testdata/pi4-6.1/proc1", true)
	f("", false)
}

// TestThisMachine: the loopback is there, and told only if it is asked for.
func TestThisMachine(t *testing.T) {
	if got := plugintest.Configure(t, Description(), `interfaces = ["l[o]"]`).Gather(); !strings.HasPrefix(got, "net,interface=lo bytes_sent=") {
		t.Errorf("%q", got)
	}
	if got := plugintest.Configure(t, Description(), "").Gather(); strings.Contains(got, "interface=lo ") {
		t.Errorf("%q", got)
	}
}
