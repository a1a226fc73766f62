// Package execd keeps a program running and takes what it prints for lines, as
// Telegraf's inputs.execd does.
//
//	start ─► lines as they are printed ─► ended ─► restart_delay ─┐
//	  ▲      prompts on schedule ──►                               │
//	  └────────────────────────────────────────────────────────────┘
package execd

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "execd",
		Description:  "Lines that a program prints as it runs.",
		Sample:       sample,
		Measurements: []string{"*"},
		New: func() plugins.Collector {
			return &Collector{
				Command: []string{}, Environment: []string{}, Signal: "none",
				RestartDelay: 10 * time.Second, BufferSize: 64 << 10, DataFormat: "influx",
			}
		},
	}
}

// Collector holds the options.
type Collector struct {
	Command      []string      `toml:"command"`
	Environment  []string      `toml:"environment"`
	Signal       string        `toml:"signal"`
	RestartDelay time.Duration `toml:"restart_delay"`
	StopOnError  bool          `toml:"stop_on_error"`
	BufferSize   Size          `toml:"buffer_size"`
	DataFormat   string        `toml:"data_format"`

	log plugins.ProgramLog

	mu      sync.Mutex
	program *plugins.Program // nil while none runs
	started time.Time
	why     error // there is none
}

var (
	_ plugins.Validator = (*Collector)(nil)
	_ plugins.Prompter  = (*Collector)(nil)
)

// Validate implements plugins.Validator.
func (c *Collector) Validate() error {
	var errs []error
	wrong := func(option, message string) {
		errs = append(errs, plugins.OptionError{Option: option, Message: message})
	}
	if len(c.Command) == 0 || c.Command[0] == "" {
		wrong("command", `name the program to run, such as ["/usr/local/bin/sensor", "--follow"]`)
	}
	if _, ok := signals[c.Signal]; !ok && c.Signal != "none" && c.Signal != "STDIN" {
		wrong("signal", `expected "none", "STDIN", "SIGHUP", "SIGUSR1" or "SIGUSR2"`)
	}
	if c.RestartDelay < 0 {
		wrong("restart_delay", "must not be negative")
	}
	if c.BufferSize < minBuffer || c.BufferSize > maxBuffer {
		wrong("buffer_size", `must be from "1KiB" to "1MiB"`)
	}
	if c.DataFormat != "influx" {
		wrong("data_format", `only "influx" is understood: let the program print line protocol`)
	}
	if err := plugins.CheckEnvironment(c.Environment); err != nil {
		wrong("environment", err.Error())
	}
	return errors.Join(errs...)
}

// minRestartDelay keeps a program that ends at once from keeping the machine
// busy.
const minRestartDelay = 100 * time.Millisecond

// Stream implements plugins.Streamer: it runs the program again whenever it
// ends or cannot be started, until ctx ends.
func (c *Collector) Stream(ctx context.Context, b *plugins.Batch, flush func() error) error {
	delay := max(c.RestartDelay, minRestartDelay)
	for {
		err := c.run(ctx, b, flush)
		if ctx.Err() != nil {
			return nil
		}
		var exit *exec.ExitError
		if c.StopOnError && errors.As(err, &exit) {
			b.Fail(fmt.Errorf("%w; it stays so, as stop_on_error says", err))
			_ = flush()
			<-ctx.Done()
			return nil
		}
		b.Fail(fmt.Errorf("%w; it is started again %v later", err, delay))
		if flush() != nil || !sleep(ctx, delay) {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// running makes p the program to prompt, or says why there is none.
func (c *Collector) running(p *plugins.Program, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.program, c.started, c.why = p, time.Now(), why
}
