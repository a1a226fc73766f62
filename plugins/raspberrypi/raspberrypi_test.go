package raspberrypi

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
	"github.com/rpicluster/vitals/plugins/proto"
)

// withFirmware is the collector with a made-up firmware behind its mailbox.
func withFirmware(t *testing.T, fw *firmware) plugins.Description {
	d := Description()
	d.New = func() plugins.Collector {
		c := newCollector(fw.open)
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	}
	return d
}

func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(t *testing.T, folder string) plugins.Description {
		return withFirmware(t, recordedFirmware(t, folder))
	})
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

func TestWatchInterval(t *testing.T) {
	f := func(options string, want ...plugins.OptionError) {
		t.Helper()
		if diff := cmp.Diff(want, plugins.Check(Description(), []byte(options))); diff != "" {
			t.Errorf("%s:\n%s", options, diff)
		}
	}
	wrong := plugins.OptionError{Option: "watch_interval", Message: `expected "200ms" to "2s", or "0s" to count no events`}
	f(`watch_interval = "0s"`)
	f(`watch_interval = "200ms"`)
	f(`watch_interval = "2s"`)
	f(`watch_interval = "3s"`, wrong)
	f(`watch_interval = "10ms"`, wrong)
	f(`watch_interval = "-1s"`, wrong)
}

// TestAnotherMachineIsLeftAlone: nobody opens its devices.
func TestAnotherMachineIsLeftAlone(t *testing.T) {
	t.Setenv("HOST_SYS", "testdata/pc/sys")
	t.Setenv("HOST_PROC", t.TempDir())
	fw := &firmware{}
	if got := plugintest.Configure(t, withFirmware(t, fw), "").Gather(); got != "" || fw.opened > 0 {
		t.Errorf("%q, opened %d times", got, fw.opened)
	}
}

// TestThisMachine: whatever it is, it is no error.
func TestThisMachine(t *testing.T) {
	d := Description()
	d.New = func() plugins.Collector {
		c := newCollector(openVCIO)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	plugintest.Configure(t, d, "").Gather()
}

// TestWarnsOfClosedMailboxOnce: an absent one is nothing to warn of.
func TestWarnsOfClosedMailboxOnce(t *testing.T) {
	f := func(reason error, want int) {
		t.Helper()
		t.Setenv("HOST_SYS", "testdata/zero2w-6.6/sys")
		var log strings.Builder
		d := withFirmware(t, &firmware{reason: reason})
		server := plugins.NewServer(slog.New(slog.NewTextHandler(&log, nil)), d)
		if _, err := server.Configure(t.Context(), &proto.ConfigureRequest{Collector: d.Name}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := server.Gather(t.Context(), &proto.GatherRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Count(log.String(), "join the group video"); got != want {
			t.Errorf("%d warnings, want %d:\n%s", got, want, log.String())
		}
	}
	f(os.ErrPermission, 1)
	f(os.ErrNotExist, 0)
}

// TestMailboxThatComesLate is opened by the first gather that can.
func TestMailboxThatComesLate(t *testing.T) {
	t.Setenv("HOST_SYS", "testdata/zero2w-no-driver/sys")
	fw := &firmware{Throttled: 1, reason: os.ErrNotExist}
	in := plugintest.Configure(t, withFirmware(t, fw), "")
	if got := in.Gather(); got != "" {
		t.Errorf("%q", got)
	}
	fw.set(func() { fw.reason = nil })
	if got := in.Gather(); !strings.Contains(got, "under_voltage=1i") {
		t.Errorf("%q", got)
	}
}

// TestRealNameOfTheLegacyFile: the recorded trees cannot have its colon.
func TestRealNameOfTheLegacyFile(t *testing.T) {
	for _, folder := range []string{"/devices/platform/soc/soc:firmware", "/devices/platform/soc:firmware"} {
		sys := t.TempDir()
		write(t, sys+"/firmware/devicetree/base/model", "Raspberry Pi 2 Model B Rev 1.1\x00")
		write(t, sys+folder+"/get_throttled", "4\n")
		t.Setenv("HOST_SYS", sys)
		in := plugintest.Configure(t, withFirmware(t, &firmware{reason: os.ErrNotExist}), "")
		if got := in.Gather(); !strings.HasPrefix(got, "raspberrypi under_voltage=0i,frequency_capped=0i,throttled=1i,soft_temp_limit=0i,") {
			t.Errorf("%s: %q", folder, got)
		}
	}
}
