// Program vitals-plugin-dice is a collector of one's own, as small as it gets.
//
//	go build -o vitals-plugin-dice ./plugins/examples/dice
//
// Put the result into one of the agent's plugin directories and add
// [[inputs.dice]] to the agent's configuration.
package main

import (
	"context"
	"math/rand/v2"

	"github.com/rpicluster/vitals/plugins"
)

// Dice is the collector; its exported fields are its options.
type Dice struct {
	Sides int `toml:"sides"`
}

// Gather takes one reading.
func (d *Dice) Gather(_ context.Context, b *plugins.Batch) error {
	b.Point("dice").Int("value", int64(1+rand.IntN(max(d.Sides, 1))))
	return nil
}

func main() {
	plugins.Serve(plugins.Description{
		Name:         "dice",
		Description:  "Rolls a die.",
		Measurements: []string{"dice"},
		New:          func() plugins.Collector { return &Dice{Sides: 6} },
	})
}
