package plugins

import (
	"strings"
	"testing"
)

func TestByHandWithoutADescription(t *testing.T) {
	got := byHand("vitals-plugin-x", []Description{{Name: "dice"}, {Name: "coin", Description: "which side is up"}})
	for _, want := range []string{"It collects dice\n", "It collects coin: which side is up\n", "\n[[inputs.coin]]\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}
