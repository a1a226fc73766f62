package tests

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// trimmed are Telegraf's own build tags for those parts of it that we have too,
// and for what hands it the points of TestClients.
const trimmed = "custom,inputs.cpu,inputs.mem,inputs.swap,inputs.temp,inputs.system,inputs.disk,inputs.diskio,inputs.net," +
	"inputs.processes,inputs.kernel,inputs.linux_cpu,inputs.internal,inputs.exec,inputs.execd," +
	"inputs.file,inputs.socket_listener,outputs.influxdb_v2," +
	"outputs.file,outputs.influxdb,outputs.discard,parsers.influx,serializers.influx"

// builtTelegraf builds the Telegraf that tests/telegraf names, from its own
// module, so that it has the very dependencies that it is released with.
var builtTelegraf = sync.OnceValues(func() (path string, err error) {
	const telegraf = "github.com/influxdata/telegraf"
	run := func(dir string, args ...string) (out string) {
		if err != nil {
			return ""
		}
		cmd := exec.Command("go", args...)
		var text, complaint strings.Builder
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &text, &complaint
		if failure := cmd.Run(); failure != nil {
			err = fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), failure, complaint.String())
		}
		return strings.TrimSpace(text.String())
	}
	here := filepath.Join(root, "tests", "telegraf")
	path = filepath.Join(root, "bin", "telegraf-of-our-inputs")
	run(here, "mod", "download", telegraf)
	source := run(here, "list", "-m", "-f", "{{.Dir}}", telegraf)
	run(source, "build", "-buildvcs=false", "-ldflags=-s -w", "-tags", trimmed, "-o", path, "./cmd/telegraf")
	return path, err
})

func buildTelegraf(t *testing.T) string {
	t.Helper()
	path, err := builtTelegraf()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// sameInputs are inputs as they stand in a node file and in Telegraf's file.
// Each is told from the others by its tag.
var sameInputs = []struct{ name, input, options string }{
	{"cpu", "cpu", ""},
	{"cpu of all alone", "cpu", "percpu = false"},
	{"cpu each alone", "cpu", "totalcpu = false"},
	{"cpu with everything", "cpu", "collect_cpu_time = true\nreport_active = true\ncore_tags = true"},
	{"mem", "mem", ""},
	{"mem extended", "mem", "collect_extended = true"},
	{"swap", "swap", ""},
	{"temp", "temp", ""},
	{"temp v1", "temp", `metric_format = "v1"`},
	{"temp by device", "temp", "add_device_tag = true"},
	{"temp v1 by device", "temp", "metric_format = \"v1\"\nadd_device_tag = true"},
	{"temp with zones", "temp", "always_gather_zones = true"},
	{"temp with all", "temp", "metric_format = \"v1\"\nadd_device_tag = true\nalways_gather_zones = true"},
	{"system", "system", ""},
	{"system load", "system", `include = ["load"]`},
	{"system users and cpus", "system", `include = ["users", "cpus"]`},
	{"system uptime and legacy", "system", `include = ["uptime", "legacy"]`},
	{"system os", "system", `include = ["os"]`},
	{"system dmi", "system", `include = ["dmi"]`},
	{"disk", "disk", ""},
	{"disk as in the sample", "disk", `ignore_fs = ["tmpfs", "devtmpfs", "devfs", "iso9660", "overlay", "aufs", "squashfs"]`},
	{"disk root", "disk", `mount_points = ["/"]`},
	{"disk two", "disk", `mount_points = ["/dev", "/dev/shm", "/nowhere"]`},
	{"disk without bind mounts", "disk", `ignore_mount_opts = ["bind"]`},
	{"disk without options", "disk", `ignore_mount_opts = ["ro", "nosuid"]`},
	{"diskio", "diskio", ""},
	{"diskio by name", "diskio", `devices = ["vda", "sda", "nvme0n1", "/dev/mmcblk0"]`},
	{"diskio by pattern", "diskio", `devices = ["[vs]d?", "nvme*", "{mmc,x}*"]`},
	{"diskio with serial", "diskio", "skip_serial_number = false"},
	{"diskio with tags", "diskio", "device_tags = [\"ID_FS_TYPE\", \"ID_MODEL\"]\nname_templates = [\"$ID_FS_LABEL\", \"$DM_VG_NAME/$DM_LV_NAME\"]"},
	{"net", "net", ""},
	{"net by name", "net", `interfaces = ["lo", "eth0"]`},
	{"net by pattern", "net", `interfaces = ["l*", "{eth,wlan}[0-9]", "en?*"]`},
	{"net without protocols", "net", "ignore_protocol_stats = true"},
	{"net with protocols", "net", "ignore_protocol_stats = false"},
	{"processes", "processes", ""},
	{"processes with sudo", "processes", "use_sudo = true"},
	{"kernel", "kernel", ""},
	{"kernel ksm", "kernel", `collect = ["ksm"]`},
	{"kernel psi", "kernel", `collect = ["psi"]`},
	{"kernel all", "kernel", `collect = ["ksm", "psi"]`},
	{"linux_cpu", "linux_cpu", "host_sys = \"$CPUS\""},
	{"linux_cpu thermal", "linux_cpu", "host_sys = \"$CPUS\"\nmetrics = [\"thermal\"]"},
	{"linux_cpu all", "linux_cpu", "host_sys = \"$CPUS\"\nmetrics = [\"cpufreq\", \"thermal\"]"},
	{"exec", "exec", "commands = [[\"$DIR/print\", \"once\"], [\"$DIR/pri*\", \"once\"]]\ndata_format = \"influx\""},
	{"exec of strings", "exec", "commands = [\"$DIR/print once\", \"'$DIR/print' on\\\\ce\"]\ndata_format = \"influx\""},
	{"execd", "execd", "command = [\"$DIR/print\", \"execd\"]\nsignal = \"STDIN\"\ndata_format = \"influx\""},
}

// container is how a program is told that the machine it shall see is another
// than the one it runs in. Here both are the same.
var container = []string{"HOST_PROC=/proc", "HOST_ETC=/etc", "HOST_VAR=/var", "HOST_RUN=/run", "HOST_DEV=/dev", "HOST_MOUNT_PREFIX=/proc/1/root"}

// TestSameAsTelegraf runs Telegraf and the agent at the same time with the same
// file and compares what they write for the same second: every series, every
// field and its type, and that the values are of the same machine.
func TestSameAsTelegraf(t *testing.T) {
	t.Parallel()
	telegraf := buildTelegraf(t)
	t.Run("on the machine", func(t *testing.T) { compareWithTelegraf(t, telegraf, nil) })
	t.Run("in a container", func(t *testing.T) { compareWithTelegraf(t, telegraf, container) })
}

func compareWithTelegraf(t *testing.T, telegraf string, environment []string) {
	t.Parallel()
	m := newMachine(t)
	m.env = append(m.env, environment...)
	m.env = append(m.env, "HOST_SYS="+m.sensors())
	m.script("print", `say() { echo 'printed,by=sh v=1i,s="a b",f=2.5,t=true'; }
case $1 in once) say ;; *) while read -r _; do say; done ;; esac`)
	var inputs strings.Builder
	for _, in := range sameInputs {
		options := strings.ReplaceAll(in.options, "$CPUS", filepath.Join(root, "plugins/linux_cpu/testdata/pc-6.8-both/sys"))
		fmt.Fprintf(&inputs, "[[inputs.%s]]\n%s\n[inputs.%[1]s.tags]\ncase = %[3]q\n", in.input, options, in.name)
	}
	start := func(name, program string, arguments ...string) *process {
		file := m.file(name+".conf", fmt.Sprintf(`
[agent]
  interval = "1s"
  flush_interval = "500ms"
  hostname = "node"
  buffer_directory = "$DIR/buffer"
  %s
[[outputs.file]]
  files = ["$DIR/%s.lines"]
`, map[string]string{"theirs": "skip_processors_after_aggregators = true"}[name], name)+inputs.String())
		return m.start(program, append(arguments, "--config", file)...)
	}
	ours, theirs := start("ours", "vitals-agent"), start("theirs", telegraf, "--strict-env-handling")
	// On a busy machine either leaves out an input that is still busy, or reads it
	// twice within a second: what counts is a second in which all is the same.
	eventually(t, 3*time.Minute, func() string {
		if !ours.running() || !theirs.running() {
			t.Fatal("one of them does not run")
		}
		a, b := readings(t, m.read("ours.lines")), readings(t, m.read("theirs.lines"))
		last := []string{"there is no second in which both have read everything"}
		every := inputsIn(b)
		for s := range a {
			// Not the first of either, nor one that is still being written.
			if a[s-1] == nil || b[s-1] == nil || b[s] == nil || a[s+1] == nil || b[s+1] == nil {
				continue
			}
			a[s].withoutMountsOfTests()
			b[s].withoutMountsOfTests()
			if inputsIn(map[int64]reading{s: b[s]}) < every {
				continue
			}
			found := unintended("", differences(a[s], b[s], alike))
			if len(found) == 0 {
				t.Logf("%d series of %d inputs", len(b[s]), every)
				return ""
			}
			last = found
		}
		return strings.Join(last, "\n")
	})
	ours.stop()
	theirs.stop()
}

// inputsIn is how many of the inputs have said something.
func inputsIn(all map[int64]reading) int {
	inputs := map[string]bool{}
	for _, r := range all {
		for series := range r {
			_, name, _ := strings.Cut(series, ",case=")
			name, _, _ = strings.Cut(name, ",")
			inputs[name] = true
		}
	}
	return len(inputs)
}

// withoutMountsOfTests leaves out what other tests mount meanwhile: that comes and
// goes, and Telegraf calls it by the name of what had its number before.
func (r reading) withoutMountsOfTests() {
	maps.DeleteFunc(r, func(series string, _ []map[string]any) bool {
		return strings.Contains(series, ",path="+filepath.Join(os.TempDir(), "Test"))
	})
}

// sensors makes a /sys that is the machine's own but for its sensors, for
// virtual machines have none.
func (m *machine) sensors() string {
	m.t.Helper()
	recorded := filepath.Join(root, "plugins/temperature/testdata/pc-6.1-device-and-zones/sys/class")
	link := func(name, to string) {
		path := m.path(filepath.Join("sys", name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			m.t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, name := range []string{"block", "devices", "fs", "kernel"} {
		link(name, "/sys/"+name)
	}
	for _, name := range []string{"block", "net", "dmi"} {
		link("class/"+name, "/sys/class/"+name)
	}
	for _, name := range []string{"hwmon", "thermal"} {
		link("class/"+name, filepath.Join(recorded, name))
	}
	return m.path("sys")
}

// TestTelegrafsDefaultFile: what Telegraf prints as its configuration, as it is
// and with every option of the inputs uncommented, is sound here too.
func TestTelegrafsDefaultFile(t *testing.T) {
	t.Parallel()
	telegraf := buildTelegraf(t)
	for _, input := range []string{"cpu", "mem", "swap", "temp", "system", "disk", "diskio", "net", "processes", "kernel", "linux_cpu", "exec", "execd", "internal"} {
		t.Run(input, func(t *testing.T) {
			m := newMachine(t)
			text, err := m.command(telegraf, "--input-filter", input, "--output-filter", "influxdb", "config").Output()
			if err != nil {
				t.Fatal(err)
			}
			asItIs := string(text)
			if input == "exec" { // it has no command there, and JSON is all that Telegraf expects
				asItIs = strings.NewReplacer(`commands = []`, `commands = [["true"]]`, `data_format = "json"`, `data_format = "influx"`).Replace(asItIs)
			}
			general, own, found := strings.Cut(asItIs, "[[inputs."+input+"]]")
			if !found {
				t.Fatalf("no table for it in\n%s", asItIs)
			}
			uncommented := general + "[[inputs." + input + "]]" + regexp.MustCompile(`(?m)^( *)# ?([a-z_]+ *= )`).ReplaceAllString(own, "$1$2")
			if uncommented == asItIs && input != "cpu" && input != "swap" {
				t.Errorf("it has no options:\n%s", own)
			}
			for _, text := range []string{asItIs, uncommented} {
				out, stderr, code := run(t, m.command("vitals-agent", "config", "check", "--config", m.file("telegraf.conf", text)))
				if code != 0 {
					t.Errorf("%s%s\nof\n%s", out, stderr, text[strings.Index(text, "[[inputs."+input):])
				}
			}
		})
	}
}
