// Program vitals-plugin-newcomer is a collector for vitals-agent.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Newcomer is one configured instance. Its exported fields are its options.
type Newcomer struct {
	Path string `toml:"path"`
}

// description says what the collector is called and what it collects.
func description() plugins.Description {
	return plugins.Description{
		Name:         "newcomer",
		Version:      "0.1.0",
		Description:  "The first number in a file.",
		Sample:       sample,
		Measurements: []string{"newcomer"},
		// The defaults of the options.
		New: func() plugins.Collector { return &Newcomer{Path: "/proc/loadavg"} },
	}
}

// Validate is called once the options are set, before anything is read.
func (c *Newcomer) Validate() error {
	if c.Path == "" {
		return plugins.OptionError{Option: "path", Message: "must name a file"}
	}
	return nil
}

// Gather takes one reading. Points that were added before an error are kept;
// those without a time of their own get that of the reading.
func (c *Newcomer) Gather(_ context.Context, b *plugins.Batch) error {
	text, err := os.ReadFile(c.Path)
	if err != nil {
		return err
	}
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return fmt.Errorf("%s is empty", c.Path)
	}
	value, err := strconv.ParseFloat(words[0], 64)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.Path, err)
	}
	b.Point("newcomer").Tag("path", c.Path).Float("value", value)
	return nil
}

func main() { plugins.Serve(description()) }
