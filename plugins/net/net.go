// Package net collects the traffic of network interfaces and the counters of
// network protocols, as Telegraf's inputs.net does.
package net

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
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
		Description:  "Traffic of network interfaces and counters of protocols.",
		Sample:       sample,
		Measurements: []string{"net"},
		New:          func() plugins.Collector { return &Collector{Interfaces: []string{}} },
	}
}

// Collector holds the options.
type Collector struct {
	Interfaces          []string `toml:"interfaces"`
	IgnoreProtocolStats bool     `toml:"ignore_protocol_stats"`

	wanted func(name string) bool // nil without Interfaces
}

var _ plugins.Validator = (*Collector)(nil)

// Validate implements plugins.Validator.
func (c *Collector) Validate() error {
	if len(c.Interfaces) == 0 {
		return nil
	}
	var err error
	if c.wanted, err = matcher(c.Interfaces); err != nil {
		return plugins.OptionError{Option: "interfaces", Message: err.Error()}
	}
	return nil
}

// Gather implements plugins.Collector.
func (c *Collector) Gather(_ context.Context, b *plugins.Batch) error {
	all, err := readInterfaces()
	for _, i := range all {
		if c.wants(i.name) {
			i.add(b.Point("net").Tag("interface", i.name))
		}
	}
	if !c.IgnoreProtocolStats {
		// Telegraf does without where there are none, and so does this.
		if err := addProtocols(b.Point("net").Tag("interface", "all")); err != nil {
			b.Log().Debug("protocols left out", "error", err)
		}
	}
	return err
}

// wants reports whether this interface is asked for: by name, or by being up
// and not the loopback. What cannot be known is told rather than left out where
// HOST_PROC says that the interfaces are those of another machine.
func (c *Collector) wants(name string) bool {
	if c.wanted != nil {
		return c.wanted(name)
	}
	flags, known := flagsOf(name)
	if !known {
		return os.Getenv("HOST_PROC") != ""
	}
	return flags&net.FlagUp != 0 && flags&net.FlagLoopback == 0
}

// flagsOf asks the kernel, or the /sys of the machine that HOST_SYS names: the
// call can only answer for the network that this process sees itself.
func flagsOf(name string) (net.Flags, bool) {
	if os.Getenv("HOST_SYS") != "" {
		if flags, ok := flagsFile(name); ok {
			return flags, true
		}
	}
	if os.Getenv("HOST_PROC") != "" {
		return 0, false
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, false
	}
	return i.Flags, true
}

// The bits of IFF_UP and IFF_LOOPBACK.
const (
	bitUp       = 0x1
	bitLoopback = 0x8
)

func flagsFile(name string) (flags net.Flags, ok bool) {
	bits, err := strconv.ParseUint(word("class/net", name, "flags"), 0, 32)
	if bits&bitUp != 0 {
		flags |= net.FlagUp
	}
	if bits&bitLoopback != 0 {
		flags |= net.FlagLoopback
	}
	return flags, err == nil
}

// speedOf is in Mbit/s; -1, as in Telegraf, where the interface has none.
func speedOf(name string) int64 {
	speed, err := strconv.ParseInt(word("class/net", name, "speed"), 10, 64)
	if err != nil {
		return -1
	}
	return speed
}

// word reads a file of one word below /sys, "" if it cannot be read.
func word(elem ...string) string {
	data, _ := os.ReadFile(plugins.HostSys(elem...))
	return strings.TrimSpace(string(data))
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
