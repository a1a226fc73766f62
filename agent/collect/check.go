package collect

import (
	"context"
	"errors"
	"slices"

	"github.com/rpicluster/vitals/agent/config"
)

// Check starts the programs of the drop-ins among the inputs, has each of them
// check its options, and ends them. The error lists the options refused; the
// warnings name the inputs that could not be asked.
func Check(ctx context.Context, c Config) (warnings []string, err error) {
	c.Once = true
	c.Inputs = slices.DeleteFunc(slices.Clone(c.Inputs), func(in config.Input) bool { return in.Executable == "" })
	s, err := Start(ctx, c)
	defer s.Close()
	for _, in := range s.instances {
		if why := in.unchecked(); why != nil {
			warnings = append(warnings, in.input.Errorf("", "its options are not checked: %v", why).Error())
		}
	}
	return warnings, err
}

// unchecked says why the collector has neither taken nor refused its options.
func (in *instance) unchecked() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.configured != nil || len(in.mistakes) > 0 {
		return nil
	}
	if in.counts.lastError != "" {
		return errors.New(in.counts.lastError)
	}
	in.group.mu.Lock()
	defer in.group.mu.Unlock()
	return in.group.lastErr
}
