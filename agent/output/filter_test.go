package output

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/agent/selection"
)

func TestFiltersOfAnOutput(t *testing.T) {
	f := func(name string, o selection.Options, change func(*Config), lines, want string, filtered int64) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			rules, err := selection.New(o)
			if err != nil {
				t.Fatal(err)
			}
			var out Output
			out.config.Filter = rules
			change(&out.config)
			got, n := out.filter([]byte(lines), strings.Count(lines, "\n"))
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n != strings.Count(want, "\n") || out.counts.filtered != filtered {
				t.Errorf("%d lines, %d filtered", n, out.counts.filtered)
			}
		})
	}
	type list = []string
	asIs := func(*Config) {}
	renamed := func(c *Config) { c.NameOverride, c.Prefix, c.Suffix = "x", "p_", "_s" }
	const one, two = "m,host=a,rack=b f=1,g=2i 17\n", "n,host=a,rack=c f=3,g=4i 18\n"
	f("none", selection.Options{}, asIs, one+two, one+two, 0)
	f("by name", selection.Options{NamePass: list{"n"}}, asIs, one+two, two, 1)
	f("by any tag", selection.Options{TagPass: map[string][]string{"rack": {"b"}}}, asIs, one+two, one, 1)
	f("nothing passes", selection.Options{NameDrop: list{"?"}}, asIs, one+two, "", 2)
	f("fields and tags", selection.Options{FieldInclude: list{"g"}, TagExclude: list{"host"}}, asIs, one+two, "m,rack=b g=2i 17\nn,rack=c g=4i 18\n", 0)
	f("no field is left", selection.Options{FieldExclude: list{"f", "g"}}, asIs, one+"m g=1,h=1 19\n", "m h=1 19\n", 1)
	f("renamed", selection.Options{}, renamed, one, "p_x_s,host=a,rack=b f=1,g=2i 17\n", 0)
	f("prefix alone", selection.Options{}, func(c *Config) { c.Prefix = "p_" }, one, "p_m,host=a,rack=b f=1,g=2i 17\n", 0)
	f("suffix alone", selection.Options{}, func(c *Config) { c.Suffix = " s" }, one, "m\\ s,host=a,rack=b f=1,g=2i 17\n", 0)
	f("the name that is selected is the old one", selection.Options{NamePass: list{"m"}}, renamed, one+two, "p_x_s,host=a,rack=b f=1,g=2i 17\n", 1)
	f("not the new one", selection.Options{NamePass: list{"p_x_s"}}, renamed, one, "", 1)
}

// Two outputs get the same slice; what one of them filters the other has whole.
func TestAFilterLeavesTheLinesOfOthersAlone(t *testing.T) {
	rules, err := selection.New(selection.Options{TagExclude: []string{"host"}})
	if err != nil {
		t.Fatal(err)
	}
	var out Output
	out.config.Filter = rules
	lines := []byte("m,host=a f=1 17\nm,host=a f=2 18\n")
	before := string(lines)
	if got, _ := out.filter(lines, 2); string(got) == before || string(lines) != before {
		t.Errorf("%q, the others have %q", got, lines)
	}
}

func TestFilteredLinesAreNeitherWrittenNorDropped(t *testing.T) {
	db := newInfluxd(t)
	c := settings(db.URL)
	var err error
	if c.Filter, err = selection.New(selection.Options{NameDrop: []string{"secret"}}); err != nil {
		t.Fatal(err)
	}
	o := run(t, c)
	o.Append(t.Context(), []byte("secret f=1 17\n"), 1)
	o.Append(t.Context(), []byte("secret f=2 18\n"+numbered(0)+"\n"), 2)
	o.delivers(db, numbers(0, 1))
	if s := o.Status(); s.Filtered != 2 || s.Written != 1 || s.Dropped != 0 || s.Rejected != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAFilterThatIsReconfigured(t *testing.T) {
	db := newInfluxd(t)
	o := run(t, settings(db.URL))
	o.give(0, 1)
	next := o.config.Output
	var err error
	if next.Filter, err = selection.New(selection.Options{TagExclude: []string{"host"}}); err != nil {
		t.Fatal(err)
	}
	next.Prefix = "p_"
	if err := o.Reconfigure(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	o.give(1, 2)
	o.delivers(db, []string{numbered(0), strings.Replace(numbered(1), "m,host=n1", "p_m", 1)})
}
