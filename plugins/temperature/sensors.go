package temperature

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// sensor is one reading.
type sensor struct {
	name, label, device string
	celsius             float64
	limits              []limit
}

// limit is a further number of a sensor: max, crit, crit_alarm …
type limit struct {
	name    string
	celsius float64
}

// named is the value of the tag sensor.
func (s sensor) named(space string) string {
	if s.label == "" {
		return s.name
	}
	return s.name + "_" + strings.ReplaceAll(s.label, " ", space)
}

// hwmon reads the hardware sensors, in the order of their paths.
func hwmon(log *slog.Logger, limits bool) []sensor {
	inputs := glob("class/hwmon/hwmon*/temp*_input")
	if len(inputs) == 0 { // older kernels, such as CentOS 7's
		inputs = glob("class/hwmon/hwmon*/device/temp*_input")
	}
	var all []sensor
	for _, input := range inputs {
		celsius, err := readCelsius(input)
		if err != nil {
			log.Debug("sensor skipped", "path", input, "error", err)
			continue
		}
		s := describe(input)
		s.celsius = celsius
		if limits {
			s.limits = readLimits(input)
		}
		all = append(all, s)
	}
	return all
}

// describe reads the names of the sensor of this tempN_input.
func describe(input string) sensor {
	folder := filepath.Dir(input)
	var s sensor
	if device, err := os.Readlink(filepath.Join(folder, "device")); err == nil {
		s.device = filepath.Base(device)
	}
	s.name = s.device
	if name, err := os.ReadFile(filepath.Join(folder, "name")); err == nil {
		s.name = strings.TrimSpace(string(name))
	}
	if label, err := os.ReadFile(strings.TrimSuffix(input, "input") + "label"); err == nil {
		s.label = strings.ToLower(strings.TrimSpace(string(label)))
	}
	return s
}

// readLimits reads every further number beside tempN_input.
func readLimits(input string) []limit {
	prefix := strings.TrimSuffix(input, "input")
	files, _ := filepath.Glob(prefix + "*")
	var all []limit
	for _, file := range files {
		name := strings.TrimPrefix(file, prefix)
		if name == "input" || name == "label" {
			continue
		}
		if celsius, err := readCelsius(file); err == nil {
			all = append(all, limit{name, celsius})
		}
	}
	return all
}

// zones reads the thermal zones, which have neither label nor device.
func zones(log *slog.Logger) []sensor {
	var all []sensor
	for _, folder := range glob("class/thermal/thermal_zone*") {
		name, err := os.ReadFile(filepath.Join(folder, "type"))
		if err != nil {
			log.Debug("thermal zone skipped", "error", err)
			continue
		}
		celsius, err := readCelsius(filepath.Join(folder, "temp"))
		if err != nil { // a sensor that sleeps, or is switched off
			log.Debug("thermal zone skipped", "path", folder, "error", err)
			continue
		}
		all = append(all, sensor{name: strings.TrimSpace(string(name)), celsius: celsius})
	}
	return all
}

func glob(pattern string) []string {
	paths, _ := filepath.Glob(plugins.HostSys(pattern)) // the pattern is a sound one
	return paths
}

// parseCelsius reads thousandths of a degree.
func parseCelsius(data []byte) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(string(data)), 64)
	return v / 1000, err
}
