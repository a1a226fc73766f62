package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rpicluster/vitals/relay/fleet"
)

// Of events that are followed nobody knows how wide those to come are.
func TestEventsAreInColumns(t *testing.T) {
	var out bytes.Buffer
	var columns eventColumns
	c := &call{stdout: &out}
	for _, events := range [][]fleet.Event{
		{{Node: "pi-1", Kind: fleet.IsNew, Text: "TEXT"}, {Node: "küche-12", Kind: fleet.HasFailures, Text: "TEXT"}},
		{{Node: "pi", Kind: fleet.IsDown, Text: "TEXT"}},
	} {
		columns.widen(events)
		for _, e := range events {
			if err := columns.print(c, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	for line := range strings.Lines(out.String()) {
		before, _, _ := strings.Cut(line, "TEXT")
		if got, want := utf8.RuneCountInString(before), len("2026-03-01 12:00:00  küche-12  collectors  ")-1; got != want {
			t.Errorf("the text begins at %d, not %d:\n%s", got, want, out.String())
		}
	}
}
