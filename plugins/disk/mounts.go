package disk

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// mount is one line of mountinfo.
type mount struct {
	device, point, fsType string
	number                string // major:minor
	options               []string
}

func (m mount) mode() string {
	for _, mode := range []string{"rw", "ro"} {
		if slices.Contains(m.options, mode) {
			return mode
		}
	}
	return "unknown"
}

// label is the name of a logical volume, or else the one that its file system
// was given, as udev has noted it.
func (m mount) label() string {
	name := filepath.Base(m.device)
	if !strings.HasPrefix(m.device, "/dev/") {
		return ""
	}
	if volume, err := os.ReadFile(plugins.HostSys("block", name, "dm/name")); err == nil {
		return strings.TrimSpace(string(volume))
	}
	number := m.number // that of btrfs is not its device's
	if data, err := os.ReadFile(plugins.HostSys("class/block", name, "dev")); err == nil {
		number = strings.TrimSpace(string(data))
	}
	run := cmp.Or(os.Getenv("HOST_RUN"), "/run")
	udev, _ := os.ReadFile(filepath.Join(run, "udev/data/b"+number))
	for line := range strings.Lines(string(udev)) {
		if label, ok := strings.CutPrefix(strings.TrimSpace(line), "E:ID_FS_LABEL="); ok {
			return label
		}
	}
	return ""
}

// readMounts reads what the first process sees, and not what this one is left
// by its container or its service manager. Where that may not be looked at, it
// reads its own.
func readMounts() ([]mount, error) {
	path := plugins.HostProc("1/mountinfo")
	data, err := os.ReadFile(path)
	if err != nil {
		var own error
		path = plugins.HostProc("self/mountinfo")
		if data, own = os.ReadFile(path); own != nil {
			return nil, errors.Join(err, own)
		}
	}
	var all []mount
	devices := map[string]string{} // by number: one file system may be mounted under several names
	for line := range strings.Lines(string(data)) {
		m, err := parseMount(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if first, known := devices[m.number]; known {
			m.device = first
		} else {
			devices[m.number] = m.device
		}
		m.device = m.realDevice()
		all = append(all, m)
	}
	return all, nil
}

// parseMount reads a line such as
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//
// of number, root, mount point and options, and behind the hyphen type, device
// and options of the file system as a whole.
func parseMount(line string) (mount, error) {
	front, back, _ := strings.Cut(line, " - ")
	words, more := strings.Fields(front), strings.Fields(back)
	if len(words) < 6 || len(more) < 2 {
		return mount{}, fmt.Errorf("%q is no mount", line)
	}
	root := words[3]
	m := mount{
		number:  words[2],
		point:   unescape(words[4]),
		options: strings.Split(words[5], ","),
		fsType:  more[0],
		device:  unescape(more[1]),
	}
	var whole []string // options of the file system
	if len(more) > 2 {
		whole = strings.Split(more[2], ",")
	}
	if i := slices.Index(m.options, "rw"); i >= 0 && slices.Contains(whole, "ro") {
		m.options[i] = "ro"
	}
	switch ofDevice := strings.HasPrefix(m.device, "/"); {
	case root == "/" || ofDevice && slices.Contains(whole, "subvol="+root):
	case ofDevice:
		m.options = append(m.options, "bind")
	default:
		m.device = root // as nsfs has it: what is mounted is named there
	}
	return m, nil
}

// realDevice resolves names that stand for another device: those of logical
// volumes, and that of the root which the boot loader has named.
func (m mount) realDevice() string {
	switch {
	case strings.HasPrefix(m.device, "/dev/mapper/"):
		dev := cmp.Or(os.Getenv("HOST_DEV"), "/dev")
		if path, err := filepath.EvalSymlinks(filepath.Join(dev, strings.TrimPrefix(m.device, "/dev/"))); err == nil {
			return filepath.Join("/dev", filepath.Base(path))
		}
	case m.device == "/dev/root":
		if path, err := os.Readlink(plugins.HostSys("dev/block", m.number)); err == nil {
			return "/dev/" + filepath.Base(path)
		}
	}
	return m.device
}

// unescape undoes what the kernel does to blanks, tabs, newlines and
// backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#").Replace(s)
}
