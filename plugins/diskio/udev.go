package diskio

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// udev is what udev knows of a device.
type udev map[string]string

// linksKey is the property that holds the links of a device below /dev.
const linksKey = "DEVLINKS"

// readUdev reads udev's own file, which has properties and links one to a line:
//
//	S:disk/by-label/rootfs
//	E:ID_FS_TYPE=ext4
//
// Where there is no udev there is nothing to know.
func readUdev(number string) udev {
	data, err := os.ReadFile(filepath.Join(folder("HOST_RUN", "/run"), "udev/data/b"+number))
	if err != nil {
		return nil
	}
	u := make(udev)
	var links []string
	for line := range strings.Lines(string(data)) {
		kind, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch key, value, ok := strings.Cut(rest, "="); {
		case kind == "S":
			links = append(links, "/dev/"+rest)
		case kind == "E" && ok:
			u[key] = value
		}
	}
	if len(links) > 0 {
		u[linksKey] = strings.Join(links, " ")
	}
	return u
}

// links are relative to /dev.
func (u udev) links() []string {
	links := strings.Fields(u[linksKey])
	for i := range links {
		links[i] = strings.TrimPrefix(links[i], "/dev/")
	}
	return links
}

// folder is a folder of the machine that the environment names: by a variable
// of its own, or by the prefix below which all of the machine is mounted.
func folder(variable, path string) string {
	return cmp.Or(os.Getenv(variable), filepath.Join("/", os.Getenv("HOST_MOUNT_PREFIX"), path))
}

// resolve makes the kernel's name of a path or a link below /dev.
func resolve(name string) string {
	path := filepath.Join(folder("HOST_DEV", "/dev"), strings.TrimPrefix(name, "/dev/"))
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return filepath.Base(target)
	}
	return filepath.Base(name)
}

// serial is udev's, or else made of the model and number that the disk tells.
func serial(d device, u udev) string {
	if known := strings.TrimSpace(u["ID_SERIAL"]); known != "" {
		return known
	}
	major, _, _ := strings.Cut(d.number, ":")
	disk := plugins.HostSys("dev/block", major+":0", "device")
	model, number := line(filepath.Join(disk, "model")), line(filepath.Join(disk, "serial"))
	if model == "" || number == "" {
		return "unknown"
	}
	return model + "_" + number
}

// line reads a file of one line, "" if there is none.
func line(path string) string {
	data, _ := os.ReadFile(path)
	return strings.TrimSpace(string(data))
}
