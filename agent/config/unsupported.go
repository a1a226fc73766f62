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
	warning  bool // it is no mistake, since the same lines arrive
}

const (
	noCEL = "this version of vitals-agent does not read CEL yet; say it with namepass, tagpass or fieldinclude, or remove the option"
)

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
		"metricpass": {sentence: noCEL, harmless: []any{""}},
		"startup_error_behavior": {
			sentence: "what cannot start is tried again and again, and seen in status; vitals-agent runs all the same",
			harmless: []any{"", "retry"}, warning: true,
		},
	}
}

// warnAll is for options that change nothing here.
func warnAll(sentence string, keys ...string) unsupported {
	u := unsupported{}
	for _, k := range keys {
		u[k] = refusal{sentence: sentence, warning: true}
	}
	return u
}

func agentUnsupported() unsupported {
	return unsupported{
		"logtarget":                         {sentence: "vitals-agent logs to standard error, or to the file that logfile names", harmless: []any{"stderr", "file", ""}},
		"snmp_translator":                   {sentence: "has no effect: vitals-agent has no SNMP", harmless: []any{"netsnmp", "gosmi"}, warning: true},
		"skip_processors_after_aggregators": {sentence: "has no effect: vitals-agent has no processors yet", harmless: []any{true, false}, warning: true},
		"statefile":                         {sentence: "has no effect: no collector of vitals-agent keeps a state", harmless: []any{""}, warning: true},
		"buffer_disk_sync":                  {sentence: "has no effect: the buffer on disk is always synced", harmless: []any{true}, warning: true},
		"config_url_retry_attempts":         {sentence: "has no effect: it is a flag, --config-url-retry-attempts", harmless: []any{int64(0)}, warning: true},
	}
}

func inputUnsupported() unsupported { return common() }

// inputIgnored are options that Telegraf accepts in the tables of inputs, where
// they mean nothing. A drop-in may have one of its own of the same name.
func inputIgnored() unsupported {
	return warnAll("has no effect on an input", "flush_interval", "flush_jitter", "metric_batch_size", "metric_buffer_limit",
		"buffer_strategy", "buffer_directory", "buffer_disk_sync")
}

func outputUnsupported() unsupported {
	return common().with(
		warnAll("has no effect on an output; flush_interval says how often it writes", "interval"),
		warnAll("has no effect on an output", "precision", "collection_jitter", "collection_offset", "tags"),
		warnAll("has no effect here: it is one for all outputs; set it in the [agent] table", "buffer_strategy"),
		warnAll("has no effect here: each output has a directory of its own below that of the [agent] table", "buffer_directory"),
		unsupported{
			"influx_uint_support":   {sentence: "vitals-agent writes unsigned integers as signed ones, which every InfluxDB accepts; remove the option", harmless: []any{false}},
			"influx_omit_timestamp": {sentence: "vitals-agent always writes timestamps, so that a repeated batch makes no new points; remove the option", harmless: []any{false}},
			"buffer_disk_sync":      {sentence: "has no effect: the buffer on disk is always synced", harmless: []any{true}, warning: true},
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
		switch {
		case r.always || slices.Contains(r.harmless, s.Values[key]):
		case r.warning:
			l.warn(s.Errorf(key, "%s", r.sentence))
		default:
			l.fail(s.Errorf(key, "%s", r.sentence))
		}
		s.Take(key)
	}
}
