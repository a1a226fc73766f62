// Package kernel collects counters of the Linux kernel, as Telegraf's
// inputs.kernel does.
package kernel

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "kernel",
		Description:  "Counters of the Linux kernel.",
		Sample:       sample,
		Measurements: []string{"kernel", "pressure"},
		New:          func() plugins.Collector { return &Collector{Collect: []string{}} },
	}
}

// Collector holds the options.
type Collector struct {
	Collect []string `toml:"collect"`
}

var _ plugins.Validator = (*Collector)(nil)

// Validate implements plugins.Validator.
func (c *Collector) Validate() error {
	for _, what := range c.Collect {
		if what != "ksm" && what != "psi" {
			return plugins.OptionError{Option: "collect", Message: fmt.Sprintf("%q is none of ksm, psi", what)}
		}
	}
	return nil
}

// Gather implements plugins.Collector. What one file does not tell does not
// keep the others from being told.
func (c *Collector) Gather(_ context.Context, b *plugins.Batch) error {
	p := b.Point("kernel")
	errs := []error{addStat(p), addEntropy(p)}
	if slices.Contains(c.Collect, "ksm") {
		errs = append(errs, addKSM(p))
	}
	if slices.Contains(c.Collect, "psi") {
		errs = append(errs, gatherPressure(b))
	}
	return errors.Join(errs...)
}

// statFields are the fields of each line of /proc/stat that has one; "page" is
// only in kernels before 2.6.
var statFields = map[string][]string{
	"intr":      {"interrupts"},
	"ctxt":      {"context_switches"},
	"processes": {"processes_forked"},
	"btime":     {"boot_time"},
	"page":      {"disk_pages_in", "disk_pages_out"},
}

func addStat(p *plugins.Point) error {
	path := plugins.HostProc("stat")
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read kernel counters: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		name, rest, _ := strings.Cut(line, " ")
		for _, key := range statFields[name] {
			var value string
			value, rest, _ = strings.Cut(strings.TrimSpace(rest), " ")
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return fmt.Errorf("read %s from %s: %w", name, path, err)
			}
			p.Uint(key, n)
		}
	}
	return nil
}

func addEntropy(p *plugins.Point) error {
	n, err := number(plugins.HostProc("sys/kernel/random/entropy_avail"))
	if err != nil {
		return fmt.Errorf("read entropy: %w", err)
	}
	p.Int("entropy_avail", n)
	return nil
}

// ksmFiles are those of /sys/kernel/mm/ksm that hold a number that Telegraf
// knows. The profit may be a loss.
var ksmFiles = []string{
	"full_scans", "general_profit", "max_page_sharing", "merge_across_nodes", "pages_shared", "pages_sharing",
	"pages_to_scan", "pages_unshared", "pages_volatile", "run", "sleep_millisecs",
	"stable_node_chains", "stable_node_chains_prune_millisecs", "stable_node_dups", "use_zero_pages",
}

// addKSM leaves out what this kernel has no file for: merge_across_nodes needs
// a machine with NUMA, general_profit Linux 6.4.
func addKSM(p *plugins.Point) error {
	folder := plugins.HostSys("kernel/mm/ksm")
	if _, err := os.Stat(folder); err != nil {
		return fmt.Errorf("this kernel has no same-page merging: %w", err)
	}
	var errs []error
	for _, file := range ksmFiles {
		n, err := number(folder + "/" + file)
		switch {
		case err == nil:
			p.Int("ksm_"+file, n)
		case !errors.Is(err, os.ErrNotExist):
			errs = append(errs, fmt.Errorf("read same-page merging: %w", err))
		}
	}
	return errors.Join(errs...)
}

// number reads a file that holds one.
func number(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}
