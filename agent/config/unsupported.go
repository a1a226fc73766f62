package config

import (
	"maps"
	"slices"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// unsupported names options that Telegraf has and this agent does not: what
// is said of each, and the values that ask for nothing and so are let through.
type unsupported map[string]refusal

type refusal struct {
	sentence string
	harmless []any
	always   bool // whatever the value: it has no meaning here
}

const (
	noCEL      = "this version of vitals-agent does not read CEL yet; say it with namepass, tagpass or fieldinclude, or remove the option"
	noRotation = "vitals-agent does not rotate its files; let logrotate or the journal do it"
)

func refuseAll(sentence string, keys ...string) unsupported {
	u := unsupported{}
	for _, k := range keys {
		u[k] = refusal{sentence: sentence}
	}
	return u
}

// with joins tables.
func (u unsupported) with(others ...unsupported) unsupported {
	for _, o := range others {
		maps.Copy(u, o)
	}
	return u
}

// common are options of every input and output.
func common() unsupported {
	return unsupported{
		"metricpass":             {sentence: noCEL, harmless: []any{""}},
		"labels":                 {sentence: "this version of vitals-agent has no labels and no --select yet; remove the table"},
		"startup_error_behavior": {sentence: "vitals-agent always starts, and keeps retrying what fails; remove the option", harmless: []any{"retry"}},
	}
}

func agentUnsupported() unsupported {
	return refuseAll(noRotation, "logfile_rotation_interval", "logfile_rotation_max_size").with(unsupported{
		"logfile_rotation_interval":         {sentence: noRotation, harmless: []any{"0", "0s", "0h", "0d", int64(0)}},
		"logfile_rotation_max_size":         {sentence: noRotation, harmless: []any{"0", "0MB", int64(0)}},
		"logfile_rotation_max_archives":     {always: true},
		"logformat":                         {sentence: "vitals-agent writes its log as text only; remove the option", harmless: []any{"text"}},
		"logtarget":                         {sentence: "vitals-agent logs to standard error, or to the file that logfile names", harmless: []any{"stderr", "file"}},
		"log_with_timezone":                 {sentence: "vitals-agent stamps its log in local time; remove the option", harmless: []any{"", "local"}},
		"structured_log_message_key":        {always: true},
		"snmp_translator":                   {always: true},
		"skip_processors_after_aggregators": {always: true},
		"config_url_retry_attempts":         {always: true},
		"statefile":                         {sentence: "this version of vitals-agent keeps no state of collectors yet; remove the option", harmless: []any{""}},
		"buffer_disk_sync":                  {sentence: "the disk buffer of vitals-agent always syncs; remove the option", harmless: []any{true}},
	})
}

func inputUnsupported() unsupported {
	return common().with(unsupported{
		"time_source": {sentence: "vitals-agent stamps every line that has no time with its scheduled tick; remove the option", harmless: []any{"metric"}},
	})
}

func outputUnsupported() unsupported {
	return common().with(unsupported{
		"log_level":             {sentence: "this version of vitals-agent has one log level for all outputs, [agent] debug and quiet; remove the option"},
		"influx_uint_support":   {sentence: "vitals-agent writes unsigned integers as signed ones, which every InfluxDB accepts; remove the option", harmless: []any{false}},
		"influx_omit_timestamp": {sentence: "vitals-agent always writes timestamps, so that a repeated batch makes no new points; remove the option", harmless: []any{false}},
		"interval":              {sentence: "has no effect on an output; flush_interval says how often it writes"},
		"buffer_strategy":       {sentence: "is one for all outputs; set it in the [agent] table"},
		"buffer_directory":      {sentence: "is one for all outputs, each of which has a directory of its own in it; set it in the [agent] table"},
		"buffer_disk_sync":      {sentence: "the disk buffer of vitals-agent always syncs; remove the option", harmless: []any{true}},
		"data_format":           {sentence: "vitals-agent writes line protocol only; remove the option", harmless: []any{"influx"}},
	})
}

func influxUnsupported() unsupported {
	return outputUnsupported().with(unsupported{
		"udp_payload": {always: true}, // there is no UDP
	})
}

func influx2Unsupported() unsupported { return outputUnsupported() }

func fileUnsupported() unsupported {
	return outputUnsupported().with(unsupported{
		"use_batch_format":      {always: true},
		"compression_level":     {sentence: "vitals-agent compresses files at one level, which is fast; remove the option", harmless: []any{int64(-1)}},
		"influx_sort_fields":    {always: true},
		"influx_max_line_bytes": {sentence: "vitals-agent does not split lines; remove the option", harmless: []any{int64(0)}},
	})
}

// refuse takes the options of u out of s and reports each that asks for
// something.
func (l *loader) refuse(s *nodefile.Section, u func() unsupported) {
	table := u()
	for _, key := range s.Keys() {
		r, known := table[key]
		if !known {
			continue
		}
		if !r.always && !slices.Contains(r.harmless, s.Values[key]) {
			l.fail(s.Errorf(key, "%s", r.sentence))
		}
		s.Take(key)
	}
}
