package node

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// model is what the board or the computer calls itself: the device tree's word
// on a Raspberry Pi, the firmware's on a PC.
func model() string {
	return cmp.Or(
		firstLine(plugins.HostProc("device-tree/model")),
		firstLine(plugins.HostSys("firmware/devicetree/base/model")),
		product("product_name"),
		product("board_name"),
	)
}

// placeholders are what makers of mainboards leave in their firmware.
var placeholders = map[string]bool{
	"to be filled by o.e.m.": true, "system product name": true, "default string": true,
	"not specified": true, "not applicable": true, "none": true, "oem": true,
}

func product(file string) string {
	name := firstLine(plugins.HostSys("class/dmi/id", file))
	if placeholders[strings.ToLower(name)] {
		return ""
	}
	return name
}

// osName is the name that the distribution gives itself for people.
func osName() string {
	data, err := os.ReadFile(plugins.HostEtc("os-release"))
	if err != nil {
		return ""
	}
	name := ""
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "PRETTY_NAME":
			return strings.Trim(value, `"'`)
		case "NAME":
			name = strings.Trim(value, `"'`)
		}
	}
	return name
}

// bootTime is in seconds since the epoch, 0 if unknown.
func bootTime() int64 {
	data, _ := os.ReadFile(plugins.HostProc("stat"))
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "btime "); ok {
			seconds, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return seconds
		}
	}
	return 0
}

// limits are the lowest and highest frequency of any CPU, in MHz: those of the
// hardware, whatever a governor allows at the moment.
func limits() (lowest, highest float64) {
	folders, _ := filepath.Glob(plugins.HostSys("devices/system/cpu/cpu[0-9]*/cpufreq"))
	for _, folder := range folders {
		least, _ := strconv.ParseFloat(firstLine(filepath.Join(folder, "cpuinfo_min_freq")), 64)
		most, _ := strconv.ParseFloat(firstLine(filepath.Join(folder, "cpuinfo_max_freq")), 64)
		highest = max(highest, most/1000)
		if least > 0 && (lowest == 0 || least/1000 < lowest) {
			lowest = least / 1000
		}
	}
	return lowest, highest
}

// firstLine reads a file of one line; the device tree ends its own with a NUL.
func firstLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	data, _, _ = bytes.Cut(data, []byte("\n"))
	return strings.TrimSpace(strings.TrimRight(string(data), "\x00"))
}
