package config

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/plugins"
)

// What the agent takes out of a table is exactly what no collector may claim.
func TestHostKeysAreThoseThatTheAgentTakes(t *testing.T) {
	taken := slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Keys(inputUnsupported())), hostKeys, filterKeys, []string{"labels"})))
	refused := slices.Sorted(slices.Values(plugins.HostKeys()))
	if diff := cmp.Diff(refused, taken); diff != "" {
		t.Errorf("(-no collector may claim it +the agent takes it):\n%s", diff)
	}
}
