package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// subject is a program to measure. In its arguments and its file $DIR is a
// directory of its own (the file is $DIR/config), $SINK the address of a server
// that takes what is written, $PORT a free port.
type subject struct {
	name    string
	kind    kind
	program string
	args    []string
	file    string
	scrape  time.Duration // an exporter: how often it is asked
	busy    bool          // it must have written, or been scraped, by the end
}

// kind tells apart what has a target, or is one.
type kind int

const (
	peer kind = iota
	agent
	relay
	trimmed // the Telegraf that the agent is never larger than
	floor   // what the relay's costs are counted in
)

const agentFile = `[agent]
  interval = "%[1]v"
  flush_interval = "%[1]v"
  buffer_directory = "$DIR/buffer"
[[inputs.cpu]]
[[inputs.ram]]
[[inputs.swap]]
[[inputs.temperature]]
[[outputs.influxdb]]
  urls = ["http://$SINK"]
  database = "bench"
  skip_database_creation = true
`

const relayFile = `[relay]
  listen = "127.0.0.1:$PORT"
  data_directory = "$DIR/relay"
`

// telegrafFile is the agent's, in Telegraf's names.
const telegrafFile = `[agent]
  interval = "%[1]v"
  flush_interval = "%[1]v"
[[inputs.cpu]]
[[inputs.mem]]
[[inputs.swap]]
[[inputs.temp]]
[[outputs.influxdb]]
  urls = ["http://$SINK"]
  database = "bench"
  skip_database_creation = true
`

// collectdFile sends by HTTP, as the others do; its buffer is what it gathers
// at a time, so that it sends as often as they do.
const collectdFile = `Hostname "bench"
FQDNLookup false
Interval %d
BaseDir "$DIR"
PIDFile "$DIR/pid"
LoadPlugin cpu
LoadPlugin memory
LoadPlugin swap
LoadPlugin thermal
LoadPlugin write_http
<Plugin cpu>
  ValuesPercentage true
</Plugin>
<Plugin write_http>
  <Node "sink">
    URL "http://$SINK/"
    Format "JSON"
    BufferSize 4096
  </Node>
</Plugin>
`

// subjects are what is measured in the round with a reading every so often.
func (s settings) subjects(every time.Duration) ([]subject, error) {
	all := []subject{{
		name: "vitals-agent, cpu ram swap temperature", kind: agent, program: filepath.Join(s.programs, "vitals-agent"),
		args: []string{"--config", "$DIR/config"}, file: fmt.Sprintf(agentFile, every), busy: true,
	}}
	if every > time.Second { // it has nothing to do, however often
		all = append(all, subject{
			name: "vitals-relay, idle", kind: relay, program: filepath.Join(s.programs, "vitals-relay"),
			args: []string{"--config", "$DIR/config"}, file: relayFile,
		})
	}
	for _, p := range all {
		if _, err := os.Stat(p.program); err != nil {
			return nil, fmt.Errorf("%w; make dist builds it", err)
		}
	}
	if s.peers {
		all = append(all, s.installed(every)...)
	}
	return all, nil
}

// installed are the peers that this machine has.
func (s settings) installed(every time.Duration) []subject {
	exporter := func(what string, flags ...string) subject {
		return subject{
			name: "node_exporter, " + what, program: "prometheus-node-exporter", scrape: every, busy: true,
			args: append([]string{"--web.listen-address=127.0.0.1:$PORT"}, flags...),
		}
	}
	peers := []subject{
		{
			name: "Telegraf trimmed, cpu mem swap temp", kind: trimmed, program: s.telegrafPath(),
			args: []string{"--config", "$DIR/config"}, file: fmt.Sprintf(telegrafFile, every), busy: true,
		},
		exporter("cpu meminfo hwmon", "--collector.disable-defaults", "--collector.cpu", "--collector.meminfo", "--collector.hwmon"),
		exporter("as installed"),
		{
			name: "collectd, cpu memory swap thermal", program: "collectd", busy: true,
			args: []string{"-f", "-C", "$DIR/config"}, file: fmt.Sprintf(collectdFile, int(every.Seconds())),
		},
	}
	return there(peers)
}

// telegrafPath is the Telegraf that was named, or the one that
// tests/bench/install.sh has built.
func (s settings) telegrafPath() string {
	if s.telegraf != "" {
		return s.telegraf
	}
	return "bin/telegraf"
}
