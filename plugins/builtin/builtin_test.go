package builtin

import (
	"regexp"
	"testing"

	"github.com/rpicluster/vitals/plugins"
)

// TestAll holds what a host relies on: names that are valid and belong to one
// collector each, and defaults that pass.
func TestAll(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	required := map[string]string{"exec": "commands", "execd": "command"}
	owner := make(map[string]string)
	for _, d := range All() {
		for _, name := range append(d.Aliases, d.Name) {
			if !valid.MatchString(name) {
				t.Errorf("%s: %q is not a name", d.Name, name)
			}
			if other, taken := owner[name]; taken {
				t.Errorf("%q is both %s and %s", name, other, d.Name)
			}
			owner[name] = d.Name
		}
		for _, e := range plugins.Check(d, nil) {
			if e.Option != required[d.Name] {
				t.Errorf("%s: its own default is wrong: %v", d.Name, e)
			}
		}
		if d.Description == "" || d.Sample == "" || len(d.Measurements) == 0 {
			t.Errorf("%s does not describe itself", d.Name)
		}
	}
	for _, name := range []string{"cpu", "ram", "mem", "swap", "temperature", "temp", "node", "exec", "execd"} {
		if owner[name] == "" {
			t.Errorf("no collector is called %s", name)
		}
	}
}
