package kernel

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// gatherPressure adds two lines, averages and total, for each resource and
// type of stall.
func gatherPressure(b *plugins.Batch) error {
	if _, err := os.Stat(plugins.HostProc("pressure")); err != nil {
		return fmt.Errorf("this kernel tells no pressure; it may need psi=1 at boot: %w", err)
	}
	var errs []error
	for _, resource := range []string{"cpu", "memory", "io"} {
		data, err := os.ReadFile(plugins.HostProc("pressure", resource))
		if err != nil {
			errs = append(errs, fmt.Errorf("read pressure: %w", err))
			continue
		}
		for line := range strings.Lines(string(data)) {
			if err := addPressure(b, resource, strings.Fields(line)); err != nil {
				errs = append(errs, fmt.Errorf("read pressure on %s: %w", resource, err))
			}
		}
	}
	return errors.Join(errs...)
}

// addPressure adds the two lines of one line of the file, such as
// "some avg10=1.53 avg60=1.87 avg300=1.73 total=1088168194".
func addPressure(b *plugins.Batch, resource string, words []string) error {
	if len(words) == 0 || resource == "cpu" && words[0] == "full" {
		return nil // the kernel has that line for its form only, always 0
	}
	averages := b.Point("pressure").Tag("resource", resource).Tag("type", words[0])
	total := b.Point("pressure").Tag("resource", resource).Tag("type", words[0])
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		if key == "total" {
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return err
			}
			total.Uint(key, n)
			continue
		}
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return err
		}
		averages.Float(key, x)
	}
	return nil
}
