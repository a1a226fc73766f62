package raspberrypi

import (
	"slices"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// The conditions by their bits: 0 to 3 are now, 16 to 19 the same as they were
// at some time before.
const (
	underVoltage  = 1 << iota
	_             // frequency capped
	_             // throttled
	_             // soft temperature limit
	allConditions = 1<<iota - 1

	earlier = 16 // the shift of the bits that stick
)

// conditionNames are the fields, in the order of the bits.
var conditionNames = [...]string{"under_voltage", "frequency_capped", "throttled", "soft_temp_limit"}

// conditions are the bits of one look.
type conditions struct {
	known   uint32 // the bits that mean something
	now     uint32
	earlier uint32 // set at some time before, and not cleared since
}

// conditionsOf splits a word of the firmware.
func conditionsOf(word uint32) conditions {
	return conditions{allConditions, word & allConditions, word >> earlier & allConditions}
}

// begun are the conditions that began between two looks: those that are now and
// were not, and those that came and went, of which only the sticking bit tells.
func (s conditions) begun(before conditions) uint32 {
	came := s.now &^ before.now
	passed := s.earlier &^ before.earlier &^ before.now &^ s.now
	return (came | passed) & s.known & before.known
}

// blind tells the boards without a detector of under-voltage, on which the
// firmware says 0 whatever the voltage is.
func blind(model string) bool {
	return slices.ContainsFunc([]string{
		"Model A Rev", "Model B Rev", "Zero Rev", "Zero W Rev", "Compute Module Rev", "Compute Module 3",
	}, func(board string) bool { return strings.HasPrefix(model, "Raspberry Pi "+board) })
}

// addThrottling adds the conditions now, since boot and how often they began.
func (c *Collector) addThrottling(p *plugins.Point) {
	c.watch.find()
	now := c.watch.visible(c.watch.look())
	if word, ok := c.box.throttledSinceBoot(); ok {
		now = c.watch.visible(conditionsOf(word))
		addBits(p, "_since_boot", now.known, now.earlier)
	} else if !c.watch.cleared() {
		addBits(p, "_since_boot", now.known, now.earlier)
	}
	addBits(p, "", now.known, now.now)
	if c.WatchInterval > 0 {
		c.watch.addCounts(p)
	}
}

// addBits adds the known bits as 0 or 1, which can be summed and drawn.
func addBits(p *plugins.Point, suffix string, known, bits uint32) {
	for i, name := range conditionNames {
		if known>>i&1 == 1 {
			p.Int(name+suffix, int64(bits>>i&1))
		}
	}
}

// addClocks adds what the processor and the core really run at: the firmware
// caps them without telling the kernel.
func addClocks(p *plugins.Point, box *mailbox) {
	if hz, ok := box.hertz(clockARM); ok {
		p.Int("arm_frequency_hz", hz)
	}
	if hz, ok := box.hertz(clockCore); ok {
		p.Int("core_frequency_hz", hz)
	}
}
