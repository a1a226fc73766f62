// Package exec runs programs and takes what they print for lines, as
// Telegraf's inputs.exec does.
package exec

import (
	"context"
	_ "embed"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "exec",
		Description:  "Lines that programs print.",
		Sample:       sample,
		Measurements: []string{"*"},
		New: func() plugins.Collector {
			return &Collector{Environment: []string{}, Timeout: 5 * time.Second, DataFormat: "influx"}
		},
	}
}

// Collector holds the options.
type Collector struct {
	Commands    Commands      `toml:"commands"`
	Command     string        `toml:"command"`
	Environment []string      `toml:"environment"`
	Timeout     time.Duration `toml:"timeout"`
	IgnoreError bool          `toml:"ignore_error"`
	LogStderr   bool          `toml:"log_stderr"`
	DataFormat  string        `toml:"data_format"`

	commands Commands // Commands and Command
	log      plugins.ProgramLog
}

var (
	_ plugins.Validator = (*Collector)(nil)
	_ plugins.Patient   = (*Collector)(nil)
)

// Validate implements plugins.Validator.
func (c *Collector) Validate() error {
	var errs []error
	wrong := func(option, message string) {
		errs = append(errs, plugins.OptionError{Option: option, Message: message})
	}
	c.commands = append(Commands(nil), c.Commands...)
	if c.Command != "" {
		words, err := split(c.Command)
		if err != nil {
			wrong("command", err.Error())
		} else if len(words) == 0 || words[0] == "" {
			wrong("command", "names no program")
		}
		c.commands = append(c.commands, words)
	}
	if len(c.commands) == 0 {
		wrong("commands", `name the programs to run, such as [["/usr/local/bin/sensor", "--all"]]`)
	}
	if c.Timeout <= 0 {
		wrong("timeout", `must be more than 0, such as "5s"`)
	}
	if c.DataFormat != "influx" {
		wrong("data_format", `only "influx" is understood: let the program print line protocol (the default of Telegraf's exec is "json")`)
	}
	if err := plugins.CheckEnvironment(c.Environment); err != nil {
		wrong("environment", err.Error())
	}
	return errors.Join(errs...)
}

// endTime is what a reading takes beyond its timeout when a program has to be
// killed.
const endTime = termGrace + 2*time.Second

// Patience implements plugins.Patient.
func (c *Collector) Patience() time.Duration { return c.Timeout + endTime }

// Gather implements plugins.Collector: it runs all commands at the same time.
func (c *Collector) Gather(ctx context.Context, b *plugins.Batch) error {
	commands := c.commands.expand()
	results := make([]result, len(commands))
	var wg sync.WaitGroup
	for i, argv := range commands {
		wg.Go(func() { results[i] = c.run(ctx, b.Log(), argv) })
	}
	wg.Wait()
	total := 0
	for i, r := range results {
		total += len(r.lines)
		if total > maxOutput {
			b.Fail(failure(commands[i], errTooMuch, ""))
			break
		}
		b.Lines(r.lines)
		b.Fail(r.err)
	}
	return nil
}

// expand returns the commands to run now: one for each file that the first
// word of a command matches, or the command as it is if there is none.
func (c Commands) expand() Commands {
	var all Commands
	for _, argv := range c {
		files, err := filepath.Glob(argv[0])
		if err != nil || len(files) == 0 {
			all = append(all, argv)
			continue
		}
		for _, f := range files {
			all = append(all, append([]string{f}, argv[1:]...))
		}
	}
	return all
}
