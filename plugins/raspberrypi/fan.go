package raspberrypi

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// addFans adds a line for each fan. The kernel does not tell which cooling
// device drives which fan: only where there is one of each they share a line.
func addFans(b *plugins.Batch) {
	chips, cooling := hwmon("pwmfan"), coolingFans()
	together := len(chips) == 1 && len(cooling) == 1
	for _, chip := range chips {
		p := b.Point("raspberrypi_fan").Tag("fan", deviceOf(chip))
		intField(p, "rpm", filepath.Join(chip, "fan1_input"))
		intField(p, "pwm", filepath.Join(chip, "pwm1"))
		if together {
			addState(p, cooling[0])
		}
	}
	if together {
		return
	}
	for _, folder := range cooling {
		addState(b.Point("raspberrypi_fan").Tag("fan", coolingName(folder, cooling)), folder)
	}
}

// coolingName is the kind of a fan, or its number if there are several of that
// kind: numbers change from boot to boot.
func coolingName(folder string, all []string) string {
	kind, _ := text(filepath.Join(folder, "type"))
	for _, other := range all {
		if k, _ := text(filepath.Join(other, "type")); k == kind && other != folder {
			return filepath.Base(folder)
		}
	}
	return kind
}

// coolingFans are the cooling devices that are fans; others are processors that
// slow down.
func coolingFans() []string {
	var folders []string
	for _, folder := range glob("class/thermal/cooling_device*") {
		if kind, ok := text(filepath.Join(folder, "type")); ok && strings.Contains(kind, "fan") {
			folders = append(folders, folder)
		}
	}
	return folders
}

func addState(p *plugins.Point, folder string) {
	intField(p, "state", filepath.Join(folder, "cur_state"))
	intField(p, "max_state", filepath.Join(folder, "max_state"))
}

// deviceOf names what a chip belongs to, which is the same after every boot.
func deviceOf(chip string) string {
	device, err := os.Readlink(filepath.Join(chip, "device"))
	if err != nil {
		return "pwmfan"
	}
	return filepath.Base(device)
}
