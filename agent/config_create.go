package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/plugins"
)

const configCreateHelp = `Prints a node file to begin with. Without filters the usual inputs and one output are
enabled, and all others are there as comments; with filters there is only what they name.

  --input-filter  A:B     these inputs
  --output-filter A:B     these outputs
  --section-filter A:B    only these of agent, outputs and inputs

Examples:
  vitals-agent config create > node.toml
  vitals-agent config create --input-filter cpu:mem:temp --output-filter influxdb_v2
`

const agentSample = `# Environment variables are replaced in strings: "${NAME}", "${NAME:-default}".

[global_tags]
  # room = "kitchen"

[agent]
  ## How often inputs are gathered and outputs are written to.
  interval = "10s"
  flush_interval = "10s"
  ## Spread the writes of many nodes.
  flush_jitter = "0s"
  ## Lines of one write, and lines kept in memory before they go to disk.
  metric_batch_size = 1000
  metric_buffer_limit = 10000
  ## The host tag; empty: this machine's name.
  hostname = ""
  omit_hostname = false
`

// outputSamples are the outputs as they are shown, the first one enabled.
var outputSamples = []struct{ name, text string }{
	{"influxdb", `# InfluxDB 1, or a vitals-relay
[[outputs.influxdb]]
  urls = ["http://127.0.0.1:8086"]
  database = "telegraf"
  # username = ""
  # password = "${INFLUX_PASSWORD}"
  timeout = "5s"
`},
	{"influxdb_v2", `# InfluxDB 2 and 3
[[outputs.influxdb_v2]]
  urls = ["http://127.0.0.1:8086"]
  token = "${INFLUX_TOKEN}"
  organization = ""
  bucket = "telegraf"
`},
	{"file", `# Files, or standard output
[[outputs.file]]
  files = ["stdout"]
`},
	{"discard", `# Nothing: for trials
[[outputs.discard]]
`},
}

// usualInputs are those that Telegraf's own sample has enabled.
var usualInputs = []string{"cpu", "disk", "diskio", "kernel", "ram", "processes", "swap", "system"}

// createConfig prints a node file to begin with.
func createConfig(_ context.Context, f *flags, stdout, _ io.Writer) error {
	inputs, err := sampleInputs(f.inputFilter)
	if err != nil {
		return err
	}
	outputs, err := sampleOutputs(f.outputFilter)
	if err != nil {
		return err
	}
	var parts []string
	for _, section := range []struct{ name, text string }{{"agent", agentSample}, {"outputs", outputs}, {"inputs", inputs}} {
		if len(f.sections) == 0 || slices.Contains(f.sections, section.name) {
			parts = append(parts, section.text)
		}
	}
	if len(parts) == 0 {
		return usageError{fmt.Errorf("--section-filter %s: the sections are agent, outputs and inputs", strings.Join(f.sections, ":"))}
	}
	_, err = io.WriteString(stdout, strings.Join(parts, "\n"))
	return err
}

func sampleInputs(filter []string) (string, error) {
	all := ownCollectors()
	slices.SortFunc(all, func(a, b plugins.Description) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range filter {
		if _, ok := builtinCollector(name); !ok {
			return "", fmt.Errorf("no collector that is built in is called %q; see vitals-agent plugins list", name)
		}
	}
	var samples []string
	for _, d := range all {
		asked := slices.ContainsFunc(filter, func(name string) bool { return name == d.Name || slices.Contains(d.Aliases, name) })
		switch text := strings.TrimSpace(d.Sample) + "\n"; {
		case asked, len(filter) == 0 && slices.Contains(usualInputs, d.Name):
			samples = append(samples, text)
		case len(filter) == 0:
			samples = append(samples, commented(text))
		}
	}
	return strings.Join(samples, "\n"), nil
}

func sampleOutputs(filter []string) (string, error) {
	var known, samples []string
	for i, o := range outputSamples {
		known = append(known, o.name)
		switch {
		case slices.Contains(filter, o.name), len(filter) == 0 && i == 0:
			samples = append(samples, o.text)
		case len(filter) == 0:
			samples = append(samples, commented(o.text))
		}
	}
	for _, name := range filter {
		if !slices.Contains(known, name) {
			text := fmt.Sprintf("there is no output %q; there are %s", name, strings.Join(known, ", "))
			if near := nodefile.Nearest(name, known); near != "" {
				text += fmt.Sprintf("; did you mean %q?", near)
			}
			return "", errors.New(text)
		}
	}
	return strings.Join(samples, "\n"), nil
}

// commented puts every line behind a #.
func commented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("# " + line)
	}
	return b.String()
}
