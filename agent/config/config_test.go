package config

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/agent/clock"
	"github.com/rpicluster/vitals/plugins"
)

type gauge struct {
	Percpu bool   `toml:"percpu"`
	Unit   string `toml:"unit"`
}

func (*gauge) Gather(context.Context, *plugins.Batch) error { return nil }

func (g *gauge) Validate() error {
	if g.Unit == "bad" {
		return plugins.OptionError{Option: "unit", Message: "is bad"}
	}
	return nil
}

func builtins() []plugins.Description {
	return []plugins.Description{
		{Name: "cpu", New: func() plugins.Collector { return &gauge{} }},
		{Name: "ram", Aliases: []string{"mem"}, New: func() plugins.Collector { return &gauge{} }},
	}
}

// load reads text as a node file; $DIR in it is a directory of the test's.
func load(t *testing.T, text string, o Options) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	plugin := filepath.Join(dir, "vitals-plugin-dice")
	if err := os.WriteFile(plugin, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vitals-plugin-plain"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vitals-plugin-cpu"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "node.toml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "$DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Builtins = builtins()
	c, err := Load(path, o)
	if err != nil {
		err = shorten{err, dir + "/"}
	}
	return c, err
}

// shorten takes the test's directory out of a message, and the column, which
// has tests of its own.
type shorten struct {
	error
	dir string
}

func (s shorten) Error() string {
	return column.ReplaceAllString(strings.ReplaceAll(s.error.Error(), s.dir, ""), "$1:")
}

var column = regexp.MustCompile(`(\.toml:\d+):\d+:`)

func TestMistakes(t *testing.T) {
	const in, out = "[[inputs.cpu]]\n", "[[outputs.file]]\n"
	f := func(name, text string, want ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			_, err := load(t, text, Options{})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in:\n%v", w, err)
				}
			}
		})
	}
	f("syntax", "[agent]\ninterval = 10s\n", "node.toml:2")
	f("agent option", "[agent]\n\nintervall = \"1s\"\n"+in+out, `node.toml:3: agent.intervall: unknown option; did you mean "interval"?`)
	f("agent type", "[agent]\ndebug = \"loud\"\n"+in+out, "node.toml:2: agent.debug: must be a bool")
	f("agent interval", "[agent]\ninterval = \"0s\"\n"+in+out, "node.toml:2: agent.interval: must be more than 0")
	f("negative offset", "[agent]\ncollection_offset = \"-1s\"\n"+in+out, "node.toml:2: agent.collection_offset: must not be negative")
	f("duration", "[agent]\ninterval = \"soon\"\n"+in+out, "node.toml:2: agent.interval", `"soon" is not a duration`)
	f("batch size", "[agent]\nmetric_batch_size = -1\n"+in+out, "node.toml:2: agent.metric_batch_size")
	f("a time that is never known", "[agent]\nunsynced_hold = \"-1s\"\n"+in+out, "node.toml:2: agent.unsynced_hold: must not be negative")
	f("strategy", "[agent]\nbuffer_strategy = \"tape\"\n"+in+out, "node.toml:2: agent.buffer_strategy", `"memory" or "disk"`)
	f("log format", "[agent]\nlogformat = \"eventlog\"\n"+in+out, "node.toml:2: agent.logformat: \"eventlog\" is no format")
	f("log zone", "[agent]\nlog_with_timezone = \"Berlin\"\n"+in+out, "node.toml:2: agent.log_with_timezone: \"Berlin\" is no time zone")
	f("log rotation", "[agent]\nlogfile_rotation_interval = \"-1s\"\n"+in+out, "node.toml:2: agent.logfile_rotation_interval: must not be negative")
	f("log archives", "[agent]\nlogfile_rotation_max_archives = -2\n"+in+out, "node.toml:2: agent.logfile_rotation_max_archives")
	f("log target", "[agent]\nlogtarget = \"eventlog\"\n"+in+out, "node.toml:2: agent.logtarget")
	f("time source", in+"time_source = \"tick\"\n"+out, "node.toml:2: inputs.cpu.time_source: \"tick\" is none of metric")
	f("log level of an output", in+out+"log_level = \"loud\"\n", "node.toml:3: outputs.file.log_level")
	f("collector's option", in+"percpux = true\n"+out, `node.toml:2: inputs.cpu.percpux: unknown option; did you mean "percpu"?`)
	f("collector's type", in+"percpu = \"yes\"\n"+out, "node.toml:2: inputs.cpu.percpu", "expected true or false")
	f("collector's validation", in+"\nunit = \"bad\"\n"+out, "node.toml:3: inputs.cpu.unit: is bad")
	f("host option", in+"interval = 0\n"+out, "node.toml:2: inputs.cpu.interval: must be more than 0")
	f("host type", in+"isolate = \"yes\"\n"+out, "node.toml:2: inputs.cpu.isolate: must be a bool")
	f("log level", in+"log_level = \"loud\"\n"+out, "node.toml:2: inputs.cpu.log_level")
	f("plugin environment", in+"plugin_env = {\"A B\" = \"1\"}\n"+out, "node.toml:2: inputs.cpu.plugin_env")
	f("tag", in+"[inputs.cpu.tags]\na = \"x\\ny\"\n"+out, "node.toml:3: inputs.cpu.tags.a: a tag cannot hold a line break")
	f("an option that is a tag", in+"[inputs.cpu.tags]\na = \"b\"\npercpu = false\n"+out,
		"node.toml:4: inputs.cpu.tags.percpu: must be a string; an option of the input is written before [inputs.cpu.tags]")
	f("tag's type", "[global_tags]\nrack = 1\n"+in+out, "node.toml:2: global_tags.rack")
	f("processor", in+out+"[[processors.rename]]\n", "node.toml:3: processors.rename", "no processors yet")
	f("aggregator", in+out+"[[aggregators.minmax]]\n", "node.toml:3: aggregators.minmax", "no aggregators yet")
	f("misspelt collector", "[[inputs.cpuu]]\n"+out, "node.toml:1: inputs.cpuu: there is no such collector; did you mean [[inputs.cpu]]?")
	f("misspelt drop-in", "[agent]\nplugin_directory = [\"$DIR\"]\n[[inputs.dicee]]\n"+out, "did you mean [[inputs.dice]]?")
	f("missing drop-in", "[agent]\nplugin_directory = [\"$DIR/a\", \"$DIR/b\"]\n[[inputs.barometer]]\n"+out,
		"node.toml:3: inputs.barometer", "no a/vitals-plugin-barometer and no b/vitals-plugin-barometer", "Put the program there")
	f("name with a path", "[[inputs.\"../x\"]]\n"+out, "node.toml:1", "small letters")
	f("output", in+"[[outputs.influxdb_v3]]\n", "node.toml:2: outputs.influxdb_v3", "did you mean [[outputs.influxdb_v2]]?")
	f("output's option", in+"[[outputs.influxdb]]\nurl = [\"http://x\"]\n", `node.toml:3: outputs.influxdb.url: unknown option; did you mean "urls"?`)
	f("no scheme", in+"[[outputs.influxdb]]\nurls = [\"127.0.0.1:8391\"]\n", `node.toml:3: outputs.influxdb.urls: "127.0.0.1:8391" is not a URL; write it as http://127.0.0.1:8391`)
	f("no scheme but a name", in+"[[outputs.influxdb]]\nurls = [\"localhost:8086\"]\n", `"localhost:8086" is not a URL; write it as http://localhost:8086`)
	f("udp", in+"[[outputs.influxdb]]\nurls = [\"udp://x:8089\"]\n", "node.toml:3: outputs.influxdb.urls", "http://")
	f("no urls", in+"[[outputs.influxdb]]\nurls = []\n", "node.toml:3: outputs.influxdb.urls")
	f("no bucket", in+"[[outputs.influxdb_v2]]\n", "node.toml:2: outputs.influxdb_v2.bucket: is missing")
	f("alias with a path", in+"[[outputs.file]]\nalias = \"a/b\"\n", "node.toml:3: outputs.file.alias")
	f("unknown table", in+out+"[rely]\n", `node.toml:3: rely: neither`, `"relay"`)
	f("no input", out, "node.toml: there is no input")
	f("no output", in, "node.toml: there is no output")
	f("all mistakes in their order", "[[inputs.cpu]]\npercpux = 1\n[agent]\nintervall = 1\n"+out+"[x]\n",
		"node.toml:2: inputs.cpu.percpux: unknown option; did you mean \"percpu\"?\nnode.toml:4: agent.intervall: unknown option; did you mean \"interval\"?\nnode.toml:6: x: neither")
}

func TestEverythingIsRead(t *testing.T) {
	t.Setenv("VITALS_TEST_TOKEN", "s3cret")
	t.Setenv("VITALS_TEST_DEBUG", "true")
	c, err := load(t, `
[agent]
  interval = "5s"
  precision = "1ms"
  collection_jitter = "1s"
  flush_interval = "7s"
  metric_batch_size = 500
  debug = "${VITALS_TEST_DEBUG}"
  hostname = "n1"
  buffer_strategy = "disk"
  buffer_directory = "/b"
  plugin_directory = ["$DIR"]
  skip_processors_after_aggregators = true
  trust_clock = true
  unsynced_hold = 90
[tags]
  rack = "a"
[global_tags]
  room = "b"
[inputs.cpu]
  percpu = true
[[inputs.mem]]
  alias = "x"
  interval = "1m"
  precision = "1s"
  collection_jitter = "0s"
  collection_offset = "2s"
  gather_timeout = "3s"
  name_override = "memory"
  name_prefix = "p_"
  name_suffix = "_s"
  isolate = true
  [inputs.mem.tags]
    a = "b"
[[inputs.dice]]
  sides = 20
  plugin_env = {SEED = "1"}
[[outputs.influxdb]]
  urls = ["http://a:1", "https://b"]
  database = "d"
  retention_policy = "r"
  username = "u"
  password = "${VITALS_TEST_TOKEN}"
  timeout = "9s"
  skip_database_creation = true
  user_agent = "ua"
  http_headers = {"X-A" = "b"}
  content_encoding = "gzip"
  insecure_skip_verify = true
  alias = "main"
  flush_jitter = "0s"
  metric_buffer_limit = 77
  write_consistency = "one"
[[outputs.influxdb_v2]]
  token = "t"
  organization = "o"
  bucket = "k"
[[outputs.influxdb_v2]]
  bucket = "k2"
[[outputs.file]]
  data_format = "influx"
[relay]
  whatever = 1
`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := c.Agent
	if a.Interval != 5*time.Second || a.Precision != time.Millisecond || !a.Debug || !a.DiskBuffer || a.BufferDirectory != "/b" || a.BatchSize != 500 || a.BufferLimit != 10000 || !a.RoundInterval {
		t.Errorf("agent: %+v", a)
	}
	if want := (clock.Settings{Trust: true, Hold: 90 * time.Second, Lines: 10000}); a.Clock != want {
		t.Errorf("clock: %+v", a.Clock)
	}
	if diff := cmp.Diff(map[string]string{"rack": "a", "room": "b", "host": "n1"}, c.Tags); diff != "" {
		t.Error("tags", diff)
	}
	cpu, mem, dice := c.Inputs[0], c.Inputs[1], c.Inputs[2]
	if cpu.ID != "cpu" || cpu.Interval != 5*time.Second || cpu.IntervalSet || cpu.Jitter != time.Second || cpu.Executable != "" {
		t.Errorf("cpu: %+v", cpu)
	}
	if string(cpu.TOML) != "percpu = true\n" || string(cpu.JSON) != `{"percpu":true}` {
		t.Errorf("cpu's options: %q %q", cpu.TOML, cpu.JSON)
	}
	if mem.ID != "mem::x" || mem.Interval != time.Minute || !mem.IntervalSet || mem.Precision != time.Second || mem.Jitter != 0 ||
		mem.Offset != 2*time.Second || mem.GatherTimeout != 3*time.Second || mem.NameOverride != "memory" || mem.Prefix != "p_" ||
		mem.Suffix != "_s" || !mem.Isolate || mem.Tags["a"] != "b" {
		t.Errorf("mem: %+v", mem)
	}
	if filepath.Base(dice.Executable) != "vitals-plugin-dice" || !dice.Isolate || dice.Env["SEED"] != "1" || string(dice.TOML) != "sides = 20\n" {
		t.Errorf("dice: %+v", dice)
	}
	influx := c.Outputs[0]
	want := Output{
		ID: "main", Name: "influxdb", Alias: "main", FlushInterval: 7 * time.Second, BatchSize: 500, BufferLimit: 77,
		URLs: []string{"http://a:1", "https://b"}, Database: "d", RetentionPolicy: "r", Username: "u", Password: "s3cret",
		Timeout: 9 * time.Second, SkipDatabaseCreation: true, UserAgent: "ua", Headers: map[string]string{"X-A": "b"}, TLS: TLS{SkipVerify: true},
		Consistency: "one", BatchBytes: 1 << 20, BufferMaxBytes: 256 << 20,
	}
	if diff := cmp.Diff(want, influx); diff != "" {
		t.Error("influxdb", diff)
	}
	var ids []string
	for _, o := range c.Outputs {
		ids = append(ids, o.ID)
	}
	if diff := cmp.Diff([]string{"main", "influxdb_v2", "influxdb_v2-2", "file"}, ids); diff != "" {
		t.Error("identities", diff)
	}
	if len(c.Warnings) != 3 || !strings.Contains(c.Warnings[2], "give it an alias") {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

// Old names of tables mean the same, and are told of with the new ones.
func TestOldNamesOfTables(t *testing.T) {
	c, err := load(t, "[tags]\nrack = \"a\"\n[[plugins.cpu]]\n[outputs.file]\n", Options{})
	if err != nil || c.Tags["rack"] != "a" || c.Inputs[0].Name != "cpu" {
		t.Fatalf("%+v, %v", c, err)
	}
	checkWarnings(t, c.Warnings, []string{"node.toml:1:1: tags: is an old name; write [global_tags]", "node.toml:3:1: plugins.cpu: is an old name; write [[inputs.cpu]]"})
}

// What is written below a table belongs to it: people put options behind tags.
func TestOptionsAmongTheTags(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		c, err := load(t, "[[inputs.cpu]]\n[inputs.cpu.tags]\n"+line+"\n[[outputs.file]]\n", Options{})
		if err != nil {
			t.Fatal(err)
		}
		checkWarnings(t, c.Warnings, want)
	}
	f(`rack = "a"`)
	f(`interval = "10s"`, `inputs.cpu.tags.interval: is a tag here; the option is written before [inputs.cpu.tags]`)
	f(`name_prefix = "x_"`, `inputs.cpu.tags.name_prefix: is a tag here`)
}

func TestHostTag(t *testing.T) {
	f := func(name, agent, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			c, err := load(t, agent+"[[inputs.cpu]]\n[[outputs.file]]\n", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if c.Host != want {
				t.Errorf("host %q, want %q", c.Host, want)
			}
		})
	}
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	f("the machine's name", "", own)
	f("hostname", "[agent]\nhostname = \"x\"\n", "x")
	f("omitted", "[agent]\nomit_hostname = true\nhostname = \"x\"\n", "")
	f("an explicit tag wins", "[agent]\nhostname = \"x\"\n[global_tags]\nhost = \"y\"\n", "y")
	f("an explicit tag is not omitted", "[agent]\nomit_hostname = true\n[global_tags]\nhost = \"y\"\n", "y")
	etc := t.TempDir()
	t.Setenv("HOST_ETC", etc)
	f("a host that has no name for its containers", "", own)
	if err := os.WriteFile(filepath.Join(etc, "hostname"), []byte("# its name\n\n  pi-7 \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("the host's name in a container", "", "pi-7")
	f("hostname in a container", "[agent]\nhostname = \"x\"\n", "x")
}

func TestFiltersOfTheCommandLine(t *testing.T) {
	const text = "[[inputs.cpu]]\n[[inputs.mem]]\n[[inputs.nope]]\n[[outputs.file]]\n[[outputs.influxdb]]\n"
	c, err := load(t, text, Options{InputFilter: []string{"cpu", "mem"}, OutputFilter: []string{"file"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Inputs) != 2 || len(c.Outputs) != 1 {
		t.Errorf("%d inputs, %d outputs", len(c.Inputs), len(c.Outputs))
	}
	_, err = load(t, text, Options{InputFilter: []string{"disk"}})
	if err == nil || !strings.Contains(err.Error(), "no input is named disk; the node file has cpu, mem, nope") {
		t.Error(err)
	}
	_, err = load(t, text, Options{InputFilter: []string{"cpu"}, OutputFilter: []string{"kafka"}})
	if err == nil || !strings.Contains(err.Error(), "no output is named kafka; the node file has file, influxdb") {
		t.Error(err)
	}
}

func TestTestNeedsNoOutputs(t *testing.T) {
	if _, err := load(t, "[[inputs.cpu]]\n", Options{NoOutputs: true}); err != nil {
		t.Error(err)
	}
}

func TestABuiltInWinsOverADropIn(t *testing.T) {
	c, err := load(t, "[agent]\nplugin_directory = [\"$DIR\"]\n[[inputs.cpu]]\n[[inputs.cpu]]\n[[outputs.file]]\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Inputs[0].Executable != "" || c.Inputs[1].ID != "cpu#2" || len(c.Warnings) != 3 || !strings.Contains(c.Warnings[0], "built-in collector of this name is used") {
		t.Errorf("%+v\n%q", c.Inputs, c.Warnings)
	}
}

func TestTwoInputsOfTheSameLines(t *testing.T) {
	f := func(name, first, second string, want int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			c, err := load(t, first+second+"[[outputs.file]]\n", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Warnings) != want || want > 0 && !strings.HasSuffix(c.Warnings[0],
				"node.toml:2:1: inputs.mem: collects the same as the table of line 1, and their lines overwrite each other; tags, name_override, name_prefix or name_suffix would tell them apart") {
				t.Errorf("%q", c.Warnings)
			}
		})
	}
	f("the same", "[[inputs.mem]]\n", "[[inputs.mem]]\n", 1)
	f("by another name", "[[inputs.ram]]\n", "[[inputs.mem]]\n", 1)
	f("an alias is not in the lines", "[[inputs.mem]]\n", "[[inputs.mem]]\nalias = \"x\"\ninterval = \"1m\"\n", 1)
	f("options", "[[inputs.mem]]\n", "[[inputs.mem]]\npercpu = true\n", 0)
	f("tags", "[[inputs.mem]]\n", "[[inputs.mem]]\ntags = {a = \"b\"}\n", 0)
	f("a name", "[[inputs.mem]]\n", "[[inputs.mem]]\nname_suffix = \"_x\"\n", 0)
	f("another collector", "[[inputs.cpu]]\n", "[[inputs.mem]]\n", 0)
}

func TestWhereTheBufferIs(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	if got := DefaultBufferDirectory(); got != "/var/lib/vitals/agent/buffer" {
		t.Error(got)
	}
	t.Setenv("STATE_DIRECTORY", "/s:/t")
	if got := DefaultBufferDirectory(); got != "/s/buffer" {
		t.Error(got)
	}
}
