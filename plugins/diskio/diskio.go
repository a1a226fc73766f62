// Package diskio collects the traffic of disks and partitions, as Telegraf's
// inputs.diskio does.
package diskio

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "diskio",
		Description:  "Traffic of disks and partitions.",
		Sample:       sample,
		Measurements: []string{"diskio"},
		New: func() plugins.Collector {
			return &Collector{
				Devices:          []string{},
				DeviceTags:       []string{},
				NameTemplates:    []string{},
				SkipSerialNumber: true,
				now:              time.Now,
			}
		},
	}
}

// Collector holds the options and the counters of the reading before.
type Collector struct {
	Devices          []string `toml:"devices"`
	DeviceTags       []string `toml:"device_tags"`
	NameTemplates    []string `toml:"name_templates"`
	SkipSerialNumber bool     `toml:"skip_serial_number"`

	now    func() time.Time
	match  func(name string) bool // nil if Devices has plain names only
	last   map[string]device
	lastAt time.Time
}

var (
	_ plugins.Validator = (*Collector)(nil)
	_ plugins.Primer    = (*Collector)(nil)
)

// Validate implements plugins.Validator.
func (c *Collector) Validate() error {
	if !slices.ContainsFunc(c.Devices, func(d string) bool { return strings.ContainsAny(d, "*?[") }) {
		return nil
	}
	var err error
	if c.match, err = plugins.Patterns(c.Devices); err != nil {
		return plugins.OptionError{Option: "devices", Message: err.Error()}
	}
	return nil
}

// Prime takes the counters with which the first reading is compared.
func (c *Collector) Prime(context.Context) error {
	all, err := readDevices()
	c.remember(all, c.now())
	return err
}

// Gather implements plugins.Collector.
func (c *Collector) Gather(_ context.Context, b *plugins.Batch) error {
	all, err := readDevices()
	if err != nil {
		return err
	}
	at := c.now()
	defer c.remember(all, at)
	names := c.names()
	for _, d := range all {
		var u udev
		if c.needsUdev() {
			u = readUdev(d.number)
		}
		if !c.wants(d, u, names) {
			continue
		}
		p := b.Point("diskio")
		c.tag(p, d, u)
		d.add(p)
		if last, ok := c.last[d.name]; ok {
			d.addSince(p, last, at.Sub(c.lastAt))
		}
	}
	return nil
}

func (c *Collector) remember(all []device, at time.Time) {
	c.last, c.lastAt = make(map[string]device, len(all)), at
	for _, d := range all {
		c.last[d.name] = d
	}
}

func (c *Collector) needsUdev() bool {
	return c.match != nil || len(c.DeviceTags) > 0 || len(c.NameTemplates) > 0 || !c.SkipSerialNumber
}

// names are the devices asked for, links resolved; nil if there are patterns
// among them.
func (c *Collector) names() []string {
	var names []string
	if c.match == nil {
		for _, name := range c.Devices {
			names = append(names, resolve(name))
		}
	}
	return names
}

// wants leaves out a device that has never done anything, such as the unused
// /dev/ram0 to /dev/ram15.
func (c *Collector) wants(d device, u udev, names []string) bool {
	switch {
	case d.idle():
		return false
	case c.match != nil:
		return c.match(d.name) || slices.ContainsFunc(u.links(), c.match)
	}
	return len(names) == 0 || slices.Contains(names, d.name)
}

func (c *Collector) tag(p *plugins.Point, d device, u udev) {
	p.Tag("name", c.nameOf(d.name, u)).Tag("wwid", line(plugins.HostSys("block", d.name, "wwid")))
	for _, key := range c.DeviceTags {
		p.Tag(key, u[key])
	}
	if !c.SkipSerialNumber {
		p.Tag("serial", serial(d, u))
	}
}

// variable is one in a template of a name.
var variable = regexp.MustCompile(`\$(?:\w+|\{\w+\})`)

// nameOf fills the first template for which udev has all that it asks for.
func (c *Collector) nameOf(name string, u udev) string {
	for _, template := range c.NameTemplates {
		missing := false
		filled := variable.ReplaceAllStringFunc(template, func(v string) string {
			value, ok := u[strings.Trim(v, "${}")]
			missing = missing || !ok
			return value
		})
		if !missing {
			return filled
		}
	}
	return name
}

// device is a line of /proc/diskstats.
type device struct {
	name, number string // number is major:minor
	counters     [columns]uint64
}

// The columns of /proc/diskstats behind the name; times are in milliseconds.
const (
	reads = iota
	mergedReads
	sectorsRead
	readTime
	writes
	mergedWrites
	sectorsWritten
	writeTime
	inProgress
	ioTime
	weightedTime
	columns
)

// sectorSize is the unit of /proc/diskstats in bytes, whatever the disk's is.
const sectorSize = 512

func readDevices() ([]device, error) {
	path := plugins.HostProc("diskstats")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read disks: %w", err)
	}
	var all []device
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 3+columns {
			continue // partitions before kernel 2.6.25 tell less
		}
		d := device{name: words[2], number: words[0] + ":" + words[1]}
		for i := range d.counters {
			if d.counters[i], err = strconv.ParseUint(words[3+i], 10, 64); err != nil {
				return nil, fmt.Errorf("read disks from %s: %s: %w", path, d.name, err)
			}
		}
		all = append(all, d)
	}
	return all, nil
}

func (d device) idle() bool { return d.counters == [columns]uint64{} }

func (d device) add(p *plugins.Point) {
	n := &d.counters
	p.Uint("reads", n[reads]).
		Uint("writes", n[writes]).
		Uint("read_bytes", n[sectorsRead]*sectorSize).
		Uint("write_bytes", n[sectorsWritten]*sectorSize).
		Uint("read_time", n[readTime]).
		Uint("write_time", n[writeTime]).
		Uint("io_time", n[ioTime]).
		Uint("weighted_io_time", n[weightedTime]).
		Uint("iops_in_progress", n[inProgress]).
		Uint("merged_reads", n[mergedReads]).
		Uint("merged_writes", n[mergedWrites])
}

// addSince adds what iostat(1) computes from two readings, unless a counter ran
// backwards in between: it had reached its end, or the disk is another one.
func (d device) addSince(p *plugins.Point, last device, elapsed time.Duration) {
	now, before := &d.counters, &last.counters
	for _, i := range []int{reads, writes, readTime, writeTime, ioTime} {
		if now[i] < before[i] {
			return
		}
	}
	since := func(i int) float64 { return float64(now[i] - before[i]) }
	if n := since(reads) + since(writes); n > 0 {
		p.Float("io_await", (since(readTime)+since(writeTime))/n)
		p.Float("io_svctm", since(ioTime)/n)
	}
	if ms := elapsed.Milliseconds(); ms > 0 {
		p.Float("io_util", 100*since(ioTime)/float64(ms))
	}
}
