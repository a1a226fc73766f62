package config

import (
	"strings"
	"testing"
)

// outcome loads text and tells what becomes of it: "" if all is well, else the
// first warning or the mistake.
func outcome(t *testing.T, text string) string {
	t.Helper()
	c, err := load(t, text, Options{})
	switch {
	case err != nil:
		return "error: " + err.Error()
	case len(c.Warnings) > 0:
		return "warning: " + strings.Join(c.Warnings, "\n")
	}
	return ""
}

// expect says that what becomes of text begins with a word, and holds another.
func expect(t *testing.T, text, want string) {
	t.Helper()
	got := outcome(t, text)
	kind, part, _ := strings.Cut(want, ": ")
	if want == "" && got != "" || !strings.HasPrefix(got, kind) || !strings.Contains(got, part) {
		t.Errorf("%s\n  yields %q\n  wanted %q", text, got, want)
	}
}

// TestEveryAgentOptionOfTelegraf has each option of its [agent] table, in each
// form that it is written in.
func TestEveryAgentOptionOfTelegraf(t *testing.T) {
	f := func(option, want string) {
		t.Helper()
		expect(t, "[agent]\n"+option+"\n[[inputs.cpu]]\n[[outputs.file]]\n", want)
	}
	f(`interval = "10s"`, "")
	f(`interval = 10`, "")
	f(`interval = 0.5`, "")
	f(`interval = "1d"`, "")
	f(`interval = "0s"`, "error: more than 0")
	f(`interval = true`, "error: agent.interval")
	f(`round_interval = false`, "")
	f(`precision = "1ms"`, "")
	f(`precision = ""`, "")
	f(`precision = "-1s"`, "error: must not be negative")
	f(`collection_jitter = "3s"`, "")
	f(`collection_offset = "3s"`, "")
	f(`collection_offset = "-3s"`, "error: must not be negative")
	f(`flush_interval = 5`, "")
	f(`flush_jitter = "5s"`, "")
	f(`metric_batch_size = 100`, "")
	f(`metric_batch_size = 0`, "")
	f(`metric_batch_size = "100"`, "error: must be an integer, not a string")
	f(`metric_buffer_limit = 100000`, "")
	f(`debug = true`, "")
	f(`debug = "true"`, "error: must be a boolean, not a string")
	f(`quiet = true`, "")
	f(`logformat = "text"`, "")
	f(`logformat = "structured"`, "")
	f(`logformat = "eventlog"`, "error: no format")
	f(`structured_log_message_key = "message"`, "")
	f(`logfile = "/tmp/x.log"`, "")
	f(`logfile_rotation_interval = "1d"`, "")
	f(`logfile_rotation_interval = 3600`, "")
	f(`logfile_rotation_max_size = "10MB"`, "")
	f(`logfile_rotation_max_size = 1000`, "")
	f(`logfile_rotation_max_size = "10 buckets"`, "error: no known unit")
	f(`logfile_rotation_max_archives = -1`, "")
	f(`log_with_timezone = "local"`, "")
	f(`log_with_timezone = "UTC"`, "")
	f(`logtarget = "file"`, "")
	f(`logtarget = "eventlog"`, "error: standard error, or to the file")
	f(`hostname = "a"`, "")
	f(`omit_hostname = true`, "")
	f(`snmp_translator = "gosmi"`, "")
	f(`snmp_translator = "other"`, "warning: no SNMP")
	f(`statefile = ""`, "")
	f(`statefile = "/x"`, "warning: has no effect")
	f(`always_include_local_tags = true`, "")
	f(`always_include_global_tags = true`, "")
	f(`skip_processors_after_aggregators = true`, "")
	f(`skip_processors_after_aggregators = false`, "")
	f(`config_url_retry_attempts = 3`, "warning: it is a flag")
	f(`buffer_strategy = "memory"`, "")
	f(`buffer_strategy = "disk"`, "")
	f(`buffer_strategy = "disk_write_through"`, "")
	f(`buffer_directory = "/x"`, "")
	f(`buffer_disk_sync = true`, "")
	f(`buffer_disk_sync = false`, "warning: always synced")
	f(`colour = "red"`, "error: unknown option")
	f(`intervall = "1s"`, `error: did you mean "interval"?`)
	f(`Interval = "1s"`, "") // in this table Telegraf takes no account of case either
}

// TestEveryCommonInputOptionOfTelegraf has the options that every input of
// Telegraf's takes.
func TestEveryCommonInputOptionOfTelegraf(t *testing.T) {
	f := func(option, want string) {
		t.Helper()
		expect(t, "[[outputs.file]]\n[[inputs.cpu]]\n"+option+"\n", want)
	}
	f(`alias = "a"`, "")
	f(`interval = "1m"`, "")
	f(`interval = 60`, "")
	f(`interval = 1.5`, "")
	f(`interval = "1d"`, "")
	f(`interval = "-1s"`, "error: more than 0")
	f(`precision = "1us"`, "")
	f(`collection_jitter = "0s"`, "")
	f(`collection_offset = "1s"`, "")
	f(`collection_offset = "-1s"`, "error: must not be negative")
	f(`time_source = "metric"`, "")
	f(`time_source = "collection_start"`, "")
	f(`time_source = "collection_end"`, "")
	f(`time_source = "now"`, "error: none of metric")
	f(`name_override = "x"`, "")
	f(`name_prefix = "x_"`, "")
	f(`name_suffix = "_x"`, "")
	f(`tags = {a = "b"}`, "")
	f("[inputs.cpu.tags]\na = \"b\"", "")
	f(`tags = "a"`, "error: must be a table")
	f(`log_level = "trace"`, "")
	f(`log_level = "loud"`, "error: none of error")
	f(`startup_error_behavior = "retry"`, "")
	f(`startup_error_behavior = "error"`, "warning: tried again and again")
	f(`startup_error_behavior = "ignore"`, "warning: tried again and again")
	f(`startup_error_behavior = "probe"`, "warning: tried again and again")
	f(`labels = {a = "b"}`, "")
	f(`namepass = ["cpu"]`, "")
	f(`metricpass = "true"`, "error: CEL")
	f(`flush_interval = "1s"`, "warning: no effect on an input")
	f(`metric_buffer_limit = 10`, "warning: no effect on an input")
	f(`buffer_strategy = "disk"`, "warning: no effect on an input")
	f(`percpux = true`, `error: did you mean "percpu"?`)
}

// TestOptionsOfOutputsThatMeanNothing has those that Telegraf accepts on an
// output, too, without any effect.
func TestOptionsOfOutputsThatMeanNothing(t *testing.T) {
	f := func(option, want string) {
		t.Helper()
		expect(t, "[[inputs.cpu]]\n[[outputs.file]]\n"+option+"\n", want)
	}
	f(`interval = "1s"`, "warning: flush_interval says how often")
	f(`collection_jitter = "1s"`, "warning: no effect on an output")
	f(`precision = "1s"`, "warning: no effect on an output")
	f(`tags = {a = "b"}`, "warning: no effect on an output")
	f(`buffer_strategy = "disk"`, "warning: [agent] table")
	f(`buffer_directory = "/x"`, "warning: [agent] table")
	f(`buffer_disk_sync = false`, "warning: always synced")
	f(`log_level = "debug"`, "")
	f(`startup_error_behavior = "ignore"`, "warning: tried again and again")
	f(`labels = {a = "b"}`, "")
}

// TestFormsOfTables has the ways in which plugins are written.
func TestFormsOfTables(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		expect(t, text, want)
	}
	f("[[inputs.cpu]]\n[[outputs.file]]\n", "")
	f("[inputs.cpu]\n[outputs.file]\n", "")
	f("[[plugins.cpu]]\n[[outputs.file]]\n", "warning: is an old name; write [[inputs.cpu]]")
	f("[plugins.cpu]\n[outputs.file]\n", "warning: is an old name; write [[inputs.cpu]]")
	f("[inputs]\n[[inputs.cpu]]\n[outputs]\n[outputs.file]\n", "")
	f("\ufeff[[inputs.cpu]]\n[[outputs.file]]\n", "")
	f("[cpu]\n[[inputs.cpu]]\n[[outputs.file]]\n", "error: node.toml:1: cpu: neither vitals-agent nor vitals-relay has a table of this name; a collector is configured as [[inputs.cpu]]")
	f("[[cpu]]\n[[inputs.cpu]]\n[[outputs.file]]\n", "error: a collector is configured as [[inputs.cpu]]")
	f("[[inputs]]\n[[outputs.file]]\n", "error: node.toml:1: inputs: must be tables, written [[inputs.NAME]]")
	f("inputs.cpu = 3\n[[outputs.file]]\n", "error: node.toml:1: inputs.cpu: must be a table, written [[inputs.cpu]]")
	f("[[agent]]\n[[inputs.cpu]]\n[[outputs.file]]\n", "error: node.toml:1: agent: must be one table, written [agent]")
	f("agent = 3\n[[inputs.cpu]]\n[[outputs.file]]\n", "error: node.toml:1: agent: must be one table, written [agent]")
	f("[[global_tags]]\n[[inputs.cpu]]\n[[outputs.file]]\n", "error: node.toml:1: global_tags: must be one table, written [global_tags]")
	f("[[inputs.cpu]]\n", "error: there is no output")
	f("[[outputs.file]]\n", "error: there is no input")
	f("", "error: there is no input")
}
