package clock

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Something must vouch for a clock that the kernel calls unsynchronised.
func TestWhatVouchesForAClock(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	f := func(name string, want bool, files ...string) {
		t.Helper()
		root := t.TempDir()
		for i := 0; i < len(files); i += 2 {
			path := filepath.Join(root, files[i])
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(files[i+1]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := trusted(root, now); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	rtc := func(n int, after time.Duration) (string, string) {
		return fmt.Sprintf("sys/class/rtc/rtc%d/since_epoch", n), fmt.Sprint(now.Add(after).Unix(), "\n")
	}
	one := func(after time.Duration) []string { a, b := rtc(0, after); return []string{a, b} }
	f("a bare board", false)
	f("a board", false, "proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd\nModel\t\t: Raspberry Pi 4\n")
	f("systemd has synchronised", true, "run/systemd/timesync/synchronized", "")
	f("a battery", true, one(2*time.Second)...)
	f("a battery's clock that is wrong", false, one(-time.Hour)...)
	f("a battery's clock in another zone", false, one(2*time.Hour)...)
	f("no battery", false, "sys/class/rtc/rtc0/since_epoch", "20\n")
	f("nothing to be read", false, "sys/class/rtc/rtc0/since_epoch", "")
	second, text := rtc(1, 0)
	f("the second of two", true, "sys/class/rtc/rtc0/since_epoch", "20\n", second, text)
	f("a virtual machine", true, "proc/cpuinfo", "flags\t\t: fpu sse2 hypervisor lahf_lm\n")
	if now = time.Unix(100, 0); trusted(t.TempDir(), now) {
		t.Error("1970 is trusted")
	}
	f("a battery that was empty, and the clock that was set by it", false, one(0)...)
}

// The kernel answers, and its clocks run.
func TestTheKernelIsAsked(t *testing.T) {
	from := Machine()
	from.Known()
	wall, boot := from.Now()
	if d := time.Since(time.Unix(0, int64(wall))); d < 0 || d > time.Hour || boot <= 0 {
		t.Error(wall, boot)
	}
	if _, later := from.Now(); later <= boot {
		t.Errorf("%v comes after %v", later, boot)
	}
}
