package plugins

import (
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	f := func(patterns, name string, want bool) {
		t.Helper()
		match, err := Patterns(strings.Fields(patterns))
		if err != nil {
			t.Fatal(err)
		}
		if match(name) != want {
			t.Errorf("%s, %s: %v", patterns, name, !want)
		}
	}
	f("", "eth0", false)
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
	f("disk/by-*", "disk/by-label/root", true)
	f("größe?", "größeö", true)
	for _, bad := range []string{"eth[0", "eth[]*"} {
		if _, err := Patterns([]string{"lo", bad}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
