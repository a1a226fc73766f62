package cpu

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v3/cpu"

	"github.com/rpicluster/vitals/plugins"
)

// frequency is in MHz; a limit that the machine does not tell is 0.
type frequency struct{ now, min, max float64 }

type frequencies map[string]frequency

// totalName is gopsutil's name for the sum of all CPUs.
const totalName = "cpu-total"

// addFrequencies adds a line for each CPU of times whose frequency is known;
// the one for all of them has the mean, and the widest limits.
func (c *Collector) addFrequencies(b *plugins.Batch, times []cpu.TimesStat) {
	all := allFrequencies(times)
	for _, t := range times {
		f, ok := all[t.CPU]
		if t.CPU == totalName {
			f, ok = all.sum()
		}
		if !ok {
			continue
		}
		p := c.point(b, t.CPU).Float("frequency_mhz", f.now)
		if f.max > 0 {
			p.Float("frequency_min_mhz", f.min).Float("frequency_max_mhz", f.max)
		}
	}
}

// allFrequencies reads cpufreq, and where there is none (most virtual
// machines) what the kernel has measured, from /proc/cpuinfo.
func allFrequencies(times []cpu.TimesStat) frequencies {
	all := make(frequencies)
	for _, name := range names(times) {
		folder := plugins.HostSys("devices/system/cpu", name, "cpufreq")
		now, ok := readMHz(folder + "/scaling_cur_freq")
		if !ok {
			continue
		}
		f := frequency{now: now}
		f.min, _ = readMHz(folder + "/cpuinfo_min_freq")
		f.max, _ = readMHz(folder + "/cpuinfo_max_freq")
		all[name] = f
	}
	if len(all) == 0 {
		return measured()
	}
	return all
}

// names lists the CPUs to read: those of times, or all there are if times has
// only their sum.
func names(times []cpu.TimesStat) []string {
	var all []string
	for _, t := range times {
		if t.CPU != totalName {
			all = append(all, t.CPU)
		}
	}
	if len(all) > 0 {
		return all
	}
	entries, _ := os.ReadDir(plugins.HostSys("devices/system/cpu"))
	for _, e := range entries {
		if _, err := strconv.Atoi(strings.TrimPrefix(e.Name(), "cpu")); err == nil {
			all = append(all, e.Name())
		}
	}
	return all
}

// readMHz reads a file that holds kHz.
func readMHz(path string) (float64, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	kHz, err := strconv.ParseFloat(strings.TrimSpace(string(data)), 64)
	return kHz / 1000, err == nil && kHz > 0
}

// measured reads the "cpu MHz" lines of /proc/cpuinfo.
func measured() frequencies {
	data, _ := os.ReadFile(plugins.HostProc("cpuinfo"))
	all := make(frequencies)
	name := ""
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "processor":
			name = "cpu" + value
		case "cpu MHz":
			if mhz, err := strconv.ParseFloat(value, 64); err == nil && mhz > 0 {
				all[name] = frequency{now: mhz}
			}
		}
	}
	return all
}

// sum is the mean of the frequencies and the widest limits.
func (all frequencies) sum() (frequency, bool) {
	var s frequency
	for _, name := range slices.Sorted(maps.Keys(all)) { // the same order gives the same last digit
		f := all[name]
		s.now += f.now / float64(len(all))
		s.max = max(s.max, f.max)
		if f.min > 0 && (s.min == 0 || f.min < s.min) {
			s.min = f.min
		}
	}
	return s, len(all) > 0
}
