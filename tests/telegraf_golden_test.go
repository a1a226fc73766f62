package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorded are the collectors whose recorded machines Telegraf can be shown
// too, under its names for them. For kernel it reads this machine's files only,
// and disk asks the kernel.
var recorded = map[string]string{
	"cpu": "cpu", "ram": "mem", "swap": "swap", "temperature": "temp", "system": "system", "net": "net",
	"diskio": "diskio", "processes": "processes", "linux_cpu": "linux_cpu",
}

// ownOption are options that Telegraf does not have.
var ownOption = regexp.MustCompile(`(?m)^(schema|report_frequency)\b`)

// onPurpose are differences that the README of the collector tells of too.
var onPurpose = []struct{ where, difference, why string }{
	{"", `^Telegraf alone: temp,.*sensor=broken`, "a file that holds no number is no reading of 0 °C"},
	{"swap/", `^swap: (free|total|used|used_percent) is .*, Telegraf's 0$`, "HOST_PROC's meminfo, and not this machine's memory"},
	{"swap/pi5-6.12-16k-pages", `^swap: (in|out) is`, "a page is not always of 4 KiB"},
	{"system/", `^system: (uptime|uptime_format|kernel_version|arch) is`, "HOST_PROC's files, and not what this machine's kernel says"},
	{"system/pi4-64-bit-utmp", `^system: n_(unique_)?users is \d, Telegraf's 0`, "records of logins have two sizes"},
	{"processes/pi4-6.1", `^processes: (dead is 2|parked is 2|unknown is 1)`, "each state counts as often as it is there"},
	{"ram/linux-3.2-estimate-below-zero", `^mem: (available|used)`, "an estimate below 0 is 0"},
	{"ram/container-available-above-total", `^mem: (available|used)`, "no more is available than there is"},
}

// unintended are those of the differences that are not on purpose.
func unintended(where string, differences []string) (all []string) {
	for _, difference := range differences {
		if !slices.ContainsFunc(onPurpose, func(d struct{ where, difference, why string }) bool {
			return strings.HasPrefix(where, d.where) && regexp.MustCompile(d.difference).MatchString(difference)
		}) {
			all = append(all, difference)
		}
	}
	return all
}

// doesNotStart are machines on which Telegraf's input keeps it from starting.
var doesNotStart = []string{"linux_cpu/vm-without-cpufreq", "linux_cpu/pi4-thermal"}

// TestGoldenCasesAreTelegrafs shows Telegraf the machines that our collectors'
// golden cases are recorded of. What it says of them is what we want to say.
// Where files are damaged our errors are our own.
func TestGoldenCasesAreTelegrafs(t *testing.T) {
	t.Parallel()
	telegraf := buildTelegraf(t)
	for collector, input := range recorded {
		folders, err := filepath.Glob(filepath.Join(root, "plugins", collector, "testdata", "*"))
		if err != nil || len(folders) == 0 {
			t.Fatalf("no cases of %s: %v", collector, err)
		}
		for _, folder := range folders {
			where := collector + "/" + filepath.Base(folder)
			options := content(t, filepath.Join(folder, "options.toml"))
			if ownOption.MatchString(options) || content(t, filepath.Join(folder, "want.error")) != "" || slices.Contains(doesNotStart, where) {
				continue
			}
			t.Run(where, func(t *testing.T) {
				t.Parallel()
				want := reading{}
				for _, p := range parse(t, content(t, filepath.Join(folder, "want.lp"))) {
					want.add(p)
				}
				shown(t, telegraf, folder, input, options, func(said []point) (wrong [][]string) {
					for _, r := range inTurn(said, want) {
						wrong = append(wrong, unintended(where, differences(want, r, equal)))
					}
					return wrong
				})
			})
		}
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// shown requires that nothing is wrong with what Telegraf says of a recorded machine
// in its first reading of what is in proc1, after those of proc0. Before that may be
// one that was under way when proc1 came.
func shown(t *testing.T, telegraf, folder, input, options string, wrong func([]point) [][]string) {
	t.Helper()
	m := newMachine(t)
	if input == "linux_cpu" {
		options += fmt.Sprintf("\nhost_sys = %q\n", filepath.Join(folder, "sys"))
	}
	file := m.file("telegraf.conf", fmt.Sprintf(`
[agent]
  interval = "200ms"
  flush_interval = "50ms"
  precision = "1ms"
  omit_hostname = true
  skip_processors_after_aggregators = true
[[inputs.exec]]
  commands = [["echo", "tick v=1i"]]
  data_format = "influx"
[[outputs.file]]
  files = ["$DIR/lines"]
[[inputs.%s]]
%s`, input, options))
	show := func(proc string) {
		if err := os.Symlink(filepath.Join(folder, proc), m.path("next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(m.path("next"), m.path("proc")); err != nil {
			t.Fatal(err)
		}
	}
	show("proc0")
	m.env = append(m.env, "HOST_PROC="+m.path("proc"))
	for variable, name := range map[string]string{"HOST_SYS": "sys", "HOST_ETC": "etc", "HOST_VAR": "var", "HOST_RUN": "run", "HOST_DEV": "dev", "GHW_CHROOT": ""} {
		m.env = append(m.env, variable+"="+filepath.Join(folder, name))
	}
	p := m.start(telegraf, "--config", file, "--strict-env-handling")
	ticks := func(since time.Time) (all []point) {
		return slices.DeleteFunc(points(t, m.read("lines"), "tick"), func(p point) bool { return p.time.Before(since) })
	}
	eventually(t, 2*time.Minute, func() string { return why(len(ticks(time.Time{})) >= 2, "too few ticks") })
	show("proc1")
	since := time.Now()
	eventually(t, 2*time.Minute, func() string {
		if len(ticks(since)) < 3 {
			return "too few ticks"
		}
		said := slices.DeleteFunc(parse(t, m.read("lines")), func(p point) bool { return p.name == "tick" || p.time.Before(since) })
		var all []string
		for _, found := range wrong(said) {
			if len(found) == 0 {
				return ""
			}
			all = append(all, strings.Join(found, "\n"))
		}
		return strings.Join(all, "\nand in the next reading\n")
	})
	p.stop()
}

// inTurn parts points into readings, however long one has taken: another begins
// where there is more of a series than is wanted of it in one.
func inTurn(points []point, want reading) []reading {
	all := []reading{{}}
	for _, p := range points {
		one := reading{}
		one.add(p)
		for series := range one {
			if len(all[len(all)-1][series]) >= max(1, len(want[series])) {
				all = append(all, reading{})
			}
		}
		all[len(all)-1].add(p)
	}
	return all
}

func why(ok bool, not string) string {
	if ok {
		return ""
	}
	return not
}
