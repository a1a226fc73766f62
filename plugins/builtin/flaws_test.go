package builtin

import (
	"testing"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

// All of them are served by one process, so a flaw of one would cost all.
func TestTogetherTheyAreWhatAHostUses(t *testing.T) {
	r, err := plugins.NewServer(nil, All()...).Describe(t.Context(), &proto.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, flaw := range plugins.Flaws(r) {
		t.Error(flaw)
	}
}
