package diskio

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

// ticking has a clock that is ten seconds further each time it is asked.
func ticking() plugins.Description {
	d := Description()
	d.New = func() plugins.Collector {
		c := Description().New().(*Collector)
		at := time.Unix(1717171717, 0)
		c.now = func() time.Time { at = at.Add(10 * time.Second); return at }
		return c
	}
	return d
}

func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(t *testing.T, folder string) plugins.Description {
		t.Setenv("HOST_RUN", filepath.Join(folder, "run"))
		t.Setenv("HOST_DEV", filepath.Join(folder, "dev"))
		return ticking()
	})
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

func TestDevices(t *testing.T) {
	errs := plugins.Check(Description(), []byte(`devices = ["sda", "sd[b"]`))
	if len(errs) != 1 || errs[0].Option != "devices" || !strings.Contains(errs[0].Message, "sd[b") {
		t.Errorf("%v", errs)
	}
}

// TestUdev reads a tree that is made here: the files of a module cannot have
// the colons of these.
func TestUdev(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/diskstats", "179 0 mmcblk0 1 0 8 1 1 0 8 1 0 1 1\n179 2 mmcblk0p2 1 0 8 1 1 0 8 1 0 1 1\n8 0 sda 1 0 8 1 1 0 8 1 0 1 1\n")
	write("run/udev/data/b179:0", "S:disk/by-id/mmc-SC32G\nE:ID_SERIAL=0x1234\nE:ID_MODEL=SC32G\nV:1\n")
	write("run/udev/data/b179:2", "S:disk/by-label/rootfs\nS:root\nE:ID_FS_LABEL=rootfs\nE:ID_FS_TYPE=ext4\nE:odd\n")
	write("sys/dev/block/8:0/device/model", "SSD 870  \n")
	write("sys/dev/block/8:0/device/serial", "S123\n")
	write("sys/block/sda/wwid", "naa.5002538f\n")
	write("dev/mmcblk0p2", "")
	if err := os.Symlink("mmcblk0p2", filepath.Join(root, "dev/root")); err != nil {
		t.Fatal(err)
	}
	for name, folder := range map[string]string{"HOST_PROC": "proc", "HOST_RUN": "run", "HOST_SYS": "sys", "HOST_DEV": "dev"} {
		t.Setenv(name, filepath.Join(root, folder))
	}
	f := func(options string, want ...string) {
		t.Helper()
		var heads []string
		for line := range strings.Lines(plugintest.Configure(t, Description(), options).Gather()) {
			head, _, _ := strings.Cut(line, " reads=")
			heads = append(heads, strings.TrimPrefix(head, "diskio,"))
		}
		if got, all := strings.Join(heads, "\n"), strings.Join(want, "\n"); got != all {
			t.Errorf("%s:\n%s\nwant\n%s", options, got, all)
		}
	}
	f("", "name=mmcblk0", "name=mmcblk0p2", "name=sda,wwid=naa.5002538f")
	f(`skip_serial_number = false`, "name=mmcblk0,serial=0x1234", "name=mmcblk0p2,serial=unknown",
		`name=sda,serial=SSD\ 870_S123,wwid=naa.5002538f`)
	f(`name_templates = ["$ID_FS_LABEL", "x-${ID_MODEL}-y"]`, "name=x-SC32G-y", "name=rootfs", "name=sda,wwid=naa.5002538f")
	f(`device_tags = ["ID_FS_TYPE", "ID_MODEL"]`, "ID_MODEL=SC32G,name=mmcblk0", "ID_FS_TYPE=ext4,name=mmcblk0p2", "name=sda,wwid=naa.5002538f")
	f(`devices = ["/dev/root", "sda"]`, "name=mmcblk0p2", "name=sda,wwid=naa.5002538f")
	f(`devices = ["disk/by-label/*", "sda"]`, "name=mmcblk0p2", "name=sda,wwid=naa.5002538f")
	f(`devices = ["*/mmc-*"]`, "name=mmcblk0")
	f(`devices = ["sdb"]`)
}

// TestPrefix finds the host where all of it is mounted.
func TestPrefix(t *testing.T) {
	t.Setenv("HOST_MOUNT_PREFIX", "/hostfs")
	t.Setenv("HOST_RUN", "")
	if got := folder("HOST_RUN", "/run"); got != "/hostfs/run" {
		t.Error(got)
	}
	t.Setenv("HOST_RUN", "/elsewhere")
	if got := folder("HOST_RUN", "/run"); got != "/elsewhere" {
		t.Error(got)
	}
}

// TestUnreadableOnce: a reading that fails leaves the one before as the base.
func TestUnreadableOnce(t *testing.T) {
	t.Setenv("HOST_PROC", "testdata/pi4-6.1/proc0")
	in := plugintest.Configure(t, ticking(), "")
	t.Setenv("HOST_PROC", t.TempDir())
	if _, err := in.TryGather(); err == nil || !strings.Contains(err.Error(), "read disks") {
		t.Fatal(err)
	}
	t.Setenv("HOST_PROC", "testdata/pi4-6.1/proc1")
	if got := in.Gather(); !strings.Contains(got, "io_util=") {
		t.Errorf("%q", got)
	}
}

// TestThisMachine: with or without disks, it is no error.
func TestThisMachine(t *testing.T) { plugintest.Configure(t, Description(), "").Gather() }
