// Package net collects the traffic of network interfaces, as Telegraf's
// inputs.net does.
package net

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "net",
		Description:  "Traffic of network interfaces.",
		Sample:       sample,
		Measurements: []string{"net"},
		New:          func() plugins.Collector { return &Collector{Interfaces: []string{}} },
	}
}

// Collector holds the options.
type Collector struct {
	Interfaces []string `toml:"interfaces"`
	// IgnoreProtocolStats is taken and without effect: Telegraf has told no
	// protocols here since 1.37.
	IgnoreProtocolStats bool `toml:"ignore_protocol_stats"`

	wanted func(name string) bool // nil without Interfaces
}

var _ plugins.Validator = (*Collector)(nil)

// Validate implements plugins.Validator.
func (c *Collector) Validate() error {
	if len(c.Interfaces) == 0 {
		return nil
	}
	var err error
	if c.wanted, err = plugins.Patterns(c.Interfaces); err != nil {
		return plugins.OptionError{Option: "interfaces", Message: err.Error()}
	}
	return nil
}

// Gather implements plugins.Collector.
func (c *Collector) Gather(_ context.Context, b *plugins.Batch) error {
	all, err := readInterfaces()
	wanted := c.wanted
	if wanted == nil && os.Getenv("HOST_PROC") == "" {
		var up error
		if wanted, up = ownInterfaces(); up != nil {
			return up
		}
	}
	for _, d := range all {
		if wanted == nil || wanted(d.name) {
			d.add(b.Point("net").Tag("interface", d.name))
		}
	}
	return err
}

// ownInterfaces tells those of this machine that are up, without the loopback.
// Of the machine that HOST_PROC names there is no telling.
func ownInterfaces() (wanted func(name string) bool, err error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var names []string
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			names = append(names, i.Name)
		}
	}
	return func(name string) bool { return slices.Contains(names, name) }, nil
}

// speedOf is in Mbit/s; -1, as in Telegraf, where the interface has none.
func speedOf(name string) int64 {
	data, err := os.ReadFile(plugins.HostSys("class/net", name, "speed"))
	if err != nil {
		return -1
	}
	speed, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return -1
	}
	return speed
}

// device is a line of /proc/net/dev.
type device struct {
	name     string
	counters [columns]uint64
}

// The columns of /proc/net/dev that are told.
const (
	bytesRecv   = 0
	packetsRecv = 1
	errIn       = 2
	dropIn      = 3
	bytesSent   = 8
	packetsSent = 9
	errOut      = 10
	dropOut     = 11
	columns     = 12
)

func (d device) add(p *plugins.Point) {
	p.Uint("bytes_sent", d.counters[bytesSent]).
		Uint("bytes_recv", d.counters[bytesRecv]).
		Uint("packets_sent", d.counters[packetsSent]).
		Uint("packets_recv", d.counters[packetsRecv]).
		Uint("err_in", d.counters[errIn]).
		Uint("err_out", d.counters[errOut]).
		Uint("drop_in", d.counters[dropIn]).
		Uint("drop_out", d.counters[dropOut]).
		Int("speed", speedOf(d.name))
}

// readInterfaces reads /proc/net/dev, below two lines of headings.
func readInterfaces() ([]device, error) {
	path := plugins.HostProc("net/dev")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read interfaces: %w", err)
	}
	var all []device
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "|") {
			continue
		}
		d, err := parseDevice(line)
		if err != nil {
			return all, fmt.Errorf("read interfaces from %s: %w", path, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// parseDevice takes a line apart at its last colon: an alias has one in its
// name.
func parseDevice(line string) (device, error) {
	colon := strings.LastIndexByte(line, ':')
	if colon < 0 {
		return device{}, fmt.Errorf("no colon in %q", line)
	}
	d := device{name: strings.TrimSpace(line[:colon])}
	words := strings.Fields(line[colon+1:])
	if len(words) < columns {
		return device{}, fmt.Errorf("%s has %d columns", d.name, len(words))
	}
	for i := range d.counters {
		var err error
		if d.counters[i], err = strconv.ParseUint(words[i], 10, 64); err != nil {
			return device{}, fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return d, nil
}
