package raspberrypi

import (
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// addRails adds a line for each voltage that the board tells.
func (c *Collector) addRails(b *plugins.Batch) {
	if !addInputs(b, "rpi_volt", "firmware") {
		c.addFirmwareRails(b)
	}
	addInputs(b, "rp1_adc", "rp1_adc")
	if c.PMIC {
		c.addPMIC(b)
	}
}

// addInputs adds the inputs of a chip, which are in mV, and tells whether it has
// any.
func addInputs(b *plugins.Batch, chip, source string) bool {
	found := false
	for _, folder := range hwmon(chip) {
		inputs, _ := filepath.Glob(filepath.Join(folder, "in*_input"))
		for _, input := range inputs {
			mV, ok := number(input)
			if !ok {
				continue
			}
			found = true
			rail := strings.TrimSuffix(filepath.Base(input), "_input")
			if label, ok := text(strings.TrimSuffix(input, "input") + "label"); ok && label != "" {
				rail = label
			}
			addRail(b, source, rail).Float("volts", float64(mV)/1000)
		}
	}
	return found
}

func addRail(b *plugins.Batch, source, rail string) *plugins.Point {
	return b.Point("raspberrypi_rail").Tag("source", source).Tag("rail", rail)
}

// addFirmwareRails asks the firmware itself; the names are those that the
// kernel gives where it does.
func (c *Collector) addFirmwareRails(b *plugins.Batch) {
	for _, r := range []struct {
		name string
		id   uint32
	}{
		{"core", voltCore}, {"sdram_c", voltSDRAMC}, {"sdram_i", voltSDRAMI}, {"sdram_p", voltSDRAMP},
	} {
		if v, ok := c.box.volts(r.id); ok {
			addRail(b, "firmware", r.name).Float("volts", v)
		}
	}
}

// addPMIC adds the rails that the power chip measures, such as the 5 V at the
// input. Firmware of boards without such a chip does not know the command.
func (c *Collector) addPMIC(b *plugins.Batch) {
	answer, err := c.box.gencmd("pmic_read_adc")
	if err != nil {
		return
	}
	for _, r := range parsePMIC(answer) {
		addRail(b, "pmic", r.rail).Float("volts", r.volts).Float("amperes", r.amperes)
	}
}

// reading is what the power chip measures on a rail; NaN is what it does not.
type reading struct {
	rail           string
	volts, amperes float64
}

// parsePMIC reads lines such as
//
//	VDD_CORE_A current(7)=1.42880000A
//	   EXT5V_V volt(24)=5.05716000V
//
// and returns the rails in the order in which they are first named.
func parsePMIC(answer string) []reading {
	var all []reading
	for line := range strings.Lines(answer) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		_, value, _ := strings.Cut(rest, "=")
		v, err := strconv.ParseFloat(strings.TrimRight(value, "VA"), 64)
		volts, isVolts := strings.CutSuffix(name, "_V")
		amperes, isAmperes := strings.CutSuffix(name, "_A")
		switch {
		case err != nil:
		case isVolts:
			of(&all, volts).volts = v
		case isAmperes:
			of(&all, amperes).amperes = v
		}
	}
	return all
}

// of returns the reading of a rail, a new one if there is none yet.
func of(all *[]reading, rail string) *reading {
	i := slices.IndexFunc(*all, func(r reading) bool { return r.rail == rail })
	if i < 0 {
		i = len(*all)
		*all = append(*all, reading{rail, math.NaN(), math.NaN()})
	}
	return &(*all)[i]
}

// addBridge adds the temperature of a Raspberry Pi 5's second chip, RP1.
func addBridge(p *plugins.Point) {
	for _, folder := range hwmon("rp1_adc") {
		if m, ok := number(filepath.Join(folder, "temp1_input")); ok {
			p.Float("rp1_temperature", float64(m)/1000)
		}
	}
}
