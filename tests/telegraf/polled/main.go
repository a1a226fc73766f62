// Command polled is an external plugin for Telegraf, made with its Go shim: an
// input that counts how often it was asked.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/common/shim"
	"github.com/influxdata/telegraf/plugins/inputs"
)

var (
	pollInterval         = flag.Duration("poll_interval", time.Second, "how often to send metrics")
	pollIntervalDisabled = flag.Bool("poll_interval_disabled", false, "send metrics only when asked")
	configFile           = flag.String("config", "", "path to the config file for this plugin")
)

type polled struct {
	Text string `toml:"text"`

	count int64
}

// SampleConfig implements telegraf.Input.
func (*polled) SampleConfig() string { return "[[inputs.polled]]\n  text = \"\"\n" }

// Gather implements telegraf.Input.
func (p *polled) Gather(acc telegraf.Accumulator) error {
	p.count++
	tags := map[string]string{"kind": "asked, not pushed", "größe": "a=b"}
	acc.AddFields("polled", map[string]any{
		"count": p.count, "text": p.Text, "ratio": float64(p.count) / 4, "odd": p.count%2 == 1, "unsigned": uint64(p.count),
	}, tags)
	if p.count == 3 {
		return fmt.Errorf("asked for the third time")
	}
	return nil
}

func main() {
	flag.Parse()
	if *pollIntervalDisabled {
		*pollInterval = shim.PollIntervalDisabled
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "E! "+err.Error())
		os.Exit(1)
	}
}

func run() error {
	inputs.Add("polled", func() telegraf.Input { return &polled{} })
	s := shim.New()
	if err := s.LoadConfig(configFile); err != nil {
		return fmt.Errorf("load config: %w", err)
	}
	return s.Run(*pollInterval)
}
