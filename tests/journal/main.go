// Command vitals-plugin-journal is a collector for tests. It emits numbered
// lines, and when it is asked again it notes the number before: the host asks
// again only when it is done with the last reading. It waits for one for longer
// than a test takes, or a number would be noted whose reading came too late.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

type journal struct {
	File string `toml:"file"`

	last int64
}

func (j *journal) Gather(_ context.Context, b *plugins.Batch) error {
	if j.last != 0 {
		f, err := os.OpenFile(j.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := fmt.Fprintln(f, j.last); err != nil {
			return err
		}
	}
	j.last = time.Now().UnixNano() // unique across restarts
	b.Point("chk").Int("seq", j.last)
	return nil
}

// Patience implements plugins.Patient.
func (j *journal) Patience() time.Duration { return time.Hour }

func main() {
	plugins.Serve(plugins.Description{
		Name:         "journal",
		Description:  "Numbers its readings and notes which the host has taken.",
		Version:      "1",
		Measurements: []string{"chk"},
		New:          func() plugins.Collector { return &journal{} },
	})
}
