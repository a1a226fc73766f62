// Package raspberrypi collects what a Raspberry Pi knows about its power, its
// throttling, its fan and the wear of its card, without vcgencmd.
//
//	/sys/class/hwmon, thermal ──┐
//	/dev/vcio (the firmware) ───┼─► Gather ─► lines
//	/sys/block, /sys/fs/ext4 ───┘      ▲
//	alarm, throttle bits ─► watcher ───┘ counts what comes and goes between gathers
package raspberrypi

import (
	"context"
	_ "embed"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:        "raspberrypi",
		Description: "Power, throttling, fan and card of a Raspberry Pi.",
		Sample:      sample,
		Measurements: []string{
			"raspberrypi", "raspberrypi_rail", "raspberrypi_fan", "raspberrypi_card", "raspberrypi_ext4",
		},
		New: func() plugins.Collector { return newCollector(openVCIO) },
	}
}

// Collector holds the options and what lives from reading to reading.
type Collector struct {
	WatchInterval time.Duration `toml:"watch_interval"`
	Mailbox       string        `toml:"mailbox"`
	PMIC          bool          `toml:"pmic"`
	LegacyFile    bool          `toml:"legacy_file"`

	open   func(path string) (device, error)
	board  bool // this is a Raspberry Pi
	box    *mailbox
	watch  *watcher
	warned bool // of a mailbox that may not be opened
}

var (
	_ plugins.Primer    = (*Collector)(nil)
	_ plugins.Validator = (*Collector)(nil)
	_ io.Closer         = (*Collector)(nil)
)

func newCollector(open func(string) (device, error)) *Collector {
	return &Collector{WatchInterval: time.Second, Mailbox: "/dev/vcio", PMIC: true, open: open}
}

// The kernel renews its alarm every 2 s: who looks more rarely misses some. The
// firmware shifts its own bits every 100 ms: looking faster shows nothing new.
const shortestWatch, longestWatch = 200 * time.Millisecond, 2 * time.Second

// Validate implements plugins.Validator.
func (c *Collector) Validate() error {
	if c.WatchInterval != 0 && (c.WatchInterval < shortestWatch || c.WatchInterval > longestWatch) {
		return plugins.OptionError{Option: "watch_interval", Message: `expected "200ms" to "2s", or "0s" to count no events`}
	}
	return nil
}

// Prime begins to watch. Events are counted from here on.
func (c *Collector) Prime(context.Context) error {
	model := boardModel()
	if model == "" {
		return nil
	}
	c.board = true
	c.box = newMailbox(c.Mailbox, c.open)
	_ = c.box.connect() // Gather tries again, and has a log to say why it failed
	c.watch = newWatcher(c.box, c.LegacyFile)
	c.watch.blind = blind(model)
	c.watch.start(c.WatchInterval)
	return nil
}

// Close ends the watcher and lets go of the firmware.
func (c *Collector) Close() error {
	if !c.board {
		return nil
	}
	c.watch.stop()
	return c.box.Close()
}

// Gather implements plugins.Collector. What this board, kernel or firmware does
// not tell is left out; a machine that is no Raspberry Pi has no lines.
func (c *Collector) Gather(_ context.Context, b *plugins.Batch) error {
	if !c.board {
		return nil
	}
	c.connect(b)
	p := b.Point("raspberrypi")
	c.addThrottling(p)
	addClocks(p, c.box)
	addBridge(p)
	c.addRails(b)
	addFans(b)
	addCards(b)
	addExt4(b)
	return nil
}

// connect opens the mailbox if it is not open yet. A kernel without one is
// common; one that is kept from the agent is worth a word.
func (c *Collector) connect(b *plugins.Batch) {
	err := c.box.connect()
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrPermission) && !c.warned:
		c.warned = true
		b.Log().Warn("the firmware cannot be asked; let the agent's user join the group video, or set mailbox = \"\"", "error", err)
	default:
		b.Log().Debug("no mailbox", "error", err)
	}
}

// boardModel reads the model from the device tree, or from the DMI where the
// board was started by UEFI; empty if it is no Raspberry Pi.
func boardModel() string {
	for _, path := range []string{
		plugins.HostSys("firmware/devicetree/base/model"),
		plugins.HostProc("device-tree/model"),
		plugins.HostSys("class/dmi/id/product_name"),
	} {
		if model, ok := text(path); ok && strings.HasPrefix(model, "Raspberry Pi") {
			return model
		}
	}
	return ""
}
