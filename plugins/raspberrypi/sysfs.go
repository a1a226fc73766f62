package raspberrypi

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// text reads a file of one value. A file that is absent or cannot be read means
// that the value is not known, never that it is 0.
func text(path string) (string, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", false
	}
	return strings.TrimSpace(strings.TrimRight(string(data), "\x00")), true
}

// number reads a file of one whole number.
func number(path string) (int64, bool) {
	s, ok := text(path)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 64)
	return v, err == nil
}

// hexadecimal reads a file of one number in base 16, with or without 0x.
func hexadecimal(path string) (uint32, bool) {
	s, ok := text(path)
	if !ok {
		return 0, false
	}
	return parseHex(s)
}

func parseHex(s string) (uint32, bool) {
	v, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 32)
	return uint32(v), err == nil
}

// intField adds the number in a file, if there is one.
func intField(p *plugins.Point, key, path string) {
	if v, ok := number(path); ok {
		p.Int(key, v)
	}
}

func glob(pattern string) []string {
	paths, _ := filepath.Glob(plugins.HostSys(pattern)) // the pattern is a sound one
	return paths
}

// hwmon returns the folders of the chips of this name. Their numbers change
// from boot to boot; the name does not.
func hwmon(name string) []string {
	var folders []string
	for _, folder := range glob("class/hwmon/hwmon*") {
		if n, ok := text(filepath.Join(folder, "name")); ok && n == name {
			folders = append(folders, folder)
		}
	}
	return folders
}
