package system

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/host"

	"github.com/rpicluster/vitals/plugins"
)

// field is a string of a group.
type field struct{ key, value string }

type fields []field

// facts are the fields of a group that rarely change, and when they were read.
type facts struct {
	known  fields
	readAt time.Time
}

// add adds the fields, reading them if they are older than ttl. What cannot be
// read any more stays as it was.
func (f *facts) add(p *plugins.Point, now time.Time, ttl time.Duration, read func() (fields, error)) error {
	var err error
	if f.readAt.IsZero() || now.Sub(f.readAt) >= ttl {
		var found fields
		if found, err = read(); err == nil {
			f.known, f.readAt = found, now
		}
	}
	for _, one := range f.known {
		p.String(one.key, one.value)
	}
	return err
}

func readOS(ctx context.Context) (fields, error) {
	platform, family, version, err := host.PlatformInformationWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("read platform: %w", err)
	}
	kernel, err := host.KernelVersion()
	if err != nil {
		return nil, fmt.Errorf("read kernel version: %w", err)
	}
	arch, _ := host.KernelArch()
	return fields{
		{"os", runtime.GOOS},
		{"arch", cmp.Or(line(plugins.HostProc("sys/kernel/arch")), arch, runtime.GOARCH)},
		{"platform", platform},
		{"platform_family", family},
		{"platform_version", version},
		{"kernel_version", cmp.Or(line(plugins.HostProc("sys/kernel/osrelease")), kernel)},
	}, nil
}

// dmiFiles are the fields of the group dmi and their files.
var dmiFiles = fields{
	{"bios_vendor", "bios_vendor"},
	{"bios_version", "bios_version"},
	{"bios_date", "bios_date"},
	{"board_vendor", "board_vendor"},
	{"board_product", "board_name"},
	{"board_version", "board_version"},
	{"board_serial", "board_serial"},
	{"board_asset_tag", "board_asset_tag"},
	{"chassis_vendor", "chassis_vendor"},
	{"chassis_type_code", "chassis_type"},
	{"chassis_version", "chassis_version"},
	{"chassis_serial", "chassis_serial"},
	{"chassis_asset_tag", "chassis_asset_tag"},
	{"product_vendor", "sys_vendor"},
	{"product_name", "product_name"},
	{"product_family", "product_family"},
	{"product_version", "product_version"},
	{"product_serial", "product_serial"},
	{"product_sku", "product_sku"},
	{"product_uuid", "product_uuid"},
}

// unknown stands for what there is no file for, or only root may read.
const unknown = "unknown"

// readDMI has every field also on a machine without DMI, such as a Raspberry
// Pi, as Telegraf has.
func readDMI() (fields, error) {
	var all fields
	for _, f := range dmiFiles {
		value := unknown
		if data, err := os.ReadFile(plugins.HostSys("class/dmi/id", f.value)); err == nil {
			value = string(bytes.TrimSpace(data))
		}
		all = append(all, field{f.key, value})
		if f.key == "chassis_type_code" {
			all = append(all, field{"chassis_type", chassis(value)})
		}
	}
	return all, nil
}

// chassisTypes are the words of SMBIOS for the codes from 1 on.
var chassisTypes = []string{
	"Other", "Unknown", "Desktop", "Low profile desktop", "Pizza box", "Mini tower", "Tower",
	"Portable", "Laptop", "Notebook", "Hand held", "Docking station", "All in one", "Sub notebook",
	"Space-saving", "Lunch box", "Main server chassis", "Expansion chassis", "SubChassis",
	"Bus Expansion chassis", "Peripheral chassis", "RAID chassis", "Rack mount chassis",
	"Sealed-case PC", "Multi-system chassis", "Compact PCI", "Advanced TCA", "Blade",
	"Blade enclosure", "Tablet", "Convertible", "Detachable", "IoT gateway", "Embedded PC",
	"Mini PC", "Stick PC",
}

func chassis(code string) string {
	n, err := strconv.Atoi(code)
	if err != nil || n < 1 || n > len(chassisTypes) {
		return unknown
	}
	return chassisTypes[n-1]
}

// line reads a file of one line, "" if there is none.
func line(path string) string {
	data, _ := os.ReadFile(path)
	return strings.TrimSpace(string(data))
}
