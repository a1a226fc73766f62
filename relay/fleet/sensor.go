package fleet

import (
	"strings"
	"time"
)

// reading is what one temperature sensor last said.
type reading struct {
	celsius float64
	at      time.Time
	cpu     bool // the sensor is the CPU's
}

// cpuSensors are parts of the names under which systems know the CPU's sensor.
var cpuSensors = [...]string{"cpu", "core", "package", "k10temp", "zenpower", "soc"}

func isCPUSensor(name string) bool {
	name = strings.ToLower(name)
	for _, part := range cpuSensors {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// warm notes a temperature. Sensors that are not connected report absurd ones.
func (r *record) warm(sensor string, celsius float64, at time.Time, old bool) {
	if celsius < -80 || celsius > 200 {
		return
	}
	was, ok := r.sensors[sensor]
	if ok && old || !ok && len(r.sensors) >= maxSensors || len(sensor) > maxName {
		return
	}
	if r.sensors == nil {
		r.sensors = map[string]reading{}
	}
	if !ok {
		was.cpu = isCPUSensor(sensor)
	}
	r.sensors[sensor] = reading{celsius, at, was.cpu}
}

// temperature is the hottest of the CPU's sensors, or of all if none is the
// CPU's. One that has stopped speaking while others go on does not count.
func (r *record) temperature(interval time.Duration) (sensor string, celsius *float64) {
	var newest time.Time
	for _, s := range r.sensors {
		if s.at.After(newest) {
			newest = s.at
		}
	}
	var best reading
	for name, s := range r.sensors {
		if newest.Sub(s.at) > 3*interval || !r.fresh(s.at) {
			continue
		}
		hotter := s.celsius > best.celsius || s.celsius == best.celsius && name < sensor
		if celsius == nil || s.cpu && !best.cpu || s.cpu == best.cpu && hotter {
			sensor, best, celsius = name, s, &s.celsius
		}
	}
	return sensor, celsius
}
