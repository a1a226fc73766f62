package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/internal/service"
)

// reloaded is what a reload has done.
type reloaded struct {
	Inputs   collect.Changes `json:"inputs"`
	Outputs  collect.Changes `json:"outputs"`
	Warnings []string        `json:"warnings,omitempty"`
	// Restart are options that were changed and need a restart.
	Restart []string `json:"needs_restart,omitempty"`
	// Failed is what went wrong when the rest was put into effect: outputs that
	// cannot be opened, and lines that an output has lost which is gone.
	Failed []string `json:"failed,omitempty"`
}

// reload reads the node file again and puts into effect what has changed. What
// is wrong with it is the error; nothing has changed then.
func (a *agent) reload(ctx context.Context) (reloaded, error) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	service.Reloading()
	defer service.Ready()
	c, err := loadConfig(a.flags)
	if err != nil {
		return reloaded{}, err
	}
	a.secrets.add(c.Secrets)
	done := reloaded{Warnings: append(c.Warnings, c.Skipped...), Restart: a.keepFixed(&c.Agent)}
	if done.Inputs, err = a.supervisor.Reload(ctx, a.gathering(c)); err != nil {
		return reloaded{}, mistakes(err)
	}
	a.mu.Lock()
	a.config = c
	a.mu.Unlock()
	a.applyLog(c)
	a.acceptRemote()
	a.clock.Set(ctx, c.Agent.Clock)
	var failed []error
	done.Outputs, failed = a.outputs.reload(ctx, c.Outputs)
	for _, err := range failed {
		done.Failed = append(done.Failed, err.Error())
	}
	return done, nil
}

// keepFixed keeps the settings that are in effect from start to end, and names
// those that the file has otherwise.
func (a *agent) keepFixed(next *config.Agent) (differ []string) {
	is := &a.config.Agent
	fix(&differ, "logfile", &next.Log.File, is.Log.File)
	fix(&differ, "the other options of the log", &next.Log, is.Log)
	fix(&differ, "buffer_strategy", &next.DiskBuffer, is.DiskBuffer)
	fix(&differ, "buffer_directory", &next.BufferDirectory, is.BufferDirectory)
	return differ
}

func fix[T comparable](differ *[]string, option string, to *T, is T) {
	if *to != is {
		*differ = append(*differ, option)
		*to = is
	}
}

// tryReload reloads and logs how that went and who has asked for it. It
// remembers a failure for status.
func (a *agent) tryReload(ctx context.Context, why string) (reloaded, error) {
	done, err := a.reload(ctx)
	a.mu.Lock()
	if a.reloadErr = err; err == nil {
		a.reloadFailed = done.Failed
	}
	a.mu.Unlock()
	if err != nil {
		a.log.Error("the node file was not reloaded; everything goes on as it was", "why", why, "error", err)
		return done, err
	}
	for _, w := range done.Warnings {
		a.log.Warn(w)
	}
	a.log.Info("the node file was reloaded", "why", why, "inputs", summary(done.Inputs), "outputs", summary(done.Outputs))
	for _, failed := range done.Failed {
		a.log.Error("not all of the node file was put into effect", "error", failed)
	}
	if len(done.Restart) > 0 {
		a.log.Warn("options were changed that need a restart", "options", strings.Join(done.Restart, ", "))
	}
	return done, nil
}

// summary is "4 kept, started cpu".
func summary(c collect.Changes) string {
	text := fmt.Sprintf("%d kept", c.Kept)
	for _, one := range []struct {
		what string
		ids  []string
	}{{"started", c.Started}, {"changed", c.Changed}, {"stopped", c.Stopped}} {
		if len(one.ids) > 0 {
			text += ", " + one.what + " " + strings.Join(one.ids, " ")
		}
	}
	return text
}

const reloadHelp = `Has the running agent read its node file again, as SIGHUP does, and says what came of it.
Inputs and outputs whose tables have not changed are not touched. If anything is wrong
with the file, everything goes on as it was, and the exit code is 1. It is 1 as well if the
file is sound and an output of it cannot be opened; the rest is in effect then.

  --json    the same, for programs
`

// askReload is the command.
func askReload(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	var done reloaded
	if err := control.Post(ctx, "agent", "/reload", nil, &done); err != nil {
		return err
	}
	if err := done.print(f, stdout, stderr); err != nil {
		return err
	}
	if len(done.Failed) > 0 {
		return errQuiet
	}
	return nil
}

func (done *reloaded) print(f *flags, stdout, stderr io.Writer) error {
	for _, w := range done.Warnings {
		fmt.Fprintln(stderr, "warning:", shownLines(w))
	}
	for _, failed := range done.Failed {
		fmt.Fprintln(stderr, "failed:", shownLines(failed))
	}
	if f.json {
		return writeJSON(stdout, done)
	}
	text := fmt.Sprintf("inputs: %s\noutputs: %s\n", summary(done.Inputs), summary(done.Outputs))
	if len(done.Restart) > 0 {
		text += fmt.Sprintf("changed, but needs a restart: %s\n", strings.Join(done.Restart, ", "))
	}
	_, err := io.WriteString(stdout, text)
	return err
}

const retryHelp = `Has the running agent start a collector's program again that it has left alone, or that
waits for its next start, and look at its file again. NAME is an input, such as
cpu::alias, or a program, such as vitals-plugin-dice.
`

// retried is how many inputs a retry was for.
type retried struct {
	Inputs int `json:"inputs"`
}

// askRetry is the command.
func askRetry(ctx context.Context, f *flags, stdout, _ io.Writer) error {
	var done retried
	if err := control.Post(ctx, "agent", "/plugins/retry", f.args[0], &done); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "%s: %s tried again; see vitals-agent status\n", f.args[0], count(done.Inputs, "input"))
	return err
}
