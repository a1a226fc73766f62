package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

// TestGolden has in statfs.json what the kernel says of each path, six numbers
// in the order of space, and in prefix what HOST_MOUNT_PREFIX is.
func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(t *testing.T, folder string) plugins.Description {
		t.Setenv("HOST_RUN", filepath.Join(folder, "run"))
		t.Setenv("HOST_DEV", filepath.Join(folder, "dev"))
		prefix, _ := os.ReadFile(filepath.Join(folder, "prefix"))
		t.Setenv("HOST_MOUNT_PREFIX", strings.TrimSpace(string(prefix)))
		return withStatfs(t, filepath.Join(folder, "statfs.json"))
	})
}

func withStatfs(t *testing.T, file string) plugins.Description {
	t.Helper()
	var sizes map[string][6]uint64
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &sizes)
	}
	if err != nil {
		t.Fatal(err)
	}
	d := Description()
	d.New = func() plugins.Collector {
		c := Description().New().(*Collector)
		c.statfs = func(path string) (space, error) {
			n, ok := sizes[path]
			if !ok {
				return space{}, os.ErrPermission
			}
			return space{n[0], n[1], n[2], n[3], n[4], n[5]}, nil
		}
		return c
	}
	return d
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

// TestStatfs asks the kernel about a folder that must be somewhere.
func TestStatfs(t *testing.T) {
	s, err := statfs(t.TempDir())
	if err != nil || s.total == 0 || s.used > s.total || s.free > s.total || s.inodesUsed > s.inodesTotal {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := statfs(filepath.Join(t.TempDir(), "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestThisMachine: whatever is mounted here, it is no error.
func TestThisMachine(t *testing.T) { plugintest.Configure(t, Description(), "").Gather() }

func TestUnescape(t *testing.T) {
	if got := unescape(`/mnt/my\040disk\134040`); got != `/mnt/my disk\040` {
		t.Errorf("%q", got)
	}
}

// TestDevices resolves names in a tree that is made here: the files of a
// module cannot have the colons of these.
func TestDevices(t *testing.T) {
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
	link := func(to, name string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOST_SYS", filepath.Join(root, "sys"))
	t.Setenv("HOST_DEV", filepath.Join(root, "dev"))
	t.Setenv("HOST_RUN", filepath.Join(root, "run"))
	link("../../devices/platform/mmc0/block/mmcblk0/mmcblk0p2", "sys/dev/block/179:2")
	write("run/udev/data/b179:2", "S:disk/by-label/rootfs\nE:ID_FS_TYPE=ext4\nE:ID_FS_LABEL=rootfs\n")
	write("dev/dm-0", "")
	link("../dm-0", "dev/mapper/vg-vault")
	write("sys/block/dm-0/dm/name", "vg-vault\n")
	write("sys/class/block/sdb1/dev", "8:17\n")
	write("run/udev/data/b8:17", "E:ID_FS_LABEL=backup\n")

	f := func(line, device, label string) {
		t.Helper()
		m, err := parseMount(line)
		m.device = m.realDevice()
		if err != nil {
			t.Fatal(err)
		}
		if m.device != device || m.label() != label {
			t.Errorf("%s: %s, label %q", line, m.device, m.label())
		}
	}
	f("21 1 179:2 / / rw - ext4 /dev/root rw", "/dev/mmcblk0p2", "rootfs")
	f("21 1 179:7 / / rw - ext4 /dev/root rw", "/dev/root", "")
	f("21 1 254:0 / /vault rw - xfs /dev/mapper/vg-vault rw", "/dev/dm-0", "vg-vault")
	f("21 1 254:1 / /vault rw - xfs /dev/mapper/gone rw", "/dev/mapper/gone", "")
	f("21 1 0:50 / /btrfs rw - btrfs /dev/sdb1 rw", "/dev/sdb1", "backup")
	f("21 1 0:51 / /srv rw - nfs nas:/srv rw", "nas:/srv", "")
}

// FuzzParseMount: whatever stands in the file, it is a mount or an error.
func FuzzParseMount(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
	f.Add("36 35 98:0 / /a\\040b ro - ext4 /dev/sda1 rw")
	f.Add(" - ")
	f.Fuzz(func(t *testing.T, line string) {
		m, err := parseMount(line)
		m.device = m.realDevice()
		if err == nil && (m.fsType == "" || m.point == "" || len(m.options) == 0) {
			t.Errorf("%+v", m)
		}
	})
}

// TestMounts has what one file system under several names, and one of which only
// a part is mounted, are called.
func TestMounts(t *testing.T) {
	t.Setenv("HOST_PROC", t.TempDir())
	path := plugins.HostProc("1/mountinfo")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	lines, want := "", []string{}
	f := func(line, device, mode string, bind bool) {
		lines += line + "\n"
		want = append(want, fmt.Sprint(device, " ", mode, " ", bind))
	}
	f("21 1 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 rw", "/dev/sda1", "rw", false)
	f("22 1 8:1 /home /home rw - ext4 /dev/sda1 rw", "/dev/sda1", "rw", true)
	f("23 1 8:1 / /again rw - ext4 /dev/disk/by-label/root rw", "/dev/sda1", "rw", false)
	f("24 1 8:2 / /ro rw - ext4 /dev/sda2 ro,errors=remount-ro", "/dev/sda2", "ro", false)
	f("25 1 8:3 / /alsoro ro - ext4 /dev/sda3 rw", "/dev/sda3", "ro", false)
	f("26 1 0:40 /@home /btrfs rw - btrfs /dev/sdb rw,subvol=/@home", "/dev/sdb", "rw", false)
	f("27 1 0:40 /@home/pi /pi rw - btrfs /dev/sdb rw,subvol=/@home", "/dev/sdb", "rw", true)
	f("28 1 0:4 net:[4026531840] /run/netns/a rw - nsfs nsfs rw", "net:[4026531840]", "rw", false)
	f("29 1 0:50 / /tmp rw - tmpfs tmpfs rw", "tmpfs", "rw", false)
	f("30 1 0:50 / /mnt rw - tmpfs none rw", "tmpfs", "rw", false)
	if err := os.WriteFile(path, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := readMounts()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, fmt.Sprint(m.device, " ", m.mode(), " ", slices.Contains(m.options, "bind")))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
